// Values of sites, found without a search.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "nn/sites.h"

namespace graft {

/// Targets by the site of their entry.
template <typename Target>
std::map<Site, Target> by_site(const std::vector<Target>& targets) {
  std::map<Site, Target> found;
  for (const auto& target : targets) found.emplace(target.entry.site, target);
  return found;
}

/// Where the values of a map lie: every pass asks every slot at every map, most of them in vain. The map outlives it
/// and keeps its sites.
template <typename Value>
class SiteIndex {
 public:
  explicit SiteIndex(const std::map<Site, Value>& values) {
    for (const auto& [site, value] : values) {
      const std::size_t place = place_of(site);
      if (values_.size() <= place) values_.resize(place + 1);
      values_[place] = &value;
    }
  }

  /// nullptr: none.
  const Value* find(const Site& site) const {
    const std::size_t place = place_of(site);
    return place < values_.size() ? values_[place] : nullptr;
  }

 private:
  static std::size_t place_of(const Site& site) {
    constexpr std::size_t kStacks = static_cast<std::size_t>(Stack::Cross) + 1,
                          kRoles = static_cast<std::size_t>(Role::Head) + 1;
    const std::size_t layer = static_cast<std::size_t>(site.layer) * kStacks + static_cast<std::size_t>(site.stack);
    return layer * kRoles + static_cast<std::size_t>(site.role);
  }

  std::vector<const Value*> values_;
};

}  // namespace graft
