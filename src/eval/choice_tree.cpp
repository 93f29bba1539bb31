#include "eval/choice_tree.h"

#include <algorithm>
#include <set>

namespace graft {
namespace {

using Choices = std::vector<ChoiceTokens::Choice>;
using Members = std::vector<std::size_t>;  // of the choices

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
  const std::vector<std::int64_t>& tokens(std::size_t member) const { return choices_[member].tokens; }

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

std::int64_t tokens_of_choices(const Choices& choices) {
  std::set<std::vector<std::int64_t>> beginnings;
  for (const auto& choice : choices) {
    for (std::size_t length = 1; length < choice.tokens.size(); ++length)
      beginnings.emplace(choice.tokens.begin(), choice.tokens.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return static_cast<std::int64_t>(beginnings.size());
}

// A row is known by what of a choice is read up to it.
std::int64_t rows_only_read(const Choices& choices) {
  std::set<std::vector<std::int64_t>> read, scored;
  for (const auto& choice : choices) {
    const auto context = static_cast<std::size_t>(choice.context);
    for (std::size_t length = 0; length < choice.tokens.size(); ++length)
      (length < context ? read : scored)
          .emplace(choice.tokens.begin(), choice.tokens.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return std::count_if(read.begin(), read.end(), [&](const auto& beginning) { return scored.count(beginning) == 0; });
}

}  // namespace graft
