// A model whose matrices are kept in blocks is the dense model of the same values, for every method, on every golden
// model.
#include <set>
#include <utility>

#include "adapters/core/peft.h"
#include "convert/merged_weights.h"
#include "law_model.h"
#include "train/footprint.h"

namespace graft::laws {
namespace {

constexpr double kSame = 1e-6;

class PackedLaw : public Law {
 protected:
  void SetUp() override {
    Law::SetUp();
    packed_ = load_model(model_folder().string(), {at::kFloat, at::kCPU, WeightFormat::Q8_0});
    twin_ = written("twin", tensors_of(*packed_));
  }

  const Model& packed() const { return *packed_; }
  const Model& twin() const { return *twin_; }

  void expect_same(const MethodChoice& method, const nlohmann::json& options = nlohmann::json::object()) {
    const Text input = text(12);
    const auto over_packed = stirred(method, packed(), 11, options), over_twin = stirred(method, twin(), 11, options);
    EXPECT_LE(relative_gap(logits(packed(), input, over_packed.get()), logits(twin(), input, over_twin.get())), kSame);
    for (const bool checkpoint_layers : {false, true}) {
      const auto got = gradients(packed(), input, *over_packed, checkpoint_layers),
                 want = gradients(twin(), input, *over_twin, false);
      double largest = 0;
      for (const auto& [name, gradient] : want) largest = std::max(largest, gradient.abs().max().item<double>());
      for (const auto& [name, gradient] : want) {
        ASSERT_TRUE(got.at(name).defined()) << name;
        EXPECT_LE((got.at(name) - gradient).abs().max().item<double>(), kRounding * largest) << name;
      }
    }
  }

  static std::pair<double, double> losses_around_a_step(const Model& of, const Text& input) {
    const auto adapter = stirred(MethodChoice("lora"), of);
    const auto slopes = gradients(of, input, *adapter, /*checkpoint_layers=*/false);
    const at::NoGradGuard no_grad;
    adapter->set_training(false);
    const double before = loss(of, input, *adapter).item<double>();
    for (const auto& parameter : adapter->parameters())
      at::Tensor(parameter.value).sub_(slopes.at(parameter.name), 0.01);
    return {before, loss(of, input, *adapter).item<double>()};
  }

 private:
  std::unique_ptr<Model> packed_, twin_;
};

TEST_P(PackedLaw, ItIsTheDenseModelOfItsValues) {
  const Text input = text(12);
  EXPECT_TRUE(packed().parameters().packed());
  EXPECT_FALSE(twin().parameters().packed());
  EXPECT_EQ(packed().parameters().elements(), model().parameters().elements());
  EXPECT_LT(packed().parameters().bytes(), model().parameters().bytes() / 2);
  EXPECT_EQ(base_fingerprint(packed()), base_fingerprint(twin()));
  EXPECT_NE(base_fingerprint(packed()), base_fingerprint(model()));
  EXPECT_LE(relative_gap(logits(packed(), input), logits(twin(), input)), kSame);
  EXPECT_GT(relative_gap(logits(packed(), input), logits(model(), input)), 1e-5) << "nothing was rounded";
  EXPECT_TRUE(at::equal(packed().embeddings(input.tokens), twin().embeddings(input.tokens)));
}

// What is counted before any weight is read.
TEST_P(PackedLaw, AnOutlineTakesAsManyBytes) {
  for (const DType type : block_types()) {
    SCOPED_TRACE(block_name(type));
    const WeightFormat format = weight_format(block_name(type));
    const auto here = load_model(model_folder().string(), {at::kFloat, at::kCPU, format});
    const auto outline = outline_model(model().config(), format, nullptr);
    EXPECT_EQ(base_bytes(*outline, at::kFloat), here->parameters().bytes());
    EXPECT_EQ(base_bytes(*here, at::kFloat), here->parameters().bytes());
    EXPECT_LT(base_bytes(*outline, at::kBFloat16), base_bytes(*outline, at::kFloat)) << "norms are dense";
    EXPECT_EQ(outline->parameters().fallen_back(), here->parameters().fallen_back());
    expect_error(Category::InvalidArgument, "model.weights", [&] { fresh(MethodChoice("full"), *outline); });
    const nlohmann::json dora = {{"dora", true}};
    EXPECT_EQ(trainable_elements(*fresh(MethodChoice("lora"), *outline, dora)),
              trainable_elements(*fresh(MethodChoice("lora"), *here, dora)));
  }
  expect_error(Category::InvalidArgument, "no quantised tensor",
               [&] { outline_model(model().config(), WeightFormat::Packed, nullptr); });
}

TEST_P(PackedLaw, InBfloat16ItGivesTheSameBits) {
  for (const DType type : block_types()) {
    const ModelOptions dense{at::kBFloat16, at::kCPU};
    const std::string name = block_name(type);
    const WeightFormat format = weight_format(name);
    const auto here = load_model(model_folder().string(), {at::kBFloat16, at::kCPU, format});
    const auto there =
        written(name, tensors_of(*load_model(model_folder().string(), {at::kFloat, at::kCPU, format})), dense);
    const Text input = text(12);
    EXPECT_TRUE(at::equal(logits(*here, input), logits(*there, input))) << name;
  }
}

TEST_P(PackedLaw, EveryMethodBesideTheWeightsTrainsAsOverTheDenseModel) {
  for_every_method([&](const MethodChoice& method) {
    if (fresh(method, twin())->replaces_parameters()) {
      expect_error(Category::InvalidArgument, "model.weights", [&] { fresh(method, packed()); });
    } else {
      expect_same(method);
    }
  });
}

TEST_P(PackedLaw, AStepOverEveryBlockTypeIsThatOverTheDenseModel) {
  const Text input = text(12);
  for (const DType type : block_types()) {
    const std::string format = block_name(type);
    SCOPED_TRACE(format);
    const auto here = load_model(model_folder().string(), {at::kFloat, at::kCPU, weight_format(format)});
    const auto there = written("dense-" + format, tensors_of(*here));
    EXPECT_TRUE(here->parameters().packed());
    const auto got = losses_around_a_step(*here, input), want = losses_around_a_step(*there, input);
    EXPECT_NEAR(got.first, want.first, kRounding * want.first);
    EXPECT_NEAR(got.second, want.second, kRounding * want.first);
    EXPECT_NE(got.first, got.second) << "the step changed nothing";
  }
}

TEST_P(PackedLaw, SoDoVariantsThatReadTheWeights) {
  const MethodChoice lora("lora");
  expect_same(lora, {{"dora", true}});
  expect_same(lora, {{"init", "pissa"}, {"rank", 4}});
}

TEST_P(PackedLaw, AnAdapterGoesFromOneToTheOther) {
  const Text input = text(12);
  const auto adapter = stirred(MethodChoice("ia3"), packed());
  save_adapter(folder() / "adapter", *adapter, packed(), {{{"weights", "q8_0"}}});
  const auto loaded = load_adapter(folder() / "adapter", twin());
  EXPECT_LE(relative_gap(logits(twin(), input, loaded.adapter.get()), logits(packed(), input, adapter.get())), kSame);
  for (const DType type : block_types()) {
    const std::string format = block_name(type);
    save_adapter(folder() / format, *adapter, packed(), {{{"weights", format}}});
    expect_error(Category::InvalidArgument, "--weights " + format, [&] { load_adapter(folder() / format, model()); });
  }
}

TEST_P(PackedLaw, MergedWeightsStandInTheirPlace) {
  const Text input = text(12);
  const auto adapter = stirred(MethodChoice("lora"), packed());
  const at::Tensor want = logits(packed(), input, adapter.get());
  EXPECT_GT(relative_gap(logits(packed(), input), want), 1e-3);
  const MergedWeights merged(packed(), *adapter);
  EXPECT_LE(relative_gap(logits(packed(), input, &merged), want), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Golden, PackedLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackedLaw);

}  // namespace
}  // namespace graft::laws
