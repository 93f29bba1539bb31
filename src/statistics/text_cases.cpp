#include "statistics/text_cases.h"

#include "base/error.h"

namespace graft {

void check_cases(const std::string& metric, const TextCases& cases) {
  if (cases.hypotheses.size() != cases.references.size()) {
    fail(Category::InvalidArgument, metric, "{} hypotheses against {} lists of references; give one list for each",
         cases.hypotheses.size(), cases.references.size());
  }
  if (cases.size() == 0) fail(Category::InvalidArgument, metric, "no hypotheses to score");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases.references[i].empty())
      fail(Category::InvalidArgument, metric, "hypothesis {} has no references; give at least one, if empty", i);
  }
}

std::vector<double> total_of(const CaseSums& sums) {
  std::vector<double> total(sums.front().size(), 0);
  for (const auto& one : sums) {
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += one[i];
  }
  return total;
}

}  // namespace graft
