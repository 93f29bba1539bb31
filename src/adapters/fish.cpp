// FISH mask: the fraction of all base parameters with the largest empirical Fisher information on the training
// examples is trained, the rest stays (Sung et al. 2021, section 3).
#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "base/error.h"

namespace graft {
namespace {

constexpr const char* kIndices = ".fish_indices";
constexpr const char* kValues = ".fish_values";

struct Sparse {
  at::Tensor indices;  // [K] int64, into the flattened parameter, ascending
  at::Tensor values;   // [K] fp32, trained
};

void refuse_misfits(const at::Tensor& indices, const Parameter& parameter) {
  const bool fits = indices.scalar_type() == at::kLong && indices.dim() == 1 && indices.numel() > 0 &&
                    indices.min().item<std::int64_t>() >= 0 &&
                    indices.max().item<std::int64_t>() < parameter.store->elements() &&
                    at::diff(indices).gt(0).all().item<bool>();
  if (!fits)
    fail(Category::Corruption, parameter.name + kIndices,
         "must be ascending int64 places within the parameter's {} values", parameter.store->elements());
}

// The `count` places with the largest scores over all parameters; scores by parameter index, undefined: left out.
std::map<std::int64_t, at::Tensor> largest(const std::vector<at::Tensor>& scores, std::int64_t count) {
  std::vector<at::Tensor> flat;
  for (const auto& score : scores)
    if (score.defined()) flat.push_back(score.reshape({-1}).to(at::kFloat));
  const at::Tensor chosen = std::get<0>(at::sort(std::get<1>(at::topk(at::cat(flat), count))));
  std::map<std::int64_t, at::Tensor> result;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i].defined()) continue;
    const std::int64_t next = first + scores[i].numel();
    const at::Tensor here = chosen.index({at::logical_and(chosen >= first, chosen < next)}) - first;
    if (here.numel() > 0) result[static_cast<std::int64_t>(i)] = here;
    first = next;
  }
  return result;
}

// Of a model without values every parameter has its share of the `count` places.
std::map<std::int64_t, at::Tensor> shares(const std::vector<at::Tensor>& scores, std::int64_t elements,
                                          std::int64_t count) {
  std::map<std::int64_t, at::Tensor> result;
  const double ratio = static_cast<double>(count) / static_cast<double>(elements);
  std::int64_t seen = 0, taken = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i].defined()) continue;
    seen += scores[i].numel();
    const auto here = std::llround(ratio * static_cast<double>(seen)) - taken;
    taken += here;
    if (here > 0) result[static_cast<std::int64_t>(i)] = at::arange(here, scores[i].options().dtype(at::kLong));
  }
  return result;
}

class Fish : public Adapter {
 public:
  Fish(const Model& model, std::map<std::int64_t, Sparse> entries) : model_(model), entries_(std::move(entries)) {}

  /// The mask is provisional (the largest weights) until prepare() is given losses.
  Fish(const Model& model, double ratio, std::int64_t samples) : model_(model), samples_(samples) {
    std::int64_t elements = 0;
    const bool outline = model.device().is_meta();
    std::vector<at::Tensor> sizes;
    for (const auto& parameter : model.parameters().all()) {
      sizes.push_back(parameter.fixed ? at::Tensor() : outline ? parameter.value() : parameter.value().abs());
      elements += parameter.fixed ? 0 : parameter.store->elements();
    }
    count_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(elements) * ratio));
    take(outline ? shares(sizes, elements, count_) : largest(sizes, count_));
  }

  const std::map<std::int64_t, Sparse>& entries() const { return entries_; }

  bool replaces_parameters() const override { return true; }
  bool changes_by_places() const override { return true; }

  std::optional<SparseChange> change(std::int64_t index) const override {
    const auto found = entries_.find(index);
    if (found == entries_.end()) return std::nullopt;
    return SparseChange{found->second.indices, found->second.values};
  }

  at::Tensor norm(std::int64_t index) const override { return parameter(index); }

  at::Tensor parameter(std::int64_t index) const override {
    if (!dense_.empty()) return dense_[static_cast<std::size_t>(index)];
    const auto found = entries_.find(index);
    return found == entries_.end() ? at::Tensor() : filled(index, found->second);
  }

  // Liu et al. 2022's authors: the squared gradient of each example's own training loss, summed.
  void prepare(std::size_t examples, const ExampleLoss& loss) override {
    if (samples_ == 0) return;  // the mask came with the file
    for (const auto& parameter : model_.parameters().all())
      dense_.push_back(parameter.fixed ? at::Tensor() : trainable(parameter.value(), model_));
    std::vector<at::Tensor> fisher(dense_.size());
    const auto used = std::min(examples, static_cast<std::size_t>(samples_));
    for (std::size_t e = 0; e < used; ++e) {
      loss(e).backward();
      for (std::size_t i = 0; i < dense_.size(); ++i) add_square(dense_[i], fisher[i]);
    }
    for (std::size_t i = 0; i < dense_.size(); ++i) {
      if (dense_[i].defined() && !fisher[i].defined()) fisher[i] = at::zeros_like(dense_[i]);
    }
    dense_.clear();
    take(largest(fisher, count_));
  }

  std::vector<PeftTensor> prepared() const override {
    std::vector<PeftTensor> result;
    for (const auto& [index, entry] : entries_) result.push_back({parameter_name(index) + kIndices, entry.indices});
    return result;
  }

  void take_prepared(const std::vector<PeftTensor>& found) override {
    std::map<std::int64_t, at::Tensor> places;
    for (const auto& [name, indices] : found) {
      const std::int64_t index = model_.parameters().index(name.substr(0, name.rfind('.')));
      if (index < 0) fail(Category::Corruption, name, "has no place in the model");
      refuse_misfits(indices, model_.parameters().all()[static_cast<std::size_t>(index)]);
      places[index] = indices.to(model_.device());
    }
    take(places);
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [index, entry] : entries_) result.push_back({parameter_name(index) + kValues, entry.values});
    return result;
  }

  nlohmann::json peft_config() const override { return {{"peft_type", "FISH"}}; }

  std::vector<PeftTensor> peft_tensors() const override {
    std::vector<PeftTensor> result;
    for (const auto& [index, entry] : entries_) {
      result.push_back({parameter_name(index) + kIndices, entry.indices});
      result.push_back({parameter_name(index) + kValues, entry.values.detach()});
    }
    return result;
  }

  at::Tensor merged(std::int64_t index, const at::Tensor&) const override {
    const at::Tensor value = parameter(index);
    return value.defined() ? value.detach() : value;
  }

 private:
  static void add_square(at::Tensor& parameter, at::Tensor& fisher) {
    if (!parameter.defined() || !parameter.grad().defined()) return;
    const at::Tensor square = parameter.grad().square();
    fisher = fisher.defined() ? fisher.add_(square) : square;
    parameter.mutable_grad() = at::Tensor();
  }

  void take(const std::map<std::int64_t, at::Tensor>& places) {
    entries_.clear();
    for (const auto& [index, indices] : places) {
      const at::Tensor flat = model_.parameters().value(index).reshape({-1});
      entries_[index] = {indices, trainable(flat.gather(0, indices), model_)};
    }
  }

  at::Tensor filled(std::int64_t index, const Sparse& entry) const {
    const at::Tensor base = model_.parameters().value(index);
    return base.to(at::kFloat).reshape({-1}).index_put({entry.indices}, entry.values).view(base.sizes());
  }

  const std::string& parameter_name(std::int64_t index) const { return model_.parameters().name(index); }

  const Model& model_;
  std::int64_t samples_ = 0, count_ = 0;
  std::map<std::int64_t, Sparse> entries_;  // by parameter index
  std::vector<at::Tensor> dense_;           // every parameter, while the Fisher information is measured
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng&) {
  const adapters::Options options("fish", given, {"ratio", "samples"});
  adapters::refuse_packed("fish", model);
  return std::make_unique<Fish>(model, options.number("ratio", 0.002, 1e-9, 1), options.integer("samples", 1024, 1));
}

const at::Tensor& tensor_of(const std::vector<PeftTensor>& tensors, const std::string& name) {
  for (const auto& tensor : tensors)
    if (tensor.name == name) return tensor.value;
  fail(Category::Corruption, name, "the adapter's file has no such tensor; fetch or save the adapter again");
}

Sparse entry_of(const std::vector<PeftTensor>& tensors, const Parameter& parameter, const Model& model) {
  const at::Tensor& indices = tensor_of(tensors, parameter.name + kIndices);
  const at::Tensor& values = tensor_of(tensors, parameter.name + kValues);
  refuse_misfits(indices, parameter);
  if (indices.sizes() != values.sizes())
    fail(Category::Corruption, parameter.name + kIndices, "has {} places for {} values", indices.numel(),
         values.numel());
  return {indices.to(model.device()), trainable(values, model)};
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json&, const std::vector<PeftTensor>& tensors) {
  adapters::refuse_packed("fish", model);
  std::map<std::int64_t, Sparse> entries;
  for (const auto& tensor : tensors) {
    const auto dot = tensor.name.rfind('.');
    const std::int64_t index = model.parameters().index(tensor.name.substr(0, dot));
    const std::string kind = dot == std::string::npos ? "" : tensor.name.substr(dot);
    if (index < 0 || (kind != kIndices && kind != kValues))
      fail(Category::Corruption, tensor.name,
           "this tensor has no place in the model; was the adapter made for another architecture?");
    if (entries.count(index) == 0)
      entries[index] = entry_of(tensors, model.parameters().all()[static_cast<std::size_t>(index)], model);
  }
  return std::make_unique<Fish>(model, std::move(entries));
}

using Factored = std::vector<std::pair<const Sparse*, double>>;

// θ + Σ f · (v − θ) at every place that one of them trains, of θ in any shape.
Sparse added_up(const at::Tensor& base, const Factored& summands, const Model& model) {
  std::vector<at::Tensor> places;
  for (const auto& [sparse, factor] : summands) places.push_back(sparse->indices);
  const at::Tensor all = std::get<0>(at::unique_consecutive(std::get<0>(at::sort(at::cat(places)))));
  const at::Tensor flat = base.to(at::kFloat).reshape({-1}), values = flat.gather(0, all);
  for (const auto& [sparse, factor] : summands) {
    const at::Tensor change = sparse->values.detach() - flat.gather(0, sparse->indices);
    values.index_add_(0, at::searchsorted(all, sparse->indices), change, factor);
  }
  return {all, trainable(values, model)};
}

std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  std::map<std::int64_t, Factored> by_parameter;
  for (const auto& [adapter, factor] : summands) {
    for (const auto& [index, entry] : dynamic_cast<const Fish&>(*adapter).entries())
      by_parameter[index].emplace_back(&entry, factor);
  }
  std::map<std::int64_t, Sparse> sums;
  for (const auto& [index, parts] : by_parameter) sums[index] = added_up(model.parameters().value(index), parts, model);
  return std::make_unique<Fish>(model, std::move(sums));
}

}  // namespace

namespace adapters {
extern const Method fish;
const Method fish{"fish",
                  "FISH mask: the parameters with the largest Fisher information are trained (Sung et al. 2021)",
                  "ratio=0.002 (of all parameters)  samples=1024 (training examples that it is measured on, at most)",
                  "FISH",
                  create,
                  from_peft,
                  /*starts_at_base=*/true,
                  sum};
}  // namespace adapters
}  // namespace graft
