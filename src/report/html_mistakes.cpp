#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"

namespace graft {
namespace {

constexpr std::size_t kExcerpt = 360;
constexpr std::size_t kLongest = 4000;
constexpr std::size_t kShownChoices = 6;

double probability(const std::vector<double>& all, std::size_t index) {
  if (index >= all.size() || !std::isfinite(all[index])) return 0;
  return std::clamp(all[index], 0.0, 1.0);
}

std::string choice_of(const ReportMistake& mistake, std::int64_t index) {
  if (index < 0) return "unknown";
  const auto at = static_cast<std::size_t>(index);
  std::string text = at < mistake.choices.size() ? mistake.choices[at] : std::to_string(index);
  text.erase(0, std::min(text.find_first_not_of(" \n\t"), text.size()));
  return excerpt(text, 80);
}

/// Choices worth a bar: the most probable ones, the truth and the prediction, in order of probability.
std::vector<std::size_t> shown_choices(const ReportMistake& mistake) {
  std::vector<std::size_t> order(mistake.choices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return probability(mistake.probabilities, a) > probability(mistake.probabilities, b);
  });
  std::vector<std::size_t> shown;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const auto index = static_cast<std::int64_t>(order[rank]);
    if (rank < kShownChoices || index == mistake.truth || index == mistake.prediction) shown.push_back(order[rank]);
  }
  return shown;
}

std::string bar(const ReportMistake& mistake, std::size_t choice) {
  const auto index = static_cast<std::int64_t>(choice);
  const char* kind = index == mistake.truth ? "truth" : index == mistake.prediction ? "wrong" : "other";
  const char* mark = index == mistake.truth ? " <b>truth</b>" : index == mistake.prediction ? " <b>predicted</b>" : "";
  std::string before;
  if (choice < mistake.probabilities_before.size()) {
    before = fmt::format("<i class=\"was\" style=\"left:{:.1f}%\" title=\"before: {}\"></i>",
                         100 * probability(mistake.probabilities_before, choice),
                         percent(probability(mistake.probabilities_before, choice)));
  }
  const double value = probability(mistake.probabilities, choice);
  return fmt::format(
      "<li class=\"{}\"><span class=\"choice\"><bdi>{}</bdi>{}</span><span class=\"track\"><i class=\"fill\" "
      "style=\"width:{:.1f}%\"></i>{}</span><span class=\"p\">{}</span></li>",
      kind, escape(choice_of(mistake, index)), mark, 100 * value, before, percent(value));
}

std::string bars(const ReportMistake& mistake) {
  const auto shown = shown_choices(mistake);
  std::string items;
  double rest = 1;
  for (std::size_t choice : shown) {
    items += bar(mistake, choice);
    rest -= probability(mistake.probabilities, choice);
  }
  if (shown.size() < mistake.choices.size()) {
    items += fmt::format("<li class=\"rest\">{} other choices together {}</li>", mistake.choices.size() - shown.size(),
                         percent(std::max(0.0, rest)));
  }
  return items.empty() ? "" : "<ul class=\"bars\" aria-label=\"Probability of every choice\">" + items + "</ul>";
}

std::string text_of(const ReportMistake& mistake) {
  if (shown_characters(mistake.text) <= kExcerpt)
    return fmt::format("<p class=\"text\" dir=\"auto\">{}</p>", escape(mistake.text));
  return fmt::format(
      "<p class=\"text\" dir=\"auto\">{}</p><details><summary>Whole text</summary><p class=\"text\" "
      "dir=\"auto\">{}</p></details>",
      escape(excerpt(mistake.text, kExcerpt)), escape(excerpt(mistake.text, kLongest)));
}

/// What tuning did to this example, where that is known.
std::string history(const ReportMistake& mistake) {
  if (mistake.prediction_before < 0) return "";
  if (mistake.prediction_before == mistake.truth) return "<span class=\"tag lost\">right before tuning</span>";
  if (mistake.prediction_before == mistake.prediction) return "<span class=\"tag\">same mistake before</span>";
  return fmt::format("<span class=\"tag\">before: <bdi>{}</bdi></span>",
                     escape(choice_of(mistake, mistake.prediction_before)));
}

std::string article(const ReportMistake& mistake, std::size_t order) {
  const std::string truth = escape(choice_of(mistake, mistake.truth));
  const std::string predicted = escape(choice_of(mistake, mistake.prediction));
  const double confidence =
      mistake.prediction < 0 ? 0 : probability(mistake.probabilities, static_cast<std::size_t>(mistake.prediction));
  const std::string source = !mistake.where.empty() ? mistake.where : mistake.id;
  return fmt::format(
      "<article class=\"mistake\" data-order=\"{}\" data-truth=\"{}\" data-predicted=\"{}\" data-confidence=\"{:.6f}\">"
      "<h3><bdi class=\"predicted\">{}</bdi> <span class=\"should\">should be</span> <bdi class=\"right\">{}</bdi></h3>"
      "<div class=\"two\"><div>{}<p class=\"source\">{}{}</p></div>{}</div></article>\n",
      order, truth, predicted, confidence, predicted, truth, text_of(mistake), history(mistake),
      source.empty() ? "" : "<code>" + escape(excerpt(source, 120)) + "</code>", bars(mistake));
}

/// Hidden until the script shows them: without JavaScript they would do nothing.
constexpr const char* kControls =
    "<form class=\"controls\" id=\"controls\" hidden=\"hidden\"><label>Order <select id=\"by\">"
    "<option value=\"confident\">most confident first</option><option value=\"doubtful\">least confident first</option>"
    "<option value=\"order\">as in the data</option></select></label>"
    "<label>Truth <select id=\"truth\"><option value=\"\">any</option></select></label>"
    "<label>Predicted <select id=\"predicted\"><option value=\"\">any</option></select></label>"
    "<label>Text <input id=\"words\" type=\"search\" placeholder=\"contains …\"></label>"
    "<output id=\"shown\" aria-live=\"polite\"></output></form>";

}  // namespace

std::string mistakes_section(const ReportData& data) {
  if (data.mistakes.empty()) {
    if (!data.after || data.after->examples == 0 || data.after->accuracy.value < 1) return "";
    return section("mistakes", "Mistakes",
                   "<p class=\"note\">None: every held-out example is classified correctly.</p>");
  }
  const std::size_t shown = std::min(data.mistakes.size(), kShownMistakes);
  std::string articles;
  bool was = false;
  for (std::size_t i = 0; i < shown; ++i) {
    articles += article(data.mistakes[i], i);
    was = was || !data.mistakes[i].probabilities_before.empty();
  }
  std::string note =
      fmt::format("{} held-out example{} the tuned model gets wrong.",
                  grouped(static_cast<std::int64_t>(data.mistakes.size())), data.mistakes.size() == 1 ? "" : "s");
  if (shown < data.mistakes.size())
    note += fmt::format(" The first {} are shown; predictions.jsonl in the run folder has them all.", shown);
  if (was) note += " <span class=\"key was\"></span> marks the probability before tuning.";
  return section("mistakes", "Mistakes",
                 "<p class=\"note\">" + note + "</p>" + kControls + "<div id=\"list\">" + articles + "</div>");
}

}  // namespace graft
