// Precompiled once for every file that computes. Our own headers name the narrow ATen headers they need. What few files
// include is not here: GCC makes a header's pending templates anew in every file that uses it precompiled.
#pragma once
#include <ATen/ATen.h>

#include <fmt/format.h>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>
