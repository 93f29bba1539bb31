// Sums of adapters: every form in which one is written computes what the sum in the weights computes.
#include <cmath>
#include <functional>
#include <set>

#include "adapters/core/lora_config.h"
#include "convert/adapter_sum.h"
#include "convert/merged_weights.h"
#include "law_model.h"

namespace graft::laws {
namespace {

class SumLaw : public Law {
 protected:
  // Two adapters of one method, and a sum of them that neither is.
  struct Pair {
    Pair(const SumLaw& law, const MethodChoice& method, const nlohmann::json& options)
        : first(law.stirred(method, 11, options)), second(law.stirred(method, 23, options)) {}
    std::vector<Summand> summands() const { return {{first.get(), 0.7}, {second.get(), -0.4}}; }
    std::unique_ptr<Adapter> first, second;
  };

  void for_every_sum(const std::function<void(const Method&, const Pair&)>& rule) const {
    for (const Method* method : adapters::registry()) {
      SCOPED_TRACE(method->name);
      const Pair pair(*this, MethodChoice(method->name), nlohmann::json::object());
      if (mergeable(*pair.first)) rule(*method, pair);
    }
  }

  // What the sum of the pair gives where it is in the weights.
  at::Tensor in_weights(const Text& input, const std::vector<Summand>& summands) const {
    const AdapterSum sum(summands);
    const MergedWeights hooks(model(), sum);
    return logits(model(), input, &hooks);
  }
};

TEST_P(SumLaw, OneAdapterOfFactorOneIsItself) {
  for_every_sum([&](const Method&, const Pair& pair) {
    const Text input = text(12);
    const at::Tensor want = logits(model(), input, pair.first.get());
    EXPECT_LE(relative_gap(in_weights(input, {{pair.first.get(), 1}}), want), 1e-4);
  });
}

TEST_P(SumLaw, AnExactSumIsTheSumInTheWeights) {
  std::set<std::string> found, met;
  for_every_sum([&](const Method& method, const Pair& pair) {
    met.insert(method.name);
    const auto sum = exact_sum(model(), method.name, pair.summands());
    if (sum == nullptr) return;
    found.insert(method.name);
    const Text input = text(12);
    const at::Tensor want = in_weights(input, pair.summands());
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3) << "the sum does nothing that could differ";
    EXPECT_LE(relative_gap(logits(model(), input, sum.get()), want), 1e-4);
    save_adapter(folder() / method.name, *sum, model(), {});
    const auto loaded = load_adapter(folder() / method.name, model());
    EXPECT_LE(relative_gap(logits(model(), input, loaded.adapter.get()), want), 1e-4);
  });
  // Not every model has room for BitFit's biases.
  for (const char* name : {"ia3", "lora", "layernorm", "bitfit", "fish", "tables"})
    EXPECT_EQ(found.count(name), met.count(name)) << name;
  EXPECT_GE(found.size(), 4u);
}

// Largest weights, and those of the largest gradients: some places are of both, others of one.
TEST_P(SumLaw, MasksOfOtherPlacesAddUp) {
  const Text words = text(9);
  const auto by_weight = stirred(MethodChoice("fish"), 11, {{"ratio", 0.05}});
  const auto by_gradient = fresh(MethodChoice("fish"), model(), {{"ratio", 0.05}});
  by_gradient->prepare(1, [&](std::size_t) { return loss(model(), words, *by_gradient); });
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : by_gradient->parameters()) at::Tensor(parameter.value).add_(0.1);
  }
  const std::vector<Summand> summands = {{by_weight.get(), 0.5}, {by_gradient.get(), -2}};
  const auto sum = exact_sum(model(), "fish", summands);
  ASSERT_NE(sum, nullptr);
  EXPECT_GT(trainable_elements(*sum), trainable_elements(*by_weight));
  EXPECT_LT(trainable_elements(*sum), trainable_elements(*by_weight) + trainable_elements(*by_gradient));
  const at::Tensor want = in_weights(words, summands);
  EXPECT_GT(relative_gap(logits(model(), words), want), 1e-3);
  EXPECT_LE(relative_gap(logits(model(), words, sum.get()), want), 1e-4);
}

TEST_P(SumLaw, CombinationsAddUpWhereTheirPartsAreApart) {
  for (const char* name : {"lora+layernorm", "ia3+layernorm"}) {
    SCOPED_TRACE(name);
    const Pair pair(*this, MethodChoice(name), nlohmann::json::object());
    const auto sum = exact_sum(model(), name, pair.summands());
    ASSERT_NE(sum, nullptr);
    const Text input = text(12);
    const at::Tensor want = in_weights(input, pair.summands());
    EXPECT_LE(relative_gap(logits(model(), input, sum.get()), want), 1e-4);
    save_adapter(folder() / name, *sum, model(), {});
    const auto loaded = load_adapter(folder() / name, model());
    EXPECT_EQ(loaded.method, name);
    EXPECT_LE(relative_gap(logits(model(), input, loaded.adapter.get()), want), 1e-4);
  }
  // Both act on keys or values: the second scales what the first has added.
  const Pair overlapping(*this, MethodChoice("lora+ia3"), nlohmann::json::object());
  EXPECT_EQ(exact_sum(model(), "lora+ia3", overlapping.summands()), nullptr);
  const Pair dora(*this, MethodChoice("lora+layernorm"), {{"lora", {{"dora", true}}}});
  EXPECT_EQ(exact_sum(model(), "lora+layernorm", dora.summands()), nullptr);
}

TEST_P(SumLaw, DoraHasNoSumOfItsOwn) {
  const Pair pair(*this, MethodChoice("lora"), {{"dora", true}});
  EXPECT_EQ(exact_sum(model(), "lora", pair.summands()), nullptr);
}

TEST_P(SumLaw, LoraOfAllRanksLosesNothing) {
  const Pair pair(*this, MethodChoice("lora"), {{"rank", 3}});
  LowRankReport report;
  const auto sum = low_rank_sum(model(), AdapterSum(pair.summands()), 6, report);
  EXPECT_LE(report.lost, 1e-3);
  const Text input = text(12);
  EXPECT_LE(relative_gap(logits(model(), input, sum.get()), in_weights(input, pair.summands())), 1e-3);
}

// Where embeddings and head are one table, an update of one of them is in no weight, and one of both in no plain LoRA.
TEST_P(SumLaw, LoraOfTablesLosesNothingWhereTheyAreTwo) {
  const auto& tables = model().tables();
  const Pair pair(*this, MethodChoice("lora"), {{"rank", 2}, {"roles", "o,embed,head"}});
  LowRankReport report;
  if (adapters::shares_its_parameter(model(), tables.front())) {
    const auto refused = [&](const char* says, const Pair& of) {
      expect_error(Category::Unsupported, says, [&] { low_rank_sum(model(), AdapterSum(of.summands()), 4, report); });
    };
    refused("keep the adapter", pair);
    const bool ties = !model().encoder_decoder() && tables.front().module().ends_with("embed_tokens");
    if (ties) refused("--as model", Pair(*this, MethodChoice("lora"), {{"roles", "embed"}, {"tie", true}}));
    return;
  }
  const auto sum = low_rank_sum(model(), AdapterSum(pair.summands()), 4, report);
  EXPECT_LE(report.lost, 1e-3);
  EXPECT_TRUE(sum->acts_on(kHeadSite) && sum->acts_on(embedding_site(Stack::Decoder)));
  const Text input = text(12);
  const at::Tensor want = in_weights(input, pair.summands());
  EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3);
  EXPECT_LE(relative_gap(logits(model(), input, sum.get()), want), 1e-3);
}

// The loss that is told is that of the best approximation (Eckart and Young): the root of the squares left out.
TEST_P(SumLaw, ASmallerRankLosesWhatItSays) {
  const Pair pair(*this, MethodChoice("lora"), {{"rank", 3}});
  const AdapterSum sum(pair.summands());
  LowRankReport report;
  low_rank_sum(model(), sum, 2, report);
  double all = 0, left_out = 0;
  const auto& parameters = model().parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor merged = sum.merged(static_cast<std::int64_t>(i), parameters[i].value());
    if (!merged.defined()) continue;
    const at::Tensor squares = at::linalg_svdvals(merged - parameters[i].value()).square();
    all += squares.sum().item<double>();
    left_out += squares.narrow(0, 2, squares.size(0) - 2).sum().item<double>();
  }
  EXPECT_GT(report.lost, 0.01);
  EXPECT_NEAR(report.lost, std::sqrt(left_out / all), 1e-3);
}

// Vectors and biases have no low rank: either all of a change is in whole maps, or what is not is named.
TEST_P(SumLaw, EveryMethodBecomesLoraOrSaysWhyNot) {
  for_every_sum([&](const Method& method, const Pair& pair) {
    const AdapterSum sum(pair.summands());
    const Text input = text(12);
    LowRankReport report;
    try {
      const auto lora = low_rank_sum(model(), sum, 100000, report);
      EXPECT_LE(report.lost, 1e-4);
      EXPECT_LE(relative_gap(logits(model(), input, lora.get()), in_weights(input, pair.summands())), 1e-3);
      EXPECT_NE(std::string(method.name), "layernorm");
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::Unsupported) << error.what();
      EXPECT_NE(std::string(error.what()).find("--as model"), std::string::npos) << error.what();
      EXPECT_NE(std::string(method.name), "lora");
    }
  });
}

// Hu et al. 2021, section 4.1: a deployed model changes its task by taking one update out and putting another in.
TEST_P(SumLaw, SwappingUpdatesEqualsAFreshLoad) {
  const Pair pair(*this, MethodChoice("lora"), nlohmann::json::object());
  const AdapterSum swap({{pair.first.get(), -1}, {pair.second.get(), 1}});
  const auto& parameters = model().parameters().all();
  const MergedWeights before(model(), *pair.first), after(model(), *pair.second);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const at::Tensor first = pair.first->merged(index, parameters[i].value());
    if (!first.defined()) continue;
    const at::Tensor want = pair.second->merged(index, parameters[i].value());
    EXPECT_LE(relative_gap(swap.merged(index, first), want), kRounding) << parameters[i].name;
    // graft keeps the base beside the merged weights, so that nothing has to be taken out and the bits are the same.
    EXPECT_TRUE(at::equal(after.parameter(index), want)) << parameters[i].name;
    EXPECT_FALSE(at::equal(before.parameter(index), want)) << parameters[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, SumLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SumLaw);

}  // namespace
}  // namespace graft::laws
