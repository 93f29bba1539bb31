#include "convert/adapter_sum.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "adapters/core/combination.h"
#include "adapters/core/lora_config.h"
#include "adapters/core/options.h"
#include "base/error.h"

namespace graft {
namespace {

// Directions beyond those wanted, and rounds, that make a random range finder as good as the whole decomposition
// (Halko et al. 2011, algorithms 4.4 and 5.1).
constexpr std::int64_t kSpare = 16;
constexpr int kRounds = 6;

[[noreturn]] void refuse_file() {
  fail(Category::Unsupported, "sum of adapters", "has no adapter file of its own; write it as lora or as a model");
}

[[noreturn]] void refuse_no_change() {
  fail(Category::InvalidArgument, "adapter", "the sum changes no weight");
}

at::Tensor orthonormal(const at::Tensor& matrix) {
  return std::get<0>(at::linalg_qr(matrix));
}

// The singular vectors of the largest `rank` values: u [out, R], values [R], v [R, in].
std::tuple<at::Tensor, at::Tensor, at::Tensor> largest_singular(const at::Tensor& matrix, std::int64_t rank) {
  const std::int64_t least = std::min(matrix.size(0), matrix.size(1)), width = rank + kSpare;
  at::Tensor u, values, v;
  if (4 * width > least) {
    std::tie(u, values, v) = at::linalg_svd(matrix, /*full_matrices=*/false);
  } else {
    const auto generator = at::detail::createCPUGenerator(1);
    at::Tensor range =
        orthonormal(at::matmul(matrix, at::randn({matrix.size(1), width}, generator, at::kFloat).to(matrix.device())));
    for (int round = 0; round < kRounds; ++round)
      range = orthonormal(at::matmul(matrix, orthonormal(at::matmul(matrix.t(), range))));
    std::tie(u, values, v) = at::linalg_svd(at::matmul(range.t(), matrix), /*full_matrices=*/false);
    u = at::matmul(range, u);
  }
  return {u.narrow(1, 0, rank), values.narrow(0, 0, rank), v.narrow(0, 0, rank)};
}

// The whole map or the table that a parameter is the weight of; throws where there is none, or several.
RoleEntry map_of(const Model& model, const std::string& parameter) {
  for (const auto& entry : adapters::maps_and_tables(model)) {
    if (entry.weight != parameter || entry.fused()) continue;
    if (adapters::shares_its_parameter(model, entry))
      fail(Category::Unsupported, parameter,
           "the sum changes it for {} and for other modules that it is one table of, and LoRA reaches one alone; write "
           "a whole model (--as model)",
           entry.module());
    return entry;
  }
  fail(Category::Unsupported, parameter,
       "the sum changes it, and LoRA reaches linear maps, embeddings and head only; write a whole model (--as model)");
}

class LowRank {
 public:
  LowRank(const Model& model, std::int64_t rank) : model_(model), rank_(rank) {}

  void add(const RoleEntry& entry, const at::Tensor& stored) {
    const at::Tensor change = entry.layout == Layout::OutIn ? stored : stored.t();
    const std::int64_t rank = std::min({rank_, change.size(0), change.size(1)});
    const auto [u, values, v] = largest_singular(change, rank);
    const at::Tensor roots = values.sqrt();
    const at::Tensor a = roots.unsqueeze(1) * v, b = u * roots;
    measure(entry, change, at::matmul(b, a));
    if (rank != rank_) ranks_[entry.module()] = rank;
    tensors_.push_back({entry.module() + adapters::suffixes_of(entry).a, a});
    tensors_.push_back({entry.module() + adapters::suffixes_of(entry).b, b});
    entries_.push_back(entry);
  }

  std::unique_ptr<Adapter> adapter() const {
    const nlohmann::json config = {
        {"peft_type", "LORA"},
        {"target_modules", adapters::target_names(entries_, adapters::maps_and_tables(model_))},
        {"r", rank_},
        {"lora_alpha", rank_},
        {"rank_pattern", ranks_},
        {"alpha_pattern", ranks_}};
    return adapters::find_peft("LORA").from_peft(model_, config, tensors_);
  }

  LowRankReport report() const {
    LowRankReport report = report_;
    report.maps = entries_.size();
    report.lost = changed_ > 0 ? std::sqrt(lost_ / changed_) : 0;
    return report;
  }

 private:
  void measure(const RoleEntry& entry, const at::Tensor& change, const at::Tensor& kept) {
    const double changed = std::pow(change.norm().item<double>(), 2),
                 lost = std::pow((change - kept).norm().item<double>(), 2);
    changed_ += changed;
    lost_ += lost;
    const double share = changed > 0 ? std::sqrt(lost / changed) : 0;
    if (!report_.worst_map.empty() && share <= report_.worst) return;
    report_.worst = share;
    report_.worst_map = entry.module();
  }

  const Model& model_;
  std::int64_t rank_;
  double changed_ = 0, lost_ = 0;
  LowRankReport report_;
  std::vector<RoleEntry> entries_;
  std::vector<PeftTensor> tensors_;
  nlohmann::json ranks_ = nlohmann::json::object();
};

// Adds what the sum does to a parameter, where that is anything.
void add_change(LowRank& low_rank, const Model& model, const AdapterSum& sum, std::int64_t index) {
  const at::Tensor base = model.parameters().value(index), merged = sum.merged(index, base);
  if (merged.defined()) {
    const at::Tensor change = merged - base.to(at::kFloat);
    // A bias that is scaled from zero stays zero: nothing that LoRA would have to hold.
    const bool nothing = change.dim() < 2 && change.abs().max().item<double>() == 0;
    if (!nothing) low_rank.add(map_of(model, model.parameters().name(index)), change);
  }
  model.parameters().residency().release({index});
}

std::int64_t parameters_of(const Model& model) {
  return static_cast<std::int64_t>(model.parameters().all().size());
}

using Combinations = std::vector<std::pair<const Combination*, double>>;

// Whether no two parts change the same parameter, so that what they change adds up.
bool parts_are_apart(const Model& model, const Combinations& summands) {
  for (std::int64_t index = 0; index < parameters_of(model); ++index) {
    const at::Tensor base = model.parameters().value(index);
    const Method* first = nullptr;
    for (const auto& [combination, factor] : summands) {
      for (const auto& part : combination->parts()) {
        if (!part.adapter->merged(index, base).defined()) continue;
        if (first != nullptr && first != part.method) return false;
        first = part.method;
      }
    }
  }
  return true;
}

// Part by part. Nullptr as exact_sum; all have the same parts.
std::unique_ptr<Adapter> sum_of_parts(const Model& model, const std::vector<Summand>& summands) {
  Combinations combinations;
  for (const auto& [adapter, factor] : summands)
    combinations.emplace_back(dynamic_cast<const Combination*>(adapter), factor);
  if (combinations.front().first == nullptr || !parts_are_apart(model, combinations)) return nullptr;
  std::vector<Combination::Part> sums;
  for (std::size_t p = 0; p < combinations.front().first->parts().size(); ++p) {
    std::vector<Summand> parts;
    for (const auto& [combination, factor] : combinations)
      parts.push_back({combination->parts()[p].adapter.get(), factor});
    const Method* method = combinations.front().first->parts()[p].method;
    auto sum = method->sum == nullptr ? nullptr : method->sum(model, parts);
    if (sum == nullptr) return nullptr;
    sums.push_back({method, std::move(sum)});
  }
  return std::make_unique<Combination>(model, std::move(sums));
}

}  // namespace

nlohmann::json AdapterSum::peft_config() const {
  refuse_file();
}

std::vector<PeftTensor> AdapterSum::peft_tensors() const {
  refuse_file();
}

at::Tensor AdapterSum::merged(std::int64_t index, const at::Tensor& base) const {
  const at::Tensor start = base.to(at::kFloat);
  at::Tensor result;
  for (const auto& [adapter, factor] : summands_) {
    const at::Tensor changed = adapter->merged(index, base);
    if (!changed.defined()) continue;
    if (!result.defined()) result = start.clone();
    result.add_(changed - start, factor);
  }
  return result;
}

std::unique_ptr<Adapter> exact_sum(const Model& model, const std::string& method,
                                   const std::vector<Summand>& summands) {
  if (method.find('+') != std::string::npos) return sum_of_parts(model, summands);
  const auto& known = adapters::registry();
  const auto found = std::find_if(known.begin(), known.end(), [&](const Method* one) { return one->name == method; });
  return found == known.end() || (*found)->sum == nullptr ? nullptr : (*found)->sum(model, summands);
}

std::unique_ptr<Adapter> low_rank_sum(const Model& model, const AdapterSum& sum, std::int64_t rank,
                                      LowRankReport& report) {
  if (rank < 1) fail(Category::InvalidArgument, "rank", "{} is less than 1", rank);
  const at::NoGradGuard no_grad;
  LowRank low_rank(model, rank);
  for (std::int64_t index = 0; index < parameters_of(model); ++index) add_change(low_rank, model, sum, index);
  report = low_rank.report();
  if (report.maps == 0) refuse_no_change();
  return low_rank.adapter();
}

std::vector<TensorWork> low_rank_work(const Model& model, const AdapterSum& sum, const std::set<std::int64_t>& changed,
                                      std::int64_t rank) {
  std::vector<TensorWork> work;
  for (std::int64_t index = 0; index < parameters_of(model); ++index) {
    const WeightStore& store = model.parameters().store(index);
    // How long a decomposition takes follows from the shape, not from the number of values.
    const std::string kind =
        changed.contains(index) ? fmt::format("{}", fmt::join(store.shape(), " x ")) : "kept " + store.kind();
    const auto make = [&model, &sum, index, rank] {
      const at::NoGradGuard no_grad;
      LowRank low_rank(model, rank);
      add_change(low_rank, model, sum, index);
    };
    // Vectors take no time, and one that changes is refused.
    if (store.shape().size() < 2) {
      make();
    } else {
      work.push_back({kind, store.elements(), make});
    }
  }
  if (changed.empty()) refuse_no_change();
  return work;
}

}  // namespace graft
