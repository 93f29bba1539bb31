// What LoRA's variants must do beyond LoRA itself, on every golden model.
#include "law_model.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

class LoraLaw : public Law {
 protected:
  std::map<std::string, at::Tensor> tensors(const Adapter& adapter) const {
    std::map<std::string, at::Tensor> found;
    for (const auto& tensor : adapter.parameters()) found[tensor.name] = tensor.value;
    return found;
  }

  // [out, in] of a whole map.
  at::Tensor weight(const RoleEntry& entry) const {
    const at::Tensor stored = model().parameters().value(model().parameters().index(entry.weight));
    return entry.layout == Layout::OutIn ? stored : stored.t();
  }
};

// Meng et al. 2024: the update begins as the best approximation of its rank, and what is left of the base is the rest.
TEST_P(LoraLaw, PissaBeginsAtTheBaseWithItsLargestSingularVectors) {
  constexpr std::int64_t kRank = 4;
  constexpr double kAlpha = 6;
  const Text input = text(12);
  const auto adapter = fresh(MethodChoice("lora"), model(), {{"init", "pissa"}, {"rank", kRank}, {"alpha", kAlpha}});
  EXPECT_LE(relative_gap(logits(model(), input, adapter.get()), logits(model(), input)), kCoarseRounding);
  const auto trained = tensors(*adapter);
  for (const auto& entry : model().roles()) {
    const auto a = trained.find(name(entry.site) + ".a");
    if (a == trained.end()) continue;
    const at::Tensor update = at::matmul(trained.at(name(entry.site) + ".b"), a->second) * (kAlpha / kRank);
    const at::Tensor values = at::linalg_svdvals(weight(entry));
    const double rest = values.slice(0, kRank).norm().item<double>();
    EXPECT_NEAR((weight(entry) - update).norm().item<double>(), rest, 1e-4 * values.norm().item<double>());
  }
}

TEST_P(LoraLaw, PissaIsSavedAsPlainLora) {
  for (const bool rslora : {false, true}) {
    const Text input = text(12);
    const auto adapter = stirred(MethodChoice("lora"), 11, {{"init", "pissa"}, {"rank", 3}, {"rslora", rslora}});
    save_adapter(folder() / "pissa", *adapter, model(), {});
    const at::Tensor want = logits(model(), input, adapter.get());
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3);
    EXPECT_LE(relative_gap(logits(model(), input, load_adapter(folder() / "pissa", model()).adapter.get()), want),
              kCoarseRounding);
  }
}

TEST_P(LoraLaw, PissaOfMoreThanThereIsIsRefused) {
  expect_error(Category::InvalidArgument, "singular vectors", [&] {
    fresh(MethodChoice("lora"), model(), {{"init", "pissa"}, {"rank", 100000}});
  });
}

// Also those that begin from the base's values.
TEST_P(LoraLaw, AModelWithoutWeightsHasAsManyParameters) {
  const auto outline = outline_model(model().config());
  const MethodChoice lora("lora");
  for (const Json& options : {Json{{"init", "pissa"}, {"rank", 3}}, Json{{"dora", true}, {"rank", 3}}}) {
    SCOPED_TRACE(options.dump());
    EXPECT_EQ(trainable_elements(*fresh(lora, *outline, options)), trainable_elements(*fresh(lora, model(), options)));
  }
}

// Hayou et al. 2024: B alone learns faster.
TEST_P(LoraLaw, TheRatioOfLearningRatesIsOfBAlone) {
  const auto adapter = fresh(MethodChoice("lora+ia3"), model(), {{"lora", {{"lr_ratio", 16}}}});
  for (const auto& tensor : adapter->parameters())
    EXPECT_EQ(tensor.lr_ratio, tensor.name.ends_with(".b") ? 16 : 1) << tensor.name;
}

INSTANTIATE_TEST_SUITE_P(Golden, LoraLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LoraLaw);

}  // namespace
}  // namespace graft::laws
