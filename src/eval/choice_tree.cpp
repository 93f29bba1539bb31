#include "eval/choice_tree.h"

#include <algorithm>

namespace graft {
namespace {

using Choices = std::vector<ChoiceTokens::Choice>;
using Members = std::vector<std::size_t>;  // of the choices
using Tokens = std::vector<std::int64_t>;

// Tokens at the beginning that two choices have in common.
std::int64_t common(const Tokens& a, const Tokens& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

// All but the last one, which predicts nothing.
std::int64_t read_of(const Tokens& tokens) {
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(tokens.size()) - 1);
}

class Tree {
 public:
  Tree(Forest& forest, const Choices& choices, std::int32_t slot)
      : forest_(forest), choices_(choices), slot_(slot), rows_(choices.size()) {}

  /// The members are alike up to their token `depth`, which row `last` of segment `parent` predicts.
  void branch(const Members& members, std::size_t depth, std::int32_t parent, std::int64_t last) {
    Members open;
    for (const auto member : members) {
      if (depth < tokens(member).size()) rows_[member].push_back(last);
      if (depth + 1 < tokens(member).size()) open.push_back(member);
    }
    while (!open.empty()) {
      const auto token = tokens(open.front())[depth];
      const auto others = std::stable_partition(open.begin(), open.end(),
                                                [&](std::size_t member) { return tokens(member)[depth] == token; });
      run({open.begin(), others}, depth, parent);
      open.erase(open.begin(), others);
    }
  }

  PredictingRows rows() && { return std::move(rows_); }

 private:
  const Tokens& tokens(std::size_t member) const { return choices_[member].tokens; }

  // A segment of the tokens from `depth` on that all members need and are alike in, and what comes behind it.
  void run(const Members& members, std::size_t depth, std::int32_t parent) {
    const auto& first = tokens(members.front());
    std::size_t end = depth + 1;
    while (std::all_of(members.begin(), members.end(), [&](std::size_t member) {
      return end + 1 < tokens(member).size() && tokens(member)[end] == first[end];
    }))
      ++end;
    const auto at = [&](std::size_t token) { return first.begin() + static_cast<std::ptrdiff_t>(token); };
    const std::int64_t begin = forest_.size();
    const auto segment = forest_.add({at(depth), at(end)}, parent, slot_);
    for (std::size_t token = depth + 1; token < end; ++token) {
      for (const auto member : members) rows_[member].push_back(begin + static_cast<std::int64_t>(token - depth) - 1);
    }
    branch(members, end, segment, forest_.size() - 1);
  }

  Forest& forest_;
  const Choices& choices_;
  std::int32_t slot_;
  PredictingRows rows_;
};

}  // namespace

PredictingRows add_choices(Forest& forest, const Choices& choices, std::int32_t prompt, std::int32_t slot) {
  Members all;
  for (std::size_t c = 0; c < choices.size(); ++c) all.push_back(c);
  Tree tree(forest, choices, slot);
  tree.branch(all, 0, prompt, forest.size() - 1);
  return std::move(tree).rows();
}

// Of choices that are sorted, each has most in common with the one before it.
std::int64_t tokens_of_choices(const Choices& choices) {
  std::vector<const Tokens*> sorted;
  for (const auto& choice : choices) sorted.push_back(&choice.tokens);
  std::sort(sorted.begin(), sorted.end(), [](const Tokens* a, const Tokens* b) { return *a < *b; });
  std::int64_t count = 0;
  for (std::size_t c = 0; c < sorted.size(); ++c) {
    count += read_of(*sorted[c]);
    if (c > 0) count -= std::min({common(*sorted[c - 1], *sorted[c]), read_of(*sorted[c - 1]), read_of(*sorted[c])});
  }
  return count;
}

// A row is known by how much of a choice is read up to it; of what choices have in common, the first counts.
std::int64_t rows_only_read(const Choices& choices) {
  std::int64_t count = 0;
  for (std::size_t c = 0; c < choices.size(); ++c) {
    const ChoiceTokens::Choice& here = choices[c];
    if (here.context == 0) continue;
    std::vector<bool> only_read(static_cast<std::size_t>(here.context), true);
    for (std::size_t o = 0; o < choices.size(); ++o) {
      if (o == c) continue;
      const ChoiceTokens::Choice& other = choices[o];
      const std::int64_t both = std::min(common(here.tokens, other.tokens), read_of(other.tokens));
      for (std::int64_t row = o < c ? 0 : other.context; row <= both && row < here.context; ++row)
        only_read[static_cast<std::size_t>(row)] = false;
    }
    count += std::count(only_read.begin(), only_read.end(), true);
  }
  return count;
}

}  // namespace graft
