// Where prompt tuning begins, on every golden model.
#include <numeric>

#include "law_model.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

class PromptLaw : public Law {
 protected:
  std::unique_ptr<Adapter> prompt_of(const Json& options) const {
    return fresh(MethodChoice("prompt_tuning"), model(), options);
  }

  Stack stack() const { return model().encoder_decoder() ? Stack::Encoder : Stack::Decoder; }
};

TEST_P(PromptLaw, AClassIsTheMeanOfItsTokens) {
  const std::vector<std::vector<std::int64_t>> labels = {tokens(1), tokens(3)};
  const auto adapter = prompt_of({{"length", 5}, {"init", "labels"}, {"init_labels", labels}});
  const at::NoGradGuard no_grad;
  const at::Tensor rows = adapter->prompt(stack());
  ASSERT_EQ(rows.size(0), 5);
  for (std::int64_t i = 0; i < 2; ++i) {
    const at::Tensor mean = model().embeddings(labels[static_cast<std::size_t>(i)]).mean(0);
    EXPECT_LE(relative_gap(rows.select(0, i), mean), kRounding) << i;
  }
  // The others are words of the vocabulary.
  std::vector<std::int64_t> all(static_cast<std::size_t>(model().config().vocab_size));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  const at::Tensor words = model().embeddings(all);
  for (std::int64_t i = 2; i < 5; ++i) EXPECT_EQ((words - rows.select(0, i)).abs().amax(1).min().item<float>(), 0) << i;
}

TEST_P(PromptLaw, AsManyClassesAsTokensLeaveNoneToDraw) {
  const std::vector<std::vector<std::int64_t>> labels = {tokens(2), tokens(1)};
  const auto adapter = prompt_of({{"length", 2}, {"init", "labels"}, {"init_labels", labels}});
  EXPECT_EQ(adapter->prompt(stack()).size(0), 2);
}

TEST_P(PromptLaw, AModelWithoutWeightsHasThePromptToo) {
  const Json options = {{"length", 5}, {"init", "labels"}};
  const auto outline = outline_model(model().config());
  EXPECT_EQ(trainable_elements(*fresh(MethodChoice("prompt_tuning"), *outline, options)),
            trainable_elements(*prompt_of({{"length", 5}})));
}

TEST_P(PromptLaw, ClassesThatCannotBeAreRefused) {
  const auto refused = [&](const Json& options, const std::string& part) {
    expect_error(Category::InvalidArgument, part, [&] { prompt_of(options); });
  };
  const Json labels = {{1, 2}, {3}};
  refused({{"init", "labels"}}, "there are none");
  refused({{"init", "label"}}, "did you mean 'labels'?");
  refused({{"init", "labels"}, {"length", 1}, {"init_labels", labels}}, "fewer than the 2 different choices");
  refused({{"init", "labels"}, {"init_labels", labels}, {"init_ids", {1}}}, "leave one of them out");
  refused({{"init", "labels"}, {"init_labels", {1, 2}}}, "a list of lists of token ids");
  refused({{"init", "labels"}, {"init_labels", Json::array({Json::array()})}}, "a list of lists of token ids");
  refused({{"init", "labels"}, {"init_labels", Json::array({Json::array({100000000})})}}, "a list of lists");
}

INSTANTIATE_TEST_SUITE_P(Golden, PromptLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PromptLaw);

}  // namespace
}  // namespace graft::laws
