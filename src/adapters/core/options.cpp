#include "adapters/core/options.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "adapters/core/target_modules.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/suggest.h"

namespace graft::adapters {

Options::Options(const char* method, const nlohmann::json& given, const std::vector<std::string>& known)
    : method_(method), given_(given) {
  if (given_.is_null()) given_ = nlohmann::json::object();
  if (!given_.is_object()) fail(Category::InvalidArgument, "method.options", "must be a map of option names to values");
  for (const auto& [key, value] : given_.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fail(Category::InvalidArgument, "method.options", "{} has no option '{}'{}", method_, key,
           did_you_mean(key, known));
    }
  }
}

namespace {

// Empty where it is anything but a list of token ids below `vocab_size`.
std::vector<std::int64_t> token_ids(const nlohmann::json& value, std::int64_t vocab_size) {
  std::vector<std::int64_t> ids;
  if (!value.is_array()) return ids;
  for (const auto& id : value) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= vocab_size) return {};
    ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

bool is_positive(const nlohmann::json& value, double most) {
  return value.is_number() && value.get<double>() > 0 && value.get<double>() <= most;
}

}  // namespace

void Options::wrong(const char* key, const std::string& expected) const {
  fail(Category::InvalidArgument, fmt::format("method.options.{}", key), "{} is not {}", json_text(given_.at(key)),
       expected);
}

std::int64_t Options::integer(const char* key, std::int64_t fallback, std::int64_t least) const {
  if (!given_.contains(key)) return fallback;
  const auto& value = given_.at(key);
  if (!value.is_number_integer() || value.get<std::int64_t>() < least)
    wrong(key, fmt::format("an integer of at least {}", least));
  return value.get<std::int64_t>();
}

double Options::number(const char* key, double fallback, double least, double most) const {
  if (!given_.contains(key)) return fallback;
  const auto& value = given_.at(key);
  if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most)) {
    wrong(key, fmt::format("a number from {} to {}", least, most));
  }
  return value.get<double>();
}

double Options::positive(const char* key, double fallback, double most) const {
  if (!given_.contains(key)) return fallback;
  const auto& value = given_.at(key);
  if (!is_positive(value, most)) wrong(key, fmt::format("a number above 0 and at most {}", most));
  return value.get<double>();
}

bool Options::flag(const char* key, bool fallback) const {
  if (!given_.contains(key)) return fallback;
  if (!given_.at(key).is_boolean()) wrong(key, "true or false");
  return given_.at(key).get<bool>();
}

std::string Options::choice(const char* key, const std::vector<std::string>& allowed) const {
  if (!given_.contains(key)) return allowed.front();
  const auto& value = given_.at(key);
  const std::string text = value.is_string() ? value.get<std::string>() : json_text(value);
  if (std::find(allowed.begin(), allowed.end(), text) != allowed.end()) return text;
  fail(Category::InvalidArgument, fmt::format("method.options.{}", key), "unknown '{}'{}", text,
       did_you_mean(text, allowed));
}

std::vector<std::int64_t> Options::ids(const char* key, std::int64_t vocab_size, std::int64_t count) const {
  if (!given_.contains(key)) return {};
  const auto value = token_ids(given_.at(key), vocab_size);
  if (value.empty()) wrong(key, fmt::format("a list of token ids from 0 to {}", vocab_size - 1));
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(value[static_cast<std::size_t>(i) % value.size()]);
  return ids;
}

std::vector<std::vector<std::int64_t>> Options::id_lists(const char* key, std::int64_t vocab_size) const {
  std::vector<std::vector<std::int64_t>> lists;
  if (!given_.contains(key)) return lists;
  const auto& value = given_.at(key);
  if (value.is_array()) {
    for (const auto& list : value) lists.push_back(token_ids(list, vocab_size));
  }
  const auto wrong_one = [](const std::vector<std::int64_t>& ids) { return ids.empty(); };
  if (lists.empty() || std::any_of(lists.begin(), lists.end(), wrong_one))
    wrong(key, fmt::format("a list of lists of token ids from 0 to {}", vocab_size - 1));
  return lists;
}

// Values as they are given.
std::map<Role, nlohmann::json> Options::by_role(const char* key, const std::string& expected,
                                                const std::vector<Role>& roles) const {
  std::map<Role, nlohmann::json> result;
  if (!given_.contains(key)) return result;
  if (!given_.at(key).is_object()) wrong(key, expected);
  for (const auto& [called, value] : given_.at(key).items()) {
    const Role role = role_of(called);
    if (std::find(roles.begin(), roles.end(), role) == roles.end())
      fail(Category::InvalidArgument, fmt::format("method.options.{}", key),
           "{} is none of the roles that are trained; name it in method.options.roles, or take it out here", called);
    result[role] = value;
  }
  return result;
}

std::map<Role, std::int64_t> Options::integers_by_role(const char* key, std::int64_t least,
                                                       const std::vector<Role>& roles) const {
  const std::string expected =
      fmt::format("a map of roles to whole numbers of at least {}, such as {{q: 16, v: 4}}", least);
  std::map<Role, std::int64_t> result;
  for (const auto& [role, value] : by_role(key, expected, roles)) {
    if (!value.is_number_integer() || value.get<std::int64_t>() < least) wrong(key, expected);
    result[role] = value.get<std::int64_t>();
  }
  return result;
}

std::map<Role, double> Options::positives_by_role(const char* key, double most, const std::vector<Role>& roles) const {
  const std::string expected =
      fmt::format("a map of roles to numbers above 0 and at most {}, such as {{q: 16, v: 4}}", most);
  std::map<Role, double> result;
  for (const auto& [role, value] : by_role(key, expected, roles)) {
    if (!is_positive(value, most)) wrong(key, expected);
    result[role] = value.get<double>();
  }
  return result;
}

std::set<std::string> Options::names(const char* key) const {
  std::set<std::string> result;
  if (!given_.contains(key)) return result;
  const auto& value = given_.at(key);
  if (value.is_string()) {
    std::istringstream stream(value.get<std::string>());
    for (std::string part; std::getline(stream, part, ',');) result.insert(part);
  } else if (value.is_array()) {
    for (const auto& part : value) {
      if (!part.is_string()) wrong(key, "a list of names");
      result.insert(part.get<std::string>());
    }
  }
  if (result.empty()) wrong(key, "a list of names");
  return result;
}

std::vector<Role> Options::roles(const char* key, const std::vector<Role>& fallback) const {
  if (!given_.contains(key)) return fallback;
  const auto& value = given_.at(key);
  std::vector<Role> result;
  if (value.is_string()) {
    std::istringstream stream(value.get<std::string>());
    for (std::string part; std::getline(stream, part, ',');) result.push_back(role_of(part));
  } else if (value.is_array()) {
    for (const auto& part : value) {
      if (!part.is_string()) wrong(key, "a list of roles such as [q, v]");
      result.push_back(role_of(part.get<std::string>()));
    }
  }
  if (result.empty()) wrong(key, "a list of roles such as [q, v]");
  return result;
}

void refuse_beyond_base(double numbers, const Model& model, const std::string& where) {
  constexpr double kTimes = 4, kSmall = 1 << 26;
  const auto base = static_cast<double>(model.parameters().elements());
  if (numbers <= std::max(kSmall, kTimes * base)) return;
  fail(Category::InvalidArgument, where,
       "asks for an adapter of {:.3g} numbers beside a base of {:.3g}; give a smaller one", numbers, base);
}

std::int64_t virtual_length(const Options& options, const Model& model, std::int64_t fallback) {
  const std::int64_t length = options.integer("length", fallback, 1);
  refuse_beyond_context(length, model, "method.options.length");
  refuse_beyond_base(static_cast<double>(length) * static_cast<double>(model.config().hidden_size), model,
                     "method.options.length");
  return length;
}

void refuse_beyond_context(std::int64_t virtual_tokens, const Model& model, const char* where) {
  const std::int64_t room = model.config().max_positions;
  if (room <= 0 || virtual_tokens < room) return;
  fail(Category::InvalidArgument, where, "{} virtual tokens leave no room for a text in the {} positions of this model",
       virtual_tokens, room);
}

bool infix_placement(const Options& options, const Model& model) {
  const bool infix = options.choice("placement", {"prefix", "infix"}) == "infix";
  if (infix && model.encoder_decoder())
    fail(
        Category::Unsupported, "method.options.placement",
        "an infix is for decoder-only models; here the encoder reads the prompt and the decoder the text, take prefix");
  return infix;
}

void refuse_without_encoder(const Model& model, const char* key, const char* what) {
  if (model.encoder_decoder()) return;
  fail(Category::InvalidArgument, fmt::format("method.options.{}", key),
       "{}, and this model has no encoder; leave it out", what);
}

std::vector<RoleEntry> entries_with(const RoleMap& roles, const std::vector<Role>& wanted) {
  std::vector<RoleEntry> entries;
  for (const Role role : wanted) {
    const bool any =
        std::any_of(roles.begin(), roles.end(), [&](const RoleEntry& entry) { return entry.site.role == role; });
    if (any) continue;
    std::set<std::string> known;
    for (const auto& entry : roles) known.insert(name(entry.site.role));
    fail(Category::InvalidArgument, "roles", "this architecture has no role '{}'{}", name(role),
         did_you_mean("", std::vector<std::string>(known.begin(), known.end())));
  }
  for (const auto& entry : roles) {
    if (std::find(wanted.begin(), wanted.end(), entry.site.role) != wanted.end()) entries.push_back(entry);
  }
  return entries;
}

void refuse_unknown_fields(const nlohmann::json& config, const std::vector<std::string>& known) {
  static const std::vector<std::string> kSayNothing = {
      "peft_type", "peft_version",   "task_type",      "auto_mapping",   "base_model_name_or_path",
      "revision",  "inference_mode", "target_modules", "exclude_modules"};
  const auto among = [](const std::vector<std::string>& names, const std::string& key) {
    return std::find(names.begin(), names.end(), key) != names.end();
  };
  const auto sets_nothing = [](const nlohmann::json& value) {
    return value.is_null() || value == false || value == 0 || value == "" || (!value.is_primitive() && value.empty());
  };
  for (const auto& [key, value] : config.items()) {
    if (among(kSayNothing, key) || among(known, key) || sets_nothing(value)) continue;
    fail(Category::Unsupported, fmt::format("adapter_config.json: {}", key),
         "is {}; graft has not what this field asks for, and does not read the adapter without it",
         value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 80));
  }
}

std::vector<std::string> target_names(const std::vector<RoleEntry>& entries, const RoleMap& roles) {
  std::set<std::string> wanted, names;
  for (const auto& entry : entries) wanted.insert(entry.module());
  const auto hits_another = [&](const std::string& target) {
    return std::any_of(roles.begin(), roles.end(), [&](const RoleEntry& entry) {
      return wanted.count(entry.module()) == 0 && means_module(target, entry.module());
    });
  };
  for (const auto& module : wanted) {
    auto dot = module.rfind('.');
    while (dot != std::string::npos && hits_another(module.substr(dot + 1)))
      dot = dot == 0 ? std::string::npos : module.rfind('.', dot - 1);
    names.insert(dot == std::string::npos ? module : module.substr(dot + 1));
  }
  return {names.begin(), names.end()};
}

}  // namespace graft::adapters
