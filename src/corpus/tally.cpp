#include "corpus/tally.h"

namespace graft {

void Tally::count(const std::string& fate, std::size_t bytes) {
  const auto [place, fresh] = places_.emplace(fate, lines_.size());
  if (fresh) lines_.push_back({fate, 0, 0});
  Line& line = lines_[place->second];
  ++line.documents;
  line.bytes += static_cast<std::int64_t>(bytes);
}

std::vector<Tally::Line> Tally::lines() const {
  std::vector<Line> all = lines_;
  Line sum{"all", 0, 0};
  for (const Line& line : lines_) {
    sum.documents += line.documents;
    sum.bytes += line.bytes;
  }
  all.push_back(sum);
  return all;
}

std::int64_t Tally::documents(const std::string& fate) const {
  const auto found = places_.find(fate);
  return found == places_.end() ? 0 : lines_[found->second].documents;
}

}  // namespace graft
