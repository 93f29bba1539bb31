// A prefix of a decoder-only model: one segment that all texts of its slot go on, and a network that holds the prefixes
// of all layers in one map.
#include "law_model.h"

namespace graft::laws {
namespace {

constexpr std::int64_t kPrefix = 3;

std::vector<std::string> decoders() {
  std::vector<std::string> found;
  for (const auto& name : models()) {
    if (!read_model_config(goldens() / name / "model").encoder_decoder()) found.push_back(name);
  }
  return found;
}

// The prefix of an adapter, which notes the rows that go through the first layer.
class CountedPrefix : public SiteHooks {
 public:
  explicit CountedPrefix(const Adapter& prefix) : prefix_(prefix) {}
  bool acts_on(const Site& site) const override { return site == Site{Stack::Decoder, 0, Role::O}; }
  at::Tensor output(const Site&, const at::Tensor&, const at::Tensor& y) const override {
    rows_ += y.size(0);
    return y;
  }
  std::int64_t virtual_tokens(Stack stack) const override { return prefix_.virtual_tokens(stack); }
  std::pair<at::Tensor, at::Tensor> prefix(Stack stack, std::int64_t layer) const override {
    return prefix_.prefix(stack, layer);
  }
  std::int64_t rows() const { return rows_; }

 private:
  const Adapter& prefix_;
  mutable std::int64_t rows_ = 0;
};

class SharedPrefixLaw : public Law {
 protected:
  std::unique_ptr<Adapter> stirred_prefix(bool network, std::uint64_t seed) const {
    return stirred(MethodChoice("prefix_tuning"), seed,
                   {{"length", kPrefix}, {"reparametrise", network}, {"hidden", 6}});
  }
};

TEST_P(SharedPrefixLaw, TextsOfABatchHaveItsRowsOnce) {
  const at::NoGradGuard no_grad;
  const auto adapter = stirred_prefix(false, 11);
  const CountedPrefix counted(*adapter);
  StepInput input;
  std::int64_t given = 0;
  for (const std::int64_t length : {4, 1, 6}) {
    add(input, text(length), 0);
    given += length;
  }
  ForwardOptions options;
  options.slots = {&counted};
  model().forward(input, options);
  EXPECT_EQ(counted.rows(), given + kPrefix);
}

TEST_P(SharedPrefixLaw, TextsOfABatchGiveTheGradientsThatTheyGiveAlone) {
  for (const bool network : {false, true}) {
    SCOPED_TRACE(network);
    Adapters adapters;
    for (const std::uint64_t seed : {11U, 12U}) adapters.push_back(stirred_prefix(network, seed));
    expect_mixes(adapters, {0, 1, -1, 0, 1, 0});
  }
}

TEST_P(SharedPrefixLaw, LayersThatAreComputedAgainGiveTheSameGradients) {
  const Text input = text(9);
  const auto adapter = stirred_prefix(true, 11);
  const auto kept = gradients(model(), input, *adapter, /*checkpoint_layers=*/false),
             again = gradients(model(), input, *adapter, /*checkpoint_layers=*/true);
  for (const auto& [name, gradient] : kept) {
    ASSERT_TRUE(gradient.defined()) << name;
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
    EXPECT_LE(relative_gap(again.at(name), gradient), kRounding) << name;
  }
}

// All of it by LibTorch's own operations, the map of all layers at once; gradients add up over two passes.
TEST_P(SharedPrefixLaw, ANetworkLearnsAsOneMapOfAllLayersDoes) {
  const auto adapter = stirred_prefix(true, 11);
  std::map<std::string, at::Tensor> own;
  for (const auto& parameter : adapter->parameters())
    own[parameter.name] = parameter.value.detach().clone().requires_grad_(true);
  const at::Tensor embedding = own.at("decoder.embedding.weight");
  EXPECT_EQ(embedding.size(1), model().config().kv_heads * model().config().head_dim) << "as PEFT's token_dim";
  const at::Tensor inner =
      at::tanh(at::linear(embedding, own.at("decoder.transform.0.weight"), own.at("decoder.transform.0.bias")));
  const at::Tensor whole = at::linear(inner, own.at("decoder.transform.2.weight"), own.at("decoder.transform.2.bias"));
  const at::Tensor above = at::randn(whole.sizes(), at::detail::createCPUGenerator(9));
  (2 * whole * above).sum().backward();
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<at::Tensor> blocks;
    for (std::int64_t l = 0; l < model().config().layers; ++l) {
      const auto [keys, values] = adapter->prefix(Stack::Decoder, l);
      blocks.push_back(keys.flatten(1));
      blocks.push_back(values.flatten(1));
    }
    const at::Tensor made = at::cat(blocks, 1);
    EXPECT_LE(relative_gap(made.detach(), whole.detach()), kRounding);
    (made * above).sum().backward();
  }
  for (const auto& parameter : adapter->parameters()) {
    ASSERT_TRUE(parameter.value.grad().defined()) << parameter.name;
    EXPECT_LE(relative_gap(parameter.value.grad(), own.at(parameter.name).grad()), kRounding) << parameter.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, SharedPrefixLaw, ::testing::ValuesIn(decoders()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SharedPrefixLaw);

}  // namespace
}  // namespace graft::laws
