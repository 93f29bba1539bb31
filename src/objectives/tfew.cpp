#include "objectives/tfew.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace graft {
namespace {

struct Index {
  at::Tensor token_is_wrong;               // [T] 1 for tokens of wrong choices
  at::Tensor lengths;                      // [choices]
  std::vector<std::int64_t> right;         // [E] index over all choices
  std::vector<std::int64_t> wrong_tokens;  // [E]
};

Index index_of(const ChoiceBatch& batch, const at::Tensor& like) {
  Index index;
  std::vector<bool> is_right(static_cast<std::size_t>(batch.choices()), false);
  for (std::int64_t e = 0; e < batch.examples(); ++e) {
    const auto at = static_cast<std::size_t>(e);
    const auto first = batch.first_choice[at], end = batch.first_choice[at + 1];
    const auto label = batch.labels[at];
    if (label < 0 || label >= end - first)
      fail(Category::InvalidArgument, "label", "{} of an example with {} choices", label, end - first);
    index.right.push_back(first + label);
    is_right[static_cast<std::size_t>(first + label)] = true;
    std::int64_t wrong = 0;
    for (auto c = first; c < end; ++c)
      wrong += c == first + label ? 0 : batch.scored_tokens[static_cast<std::size_t>(c)];
    index.wrong_tokens.push_back(wrong);
  }
  std::vector<float> wrong;
  for (const auto& token : batch.scored)
    wrong.push_back(is_right[static_cast<std::size_t>(token.choice)] ? 0.0f : 1.0f);
  index.token_is_wrong = at::tensor(wrong, at::kFloat).to(like.device());
  index.lengths = at::tensor(batch.scored_tokens, at::kLong).to(like.device(), at::kFloat);
  return index;
}

at::Tensor lm_loss(const at::Tensor& mean_log_p, const Index& index) {
  return mean_log_p.index_select(0, at::tensor(index.right, at::kLong).to(mean_log_p.device())).mean().neg();
}

// −Σ_wrong log(1 − p) / Σ_wrong T for each example, then the mean.
at::Tensor unlikelihood(const at::Tensor& log_p, const ChoiceBatch& batch, const Index& index) {
  constexpr double kLargestLogP = -1e-6;  // keeps log(1 − p) finite where the model is certain
  const at::Tensor terms = at::log1p(at::clamp_max(log_p, kLargestLogP).exp().neg()).neg() * index.token_is_wrong;
  std::vector<float> weights;
  for (const auto& token : batch.scored) {
    const auto example = std::upper_bound(batch.first_choice.begin(), batch.first_choice.end(), token.choice) -
                         batch.first_choice.begin() - 1;
    const auto count = index.wrong_tokens[static_cast<std::size_t>(example)];
    weights.push_back(count > 0 ? 1.0f / static_cast<float>(count) : 0.0f);
  }
  return (terms * at::tensor(weights, at::kFloat).to(log_p.device())).sum() / static_cast<double>(batch.examples());
}

at::Tensor authors_unlikelihood(const at::Tensor& log_p, const ChoiceBatch& batch, const Index& index) {
  const auto wrong = index.token_is_wrong.sum().item<double>();
  const auto longest = *std::max_element(batch.scored_tokens.begin(), batch.scored_tokens.end());
  const double empty_cells = static_cast<double>(batch.choices() * longest) - wrong;
  const at::Tensor terms = at::log(log_p.exp().neg().add(1.01)).neg() * index.token_is_wrong;
  return (terms.sum() - empty_cells * std::log(1.01)) / std::max(wrong, 1.0);
}

// Cross-entropy over the choices of the length-normalised log-probabilities.
at::Tensor length_norm(const at::Tensor& mean_log_p, const ChoiceBatch& batch, const Index& index) {
  std::vector<at::Tensor> terms;
  for (std::int64_t e = 0; e < batch.examples(); ++e) {
    const auto at = static_cast<std::size_t>(e);
    const auto first = batch.first_choice[at];
    const at::Tensor scores = mean_log_p.narrow(0, first, batch.first_choice[at + 1] - first);
    terms.push_back(at::logsumexp(scores, 0) - scores[index.right[at] - first]);
  }
  return at::stack(terms).mean();
}

}  // namespace

TfewLoss tfew_loss(const at::Tensor& log_p, const ChoiceBatch& batch, const TfewSettings& settings) {
  const Index index = index_of(batch, log_p);
  const at::Tensor mean_log_p = sum_by_choice(log_p, batch) / index.lengths;
  const at::Tensor lm = lm_loss(mean_log_p, index);
  const at::Tensor ul =
      settings.authors_unlikelihood ? authors_unlikelihood(log_p, batch, index) : unlikelihood(log_p, batch, index);
  const at::Tensor ln = length_norm(mean_log_p, batch, index);
  TfewLoss loss;
  // A weight of zero leaves its loss out of the sum, so that an infinite term of a switched-off loss does no harm.
  loss.total = at::zeros({}, log_p.options());
  if (settings.lm_weight != 0) loss.total = loss.total + lm * settings.lm_weight;
  if (settings.unlikelihood_weight != 0) loss.total = loss.total + ul * settings.unlikelihood_weight;
  if (settings.length_norm_weight != 0) loss.total = loss.total + ln * settings.length_norm_weight;
  loss.lm = lm.item<double>();
  loss.unlikelihood = ul.item<double>();
  loss.length_norm = ln.item<double>();
  return loss;
}

}  // namespace graft
