#include "nn/sites.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

constexpr std::array<std::pair<Role, const char*>, 11> kRoleNames = {{{Role::Q, "q"},
                                                                      {Role::K, "k"},
                                                                      {Role::V, "v"},
                                                                      {Role::O, "o"},
                                                                      {Role::Gate, "gate"},
                                                                      {Role::Up, "up"},
                                                                      {Role::Down, "down"},
                                                                      {Role::Qkv, "qkv"},
                                                                      {Role::GateUp, "gate_up"},
                                                                      {Role::Embed, "embed"},
                                                                      {Role::Head, "head"}}};

}  // namespace

const char* name(Stack stack) {
  switch (stack) {
    case Stack::Decoder:
      return "decoder";
    case Stack::Encoder:
      return "encoder";
    case Stack::Cross:
      return "cross";
  }
  return "?";
}

const char* name(Role role) {
  const auto found =
      std::find_if(kRoleNames.begin(), kRoleNames.end(), [&](const auto& pair) { return pair.first == role; });
  return found->second;
}

Role role_of(const std::string& text) {
  std::vector<std::string> known;
  for (const auto& [role, role_name] : kRoleNames) {
    if (text == role_name) return role;
    known.emplace_back(role_name);
  }
  fail(Category::InvalidArgument, "roles", "unknown role '{}'{}", text, did_you_mean(text, known));
}

std::string name(const Site& site) {
  return fmt::format("{}.{}.{}", name(site.stack), site.layer, name(site.role));
}

bool stands_alone(const SiteHooks& hooks) {
  return hooks.replaces_parameters() && !hooks.changes_by_places();
}

bool shares_virtual_tokens(const SiteHooks& hooks, Stack stack) {
  return hooks.virtual_tokens(stack) > 0 && !hooks.infix() && !hooks.prompt(stack).defined();
}

bool changes_head(const std::vector<const SiteHooks*>& slots) {
  return std::any_of(slots.begin(), slots.end(), [](const SiteHooks* hooks) {
    return hooks != nullptr &&
           (hooks->replaces_parameters() || hooks->acts_on(kHeadSite) || hooks->head_table().defined());
  });
}

const SiteHooks* standing_alone(const std::vector<const SiteHooks*>& slots) {
  const auto found = std::find_if(slots.begin(), slots.end(),
                                  [](const SiteHooks* hooks) { return hooks != nullptr && stands_alone(*hooks); });
  return found == slots.end() ? nullptr : *found;
}

at::Tensor replacement(const SiteHooks* hooks, std::int64_t index, at::ScalarType dtype) {
  const at::Tensor replaced = hooks == nullptr ? at::Tensor() : hooks->parameter(index);
  return replaced.defined() ? replaced.to(dtype) : replaced;
}

const RoleEntry* find(const RoleMap& roles, const Site& site) {
  const auto found =
      std::find_if(roles.begin(), roles.end(), [&](const RoleEntry& entry) { return entry.site == site; });
  return found == roles.end() ? nullptr : &*found;
}

}  // namespace graft
