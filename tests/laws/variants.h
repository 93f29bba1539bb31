// Methods with other options than their defaults, which the laws run over beside these: what each is, and where a law
// does not hold of it, why not and what it says instead.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/core/combination.h"

namespace graft::laws {

/// Where the weights can hold what an adapter does. AsTheMethodSays: nothing is expected of it.
enum class Merges { Always, WhereMapsHaveBiases, Never, AsTheMethodSays };

/// Whether merged weights give the adapter's logits, and what the refusal says where they cannot.
struct Merging {
  Merges where = Merges::Always;
  std::string refusal = {};
};

/// How far from the same bits a law lets outputs be (relative_gap()), and why.
struct Allowance {
  double gap = 0;
  std::string why = {};
};

/// A method with options of its own, as the laws are asked of it.
struct MethodVariant {
  std::string name;    ///< none twice, fit for a folder
  std::string method;  ///< "lora", or "lora+bitfit"
  nlohmann::json options = nlohmann::json::object();
  bool needs_encoder = false;         ///< models without one refuse it
  std::string starts_elsewhere = {};  ///< why a fresh one is not the base; empty: it changes nothing
  Allowance start = {};               ///< of a fresh one from the base
  Allowance file = {};                ///< of one that was saved and loaded
  Merging merging = {};
  bool listed = true;  ///< below; false: a method with its defaults

  MethodChoice choice() const { return MethodChoice(method); }
};

/// A method with its defaults.
MethodVariant defaults_of(const MethodChoice& method);

/// Placements, parametrisations and starts of every method that has several, and lists of methods with options.
const std::vector<MethodVariant>& method_variants();

}  // namespace graft::laws
