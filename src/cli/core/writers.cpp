#include "cli/core/writers.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/suggest.h"
#include "cli/core/placed_tensors.h"

namespace graft {
namespace {

NamedAdapter named_adapter(const std::string& given) {
  if (given.empty()) fail(Category::InvalidArgument, "--adapter", "is empty; give a path or NAME=PATH");
  const std::size_t equals = given.find('=');
  std::error_code ignored;
  // A slash before it: a path with "=" in it.
  const bool whole = equals == std::string::npos || given.find('/') < equals || std::filesystem::exists(given, ignored);
  const NamedAdapter named =
      whole ? NamedAdapter{given, given} : NamedAdapter{given.substr(0, equals), given.substr(equals + 1)};
  if (named.name.empty() || named.path.empty())
    fail(Category::InvalidArgument, "--adapter " + given, "needs a name before the = and a path behind it");
  if (!whole && named.name == kBaseWriter)
    fail(Category::InvalidArgument, "--adapter " + given, "'{}' is the model without an adapter; choose another name",
         kBaseWriter);
  return named;
}

}  // namespace

Writers::Writers(const std::vector<std::string>& given, bool with_base) {
  for (const auto& text : given) {
    const NamedAdapter named = named_adapter(text);
    const auto same = [&](const NamedAdapter& other) { return other.name == named.name; };
    if (std::any_of(adapters_.begin(), adapters_.end(), same))
      fail(Category::InvalidArgument, "--adapter " + text, "'{}' is named twice", named.name);
    adapters_.push_back(named);
  }
  if (with_base || adapters_.empty()) slots_.push_back(-1);
  for (std::size_t i = 0; i < adapters_.size(); ++i) slots_.push_back(static_cast<std::int32_t>(i));
}

std::int32_t Writers::slot_of(const std::string& name, const std::string& where) const {
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    if (adapters_[i].name == name) return static_cast<std::int32_t>(i);
  }
  if (name != kBaseWriter)
    fail(Category::InvalidArgument, where, "'{}' is none of the adapters{}", name, did_you_mean(name, names()));
  return -1;
}

std::string Writers::name_of(std::int32_t slot) const {
  return slot < 0 ? kBaseWriter : adapters_[static_cast<std::size_t>(slot)].name;
}

std::vector<std::string> Writers::names() const {
  std::vector<std::string> all;
  for (const auto& adapter : adapters_) all.push_back(adapter.name);
  all.emplace_back(kBaseWriter);
  return all;
}

LoadedWriters::LoadedWriters(const Model& model, const Tokenizer& tokenizer, const Writers& writers, bool with_base) {
  for (const auto& named : writers.adapters()) {
    adapters_.push_back(load_adapter(named.path, model, tokenizer));
    if (writers.adapters().size() > 1 && stands_alone(*adapters_.back().adapter))
      fail(Category::Unsupported, "--adapter " + named.path,
           "{} changes all of the base's weights, which the texts of a batch share; give it alone",
           adapters_.back().method);
    tell_placed(named.path, adapters_.back().method, adapters_.back().tensors, named.name);
  }
  if (adapters_.size() != 1) return;
  if (!with_base || stands_alone(*adapters_.front().adapter)) frozen_.emplace(model, adapters_.front().adapter.get());
}

std::vector<const SiteHooks*> LoadedWriters::slots() const {
  if (frozen_) return frozen_->slots();
  std::vector<const SiteHooks*> hooks;
  for (const auto& loaded : adapters_) hooks.push_back(loaded.adapter.get());
  if (hooks.size() == 1) hooks.push_back(nullptr);
  return hooks;
}

void LoadedWriters::refuse_missing_base(const std::string& where) const {
  if (adapters_.size() != 1 || !stands_alone(*adapters_.front().adapter)) return;
  fail(Category::Unsupported, where,
       "{} changes all of the base's weights, so that the base is not there beside it; run without --adapter",
       adapters_.front().method);
}

}  // namespace graft
