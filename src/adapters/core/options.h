// Reading a method's options and PEFT's target lists.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "arch/core/model.h"
#include "nn/sites.h"

namespace graft::adapters {

/// Options by name with a check that nothing else was given.
class Options {
 public:
  /// Throws InvalidArgument that names the unknown option and the nearest known one.
  Options(const char* method, const nlohmann::json& given, const std::vector<std::string>& known);
  bool has(const char* key) const { return given_.contains(key); }
  std::int64_t integer(const char* key, std::int64_t fallback, std::int64_t least) const;
  double number(const char* key, double fallback, double least, double most) const;
  /// A number above 0.
  double positive(const char* key, double fallback, double most) const;
  bool flag(const char* key, bool fallback) const;
  /// One of `allowed`, whose first entry is the default. Throws with the nearest one.
  std::string choice(const char* key, const std::vector<std::string>& allowed) const;
  /// Token ids below `vocab_size`, repeated or cut to `count`; empty where the option was not given.
  std::vector<std::int64_t> ids(const char* key, std::int64_t vocab_size, std::int64_t count) const;
  /// Lists of token ids below `vocab_size`, none of them empty; empty where the option was not given.
  std::vector<std::vector<std::int64_t>> id_lists(const char* key, std::int64_t vocab_size) const;
  /// Whole numbers of single roles, each at least `least`: {q: 16, v: 4}. Empty where the option was not given. Throws
  /// for a role that is not among `roles`, which nobody would read.
  std::map<Role, std::int64_t> integers_by_role(const char* key, std::int64_t least,
                                                const std::vector<Role>& roles) const;
  /// The same of numbers above 0.
  std::map<Role, double> positives_by_role(const char* key, double most, const std::vector<Role>& roles) const;
  /// Names as a list or as "a,b", none twice; empty where the option was not given.
  std::set<std::string> names(const char* key) const;
  /// Roles as a list or as "q,v".
  std::vector<Role> roles(const char* key, const std::vector<Role>& fallback) const;

 private:
  [[noreturn]] void wrong(const char* key, const std::string& expected) const;
  std::map<Role, nlohmann::json> by_role(const char* key, const std::string& expected,
                                         const std::vector<Role>& roles) const;
  std::string method_;
  nlohmann::json given_;
};

/// Throws InvalidArgument, naming `where`, for an adapter of so many numbers that it would be larger than four times
/// its base and than 2^26: before they are made.
void refuse_beyond_base(double numbers, const Model& model, const std::string& where);

/// The option "length": virtual tokens, at least 1. Throws InvalidArgument where they leave the model no room for a
/// text, or where their embeddings refuse_beyond_base().
std::int64_t virtual_length(const Options& options, const Model& model, std::int64_t fallback);

/// Throws InvalidArgument, naming `where`, where so many virtual tokens leave the model no room for a text.
void refuse_beyond_context(std::int64_t virtual_tokens, const Model& model, const char* where);

/// The option "placement": false for "prefix", true for "infix", where virtual tokens stand between the prompt and what
/// follows it. Throws Unsupported for an infix in a model with an encoder.
bool infix_placement(const Options& options, const Model& model);

/// For an option that asks for something of an encoder–decoder, `what`. Throws InvalidArgument where the model is none.
void refuse_without_encoder(const Model& model, const char* key, const char* what);

/// Entries with one of the roles, in the model's order. Throws InvalidArgument where a role hits nothing in this model.
std::vector<RoleEntry> entries_with(const RoleMap& roles, const std::vector<Role>& wanted);

/// Throws Unsupported, naming the field, where adapter_config.json sets one that is neither among `known` nor one that
/// says nothing of what is computed: an unknown field is never passed over. Null, false, 0 and empty values set
/// nothing.
void refuse_unknown_fields(const nlohmann::json& config, const std::vector<std::string>& known);

/// The entries' modules as PEFT lists them, without repetition: the last part of each name, or as much more of it as
/// keeps PEFT off the other modules of `roles`: ["k_proj", "v_proj"], ["c_attn", "mlp.c_proj"].
std::vector<std::string> target_names(const std::vector<RoleEntry>& entries, const RoleMap& roles);

}  // namespace graft::adapters
