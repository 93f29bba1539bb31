// The exercise of CONTRIBUTING.md, "Add a method", compiles as it stands there (gain.cpp.in) and keeps the laws. It is
// in no registry, so that they are asked of it here.
#include "law_model.h"

namespace graft::adapters {
extern const Method gain;
}

namespace graft::laws {
namespace {

class ExerciseLaw : public Law {
 protected:
  std::unique_ptr<Adapter> fresh_gain(const nlohmann::json& options = nlohmann::json::object()) const {
    Rng rng(3);
    return adapters::gain.create(model(), options, rng);
  }

  /// Away from its initial value in every tensor.
  std::unique_ptr<Adapter> stirred_gain() const {
    auto adapter = fresh_gain();
    const at::NoGradGuard no_grad;
    const auto generator = at::detail::createCPUGenerator(11);
    for (const auto& parameter : adapter->parameters())
      at::Tensor(parameter.value).add_(at::randn(parameter.value.sizes(), generator), 0.1);
    return adapter;
  }
};

TEST_P(ExerciseLaw, FreshItChangesNothing) {
  const at::NoGradGuard no_grad;
  const Text input = text(12);
  const auto adapter = fresh_gain();
  EXPECT_GT(adapter->parameters().size(), 1u);
  EXPECT_TRUE(at::equal(logits(model(), input, adapter.get()), logits(model(), input)));
}

TEST_P(ExerciseLaw, GradientsReachEveryNumberAlsoWhereLayersAreRecomputed) {
  const Text input = text(12);
  const auto adapter = stirred_gain();
  const auto kept = gradients(model(), input, *adapter, false), recomputed = gradients(model(), input, *adapter, true);
  double largest = 0;
  for (const auto& [name, gradient] : kept) {
    ASSERT_TRUE(gradient.defined() && recomputed.at(name).defined()) << name;
    EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name;
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
    largest = std::max(largest, gradient.abs().max().item<double>());
  }
  for (const auto& [name, gradient] : kept)
    EXPECT_LE((recomputed.at(name) - gradient).abs().max().item<double>(), kRounding * largest) << name;
  for (const auto& parameter : model().parameters().all())
    EXPECT_FALSE(parameter.value().grad().defined()) << parameter.name;
}

TEST_P(ExerciseLaw, MergedWeightsGiveItsLogits) {
  const Text input = text(12);
  const auto adapter = stirred_gain();
  const at::Tensor want = logits(model(), input, adapter.get());
  NamedTensors tensors = tensors_of(model());
  bool changed = false;  // of logits that is not always seen: some families' norms take out what scales a map
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor value = adapter->merged(static_cast<std::int64_t>(i), tensors[i].second);
    if (!value.defined()) continue;
    changed = changed || relative_gap(value, tensors[i].second) > 1e-3;
    tensors[i].second = value;
  }
  EXPECT_TRUE(changed);
  EXPECT_LE(relative_gap(logits(*written("merged", tensors), input), want), 1e-4);
}

TEST_P(ExerciseLaw, ItComesBackFromWhatItsFileHolds) {
  const Text input = text(12);
  const auto adapter = stirred_gain();
  const auto loaded = adapters::gain.from_peft(model(), adapter->peft_config(), adapter->peft_tensors());
  EXPECT_TRUE(at::equal(logits(model(), input, loaded.get()), logits(model(), input, adapter.get())));
  auto tensors = adapter->peft_tensors();
  tensors.pop_back();
  expect_error(Category::Corruption, "no such tensor",
               [&] { adapters::gain.from_peft(model(), adapter->peft_config(), tensors); });
}

TEST_P(ExerciseLaw, ItSharesABatchWithTextsThatHaveNone) {
  const Text first = text(9), second = text(7);
  const auto adapter = stirred_gain();
  StepInput input;
  const Segment with = add(input, first, 0), without = add(input, second);
  ForwardOptions options;
  options.slots = {adapter.get()};
  const at::Tensor all = logits(model(), input, options);
  EXPECT_LE(relative_gap(rows(all, with), logits(model(), first, adapter.get())), kCoarseRounding);
  EXPECT_LE(relative_gap(rows(all, without), logits(model(), second)), kCoarseRounding);
}

TEST_P(ExerciseLaw, AMisspeltOptionIsRefused) {
  const nlohmann::json misspelt = {{"role", "o"}}, right = {{"roles", "o"}};
  expect_error(Category::InvalidArgument, "gain has no option 'role'", [&] { fresh_gain(misspelt); });
  EXPECT_LT(fresh_gain(right)->parameters().size(), fresh_gain()->parameters().size());
}

INSTANTIATE_TEST_SUITE_P(Golden, ExerciseLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ExerciseLaw);

}  // namespace
}  // namespace graft::laws
