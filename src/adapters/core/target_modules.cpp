#include "adapters/core/target_modules.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "text/regex.h"

namespace graft::adapters {
namespace {

std::shared_ptr<const text::Regex> whole_name(const std::string& pattern, const std::string& field) {
  constexpr auto kSyntax = text::RegexSyntax::Python;
  try {
    const text::Regex alone(pattern, field, kSyntax);  // "a)(b" is none, though it is one between parentheses
    return std::make_shared<const text::Regex>("\\A(?:" + pattern + ")\\z", field, kSyntax);
  } catch (const Error& error) {
    fail(Category::Corruption, field, "{}; write it as Python's re reads it, or list the names of the modules",
         error.message());
  }
}

}  // namespace

bool means_module(const std::string& entry, const std::string& module) {
  return module == entry || module.ends_with("." + entry);
}

TargetModules::TargetModules(const nlohmann::json& value, const std::string& field) : field_(field) {
  if (value.is_string()) {
    pattern_ = whole_name(value.get<std::string>(), field);
    return;
  }
  for (const auto& entry : value) {
    if (!entry.is_string()) fail(Category::Corruption, field, "{} is not the name of a module", entry.dump());
    entries_.push_back(entry.get<std::string>());
  }
}

bool TargetModules::pick(const std::string& module) const {
  if (pattern_ == nullptr) {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const std::string& entry) { return means_module(entry, module); });
  }
  std::size_t begin = 0, end = 0;
  try {
    return pattern_->find(module, 0, begin, end);
  } catch (const Error&) {
    fail(Category::ResourceExhausted, field_,
         "its pattern takes too many steps on the module {}; list the names of the modules instead", module);
  }
}

}  // namespace graft::adapters
