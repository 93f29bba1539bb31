// Which metrics there are for which task.
#include "base/error.h"
#include "data/task.h"

namespace graft {

const std::vector<std::string>& choice_metric_names() {
  static const std::vector<std::string> names = {
      "accuracy",          "balanced_accuracy", "macro_f1",  "positive_f1",        "stereotype_share",
      "group_exact_match", "choice_entropy",    "answer_f1", "answer_exact_match", "true_probability"};
  return names;
}

const std::vector<std::string>& running_metric_names() {
  static const std::vector<std::string> names = {"word_perplexity", "byte_perplexity", "bits_per_byte",
                                                 "token_perplexity"};
  return names;
}

void refuse_unmeasurable(const Task& task, const std::string& metric, const std::string& where) {
  const auto refuse = [&](const char* why) {
    fail(Category::InvalidArgument, where, "'{}' is {}; leave the metric out", metric, why);
  };
  if (metric == "true_probability" && task.right_list().empty())
    refuse("of several right choices, which truths_from or answers_from of a task mark");
  if (metric == "positive_f1" && task.labels.size() != 2)
    refuse("of the second of two labels, which 'labels' of a task lists");
  if (metric == "group_exact_match" && task.group_by.empty())
    refuse("of questions that belong together, which group_by of a task tells");
  if ((metric == "answer_f1" || metric == "answer_exact_match") && task.answers_from.empty())
    refuse("of the texts of right choices, which answers_from of a task names");
  if ((metric.ends_with("_difference") || metric.ends_with("_truer")) && task.false_references.empty())
    refuse("of texts that are right and texts that are wrong, of which false_references of a task names the latter");
}

}  // namespace graft
