#include "cli/core/lm_eval_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>
#include <utility>

#include "base/hash.h"
#include "base/json_text.h"
#include "eval/rolling.h"
#include "statistics/text_metric.h"
#include "text/unicode.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

std::size_t characters_of(const std::string& text) {
  return text::code_points(text);
}

std::size_t bytes_of(const std::string& text) {
  return text.size();
}

std::size_t first_highest(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// mean_stderr() of the harness; "N/A" where it has none.
Json standard_error(const std::vector<double>& values) {
  if (values.size() < 2) return "N/A";
  const double center = mean(values), count = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - center) * (value - center);
  return std::sqrt(squares / (count - 1)) / std::sqrt(count);
}

std::vector<double> over_length(const std::vector<double>& sums, const std::vector<std::string>& choices,
                                std::size_t (*length)(const std::string&)) {
  std::vector<double> normalised;
  for (std::size_t c = 0; c < sums.size(); ++c)
    normalised.push_back(sums[c] / static_cast<double>(std::max<std::size_t>(1, length(choices[c]))));
  return normalised;
}

// As the harness has them: the delimiter stands in its configuration, and a choice that is read is the whole context.
std::vector<std::string> plain_choices(const Example& question) {
  std::vector<std::string> plain;
  for (const auto& choice : question.choices)
    plain.push_back(is_partial(question) ? question.prompt + choice : choice.substr(question.delimiter_bytes));
  return plain;
}

// Of running text: the log-probability of the document and what it is divided by.
Json running_scores_of(const EvalPass& pass, const Example& question, std::size_t q) {
  const std::string& text = question.choices.front();
  const double log_p = pass.sums[q].front();
  const auto words = rolling_words(text);
  return {{"word_perplexity", {log_p, words}},
          {"byte_perplexity", {log_p, text.size()}},
          {"bits_per_byte", {log_p, text.size()}}};
}

// weighted_perplexity() and bits_per_byte() of the harness.
Json running_metrics_of(const EvalData& data, const EvalPass& pass) {
  double log_p = 0, words = 0, bytes = 0;
  const auto& documents = data.questions[pass.place];
  for (std::size_t d = 0; d < documents.size(); ++d) {
    const std::string& text = documents[d].choices.front();
    log_p += pass.sums[d].front();
    words += static_cast<double>(rolling_words(text));
    bytes += static_cast<double>(text.size());
  }
  return {{"word_perplexity,none", std::exp(-log_p / words)},         {"word_perplexity_stderr,none", "N/A"},
          {"byte_perplexity,none", std::exp(-log_p / bytes)},         {"byte_perplexity_stderr,none", "N/A"},
          {"bits_per_byte,none", -log_p / bytes / std::numbers::ln2}, {"bits_per_byte_stderr,none", "N/A"}};
}

using Scores = std::vector<std::pair<std::string, double>>;  // of one question, by the harness's names

Scores choice_scores_of(const EvalData& data, const EvalPass& pass, const Example& question, std::size_t q) {
  const auto& sums = pass.sums[q];
  const auto& truths = question.truths;
  const auto hit = [&](const std::vector<double>& values) {
    const auto best = static_cast<std::int64_t>(first_highest(values));
    const bool right =
        truths.empty() ? best == question.label : std::find(truths.begin(), truths.end(), best) != truths.end();
    return right ? 1.0 : 0.0;
  };
  Scores scores = {{"acc", hit(sums)}};
  const auto plain = plain_choices(question);
  scores.emplace_back("acc_norm", hit(over_length(sums, plain, characters_of)));
  scores.emplace_back("acc_bytes", hit(over_length(sums, plain, bytes_of)));
  if (data.task.normalisation == "pmi")
    scores.emplace_back("acc_mutual_info", pass.ranked[q].prediction == pass.ranked[q].label ? 1.0 : 0.0);
  return scores;
}

std::vector<std::string> text_metrics_of(const EvalData& data) {
  std::vector<std::string> names;
  std::copy_if(data.metrics.begin(), data.metrics.end(), std::back_inserter(names), is_text_metric);
  return names;
}

Scores scores_of(const EvalData& data, const EvalPass& pass, const Example& question, std::size_t q) {
  if (!data.task.generates()) return choice_scores_of(data, pass, question, q);
  return {{"perplexity", pass.sums[q].front()}, {"acc", pass.ranked[q].prediction == 1 ? 1.0 : 0.0}};
}

// What the harness would call a document: the question as it is asked, without what stands in front of it.
Json document_of(const EvalData& data, const EvalPass& pass, const Example& question, std::size_t q) {
  Json document = {{"id", question.id}, {"where", question.where}};
  if (!data.task.rolls() && !is_partial(question)) document["prompt"] = question.prompt;
  if (data.writes) {
    const auto references = data.references(pass.place, q);
    document["target"] = references.size() == 1 ? Json(references.front()) : Json(references);
  } else if (!data.task.has_choices()) {
    document["target"] = question.choices.front();
  } else {
    document["choices"] = plain_choices(question);
    document["label"] = question.truths.empty() ? Json(question.label) : Json(question.truths);
  }
  if (is_partial(question)) document["target"] = question.continuation;
  return document;
}

Json arguments_of(const EvalData& data, const EvalPass& pass, const std::string& prompt, const Example& question) {
  Json arguments = Json::object();
  if (data.task.rolls()) {
    arguments["gen_args_0"]["arg_0"] = question.choices.front();
    return arguments;
  }
  if (data.writes) {
    arguments["gen_args_0"] = {{"arg_0", prompt}, {"arg_1", lm_eval_generation(pass)}};
    return arguments;
  }
  const std::size_t count = data.task.generates() ? 1 : question.choices.size();
  for (std::size_t c = 0; c < count; ++c) {
    const std::string& choice = question.choices[c];
    arguments[fmt::format("gen_args_{}", c)] = {{"arg_0", is_partial(question) ? prompt + choice : prompt},
                                                {"arg_1", is_partial(question) ? question.continuation : choice}};
  }
  return arguments;
}

// [log-probability, whether greedy decoding writes it] as texts. Of choices the latter is not looked at.
Json responses_of(const EvalData& data, const EvalPass& pass, std::size_t q) {
  Json responses = Json::array();
  if (data.task.rolls()) return Json::array({Json(pass.sums[q].front()).dump()});
  if (data.writes) {
    responses.push_back(pass.texts[q]);
    return responses;
  }
  const std::size_t count = data.task.generates() ? 1 : pass.sums[q].size();
  const char* greedy = !data.task.generates() ? "None" : pass.ranked[q].prediction == 1 ? "True" : "False";
  for (std::size_t c = 0; c < count; ++c) responses.push_back(Json::array({Json(pass.sums[q][c]).dump(), greedy}));
  return responses;
}

// Of a metric of the whole corpus the harness keeps what is compared.
void add_text_scores(Json& sample, const EvalData& data, const EvalPass& pass, std::size_t q) {
  const std::string& text = pass.outputs[q];
  sample["filtered_resps"] = Json::array({text});
  for (const auto& name : text_metrics_of(data)) {
    sample["metrics"].push_back(name);
    sample[name] = text_metric(name).mean_of_cases ? Json(pass.text_sums.at(name)[q].front())
                                                   : Json::array({data.references(pass.place, q).front(), text});
  }
}

std::string target_of(const EvalData& data, const EvalPass& pass, const Example& question, std::size_t q) {
  if (data.writes) return data.references(pass.place, q).front();
  if (!data.task.has_choices()) return question.choices.front();
  return is_partial(question) ? question.continuation : std::to_string(question.label);
}

void add_text_metrics(Json& metrics, const EvalData& data, const EvalPass& pass) {
  for (const auto& name : text_metrics_of(data)) {
    const TextMetric& metric = text_metric(name);
    const CaseSums& sums = pass.text_sums.at(name);
    std::vector<double> each;
    for (const auto& one : sums) each.push_back(one.front());
    metrics[name + ",none"] = metric.of_sums(total_of(sums));
    metrics[name + "_stderr,none"] = metric.mean_of_cases ? standard_error(each) : Json("N/A");
  }
}

}  // namespace

std::string lm_eval_dump(const Json& json, int indent) {
  return json_text(json, indent);
}

bool is_partial(const Example& question) {
  return !question.continuation.empty();
}

Json lm_eval_generation(const EvalPass& pass) {
  return {{"until", pass.stop}, {"max_gen_toks", pass.max_new_tokens}, {"do_sample", false}, {"temperature", 0.0}};
}

Json lm_eval_sample(const EvalData& data, const EvalPass& pass, const Example& question, const std::string& prompt,
                    std::size_t q) {
  const Json document = document_of(data, pass, question, q);
  const std::string target = target_of(data, pass, question, q);
  const Json responses = responses_of(data, pass, q);
  Json each = Json::array();
  for (const auto& response : responses) each.push_back(Json::array({response}));
  Json sample = {{"doc_id", q},
                 {"doc", document},
                 {"target", target},
                 {"arguments", arguments_of(data, pass, prompt, question)},
                 {"resps", each},
                 {"filtered_resps", responses},
                 {"filter", "none"},
                 {"metrics", Json::array()},
                 {"doc_hash", sha256(lm_eval_dump(document, 2))},
                 {"prompt_hash", sha256(prompt)},
                 {"target_hash", sha256(target)}};
  if (data.task.rolls()) {
    const Json running = running_scores_of(pass, question, q);
    for (const auto& [name, value] : running.items()) {
      sample["metrics"].push_back(name);
      sample[name] = value;
    }
    return sample;
  }
  if (data.writes) {
    add_text_scores(sample, data, pass, q);
    return sample;
  }
  for (const auto& score : scores_of(data, pass, question, q)) {
    sample["metrics"].push_back(score.first);
    sample[score.first] = score.second;
  }
  return sample;
}

Json lm_eval_metrics(const EvalData& data, const EvalPass& pass) {
  Json metrics = {{"name", data.task.name}, {"alias", data.task.name}, {"sample_len", data.count()}};
  if (data.task.rolls()) {
    metrics.update(running_metrics_of(data, pass));
    return metrics;
  }
  if (data.writes) {
    add_text_metrics(metrics, data, pass);
    return metrics;
  }
  std::vector<std::pair<std::string, std::vector<double>>> values;
  const auto& questions = data.questions[pass.place];
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const Scores scores = scores_of(data, pass, questions[q], q);
    values.resize(scores.size());
    for (std::size_t m = 0; m < scores.size(); ++m) {
      values[m].first = scores[m].first;
      values[m].second.push_back(scores[m].second);
    }
  }
  for (const auto& [metric, all] : values) {
    const bool perplexity = metric == "perplexity";
    metrics[metric + ",none"] = perplexity ? std::exp(-mean(all)) : mean(all);
    metrics[metric + "_stderr,none"] = perplexity ? Json("N/A") : standard_error(all);
  }
  return metrics;
}

}  // namespace graft
