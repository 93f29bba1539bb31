// What `graft compare` compares: one recipe and its variants. A file is
//
//   description: …
//   recipe: tfew
//   shots: [4, 8, 16]
//   seeds: 5
//   variants:
//     ia3: {method: {name: ia3}}
//     lora: {method: {name: lora, options: {rank: 4}}, optimizer: {lr: 1e-3}}
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "config/yaml.h"

namespace graft {

/// Settings over the comparison's recipe.
struct Variant {
  std::string name;   ///< part of a path: letters, digits and + - _ .
  YamlNode settings;  ///< a map as in a recipe
};

struct Comparison {
  std::string description;
  std::string recipe = "tfew";
  std::vector<std::int64_t> shots;  ///< training examples a class, ascending, each compared; empty: as the recipe says
  std::int64_t seeds = 3;           ///< runs of each variant, where the command does not say how many
  std::vector<Variant> variants;
};

/// Reads a comparison by path or by the name of a shipped one ("tfew-methods"). Throws NotFound with the nearest name,
/// InvalidArgument (file, line): an unknown key or setting, a value out of range, no variant, a name that is no name.
Comparison load_comparison(const std::string& path_or_name);

/// The same as text. `file` is for messages.
Comparison parse_comparison(std::string_view yaml, const std::string& file);

/// Variants that are methods with nothing set: "lora", "lora+bitfit". Throws InvalidArgument for one named twice.
Comparison compare_methods(const std::vector<std::string>& methods);

/// Those of the variants that `names` lists, in their order; all where it is empty. Throws NotFound with the nearest.
void keep_variants(Comparison& comparison, const std::vector<std::string>& names);

}  // namespace graft
