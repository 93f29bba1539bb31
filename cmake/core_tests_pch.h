// Precompiled once for the tests of graft_core and of the whole program.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_pch.h"
