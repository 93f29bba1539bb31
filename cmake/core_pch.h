// Precompiled once for every file of graft_core: what most of them include, and what takes longest to parse.
#pragma once
#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>
