// Precompiled once for the verbs.
#pragma once
#include <CLI/CLI.hpp>

#include "torch_pch.h"
