#include "checkpoint/weight_format.h"

#include <set>

#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using testing::expect_error;

TEST(WeightFormat, HasANameForEveryBlockTypeThatIsWritten) {
  std::set<DType> named(block_types().begin(), block_types().end());
  EXPECT_EQ(named.size(), block_types().size());
  for (int i = 0; i <= static_cast<int>(DType::IQ4_NL); ++i) {
    const auto type = static_cast<DType>(i);
    EXPECT_EQ(named.contains(type), is_quantised(type) && is_writable(type)) << name(type);
  }
  EXPECT_EQ(weight_names().size(), block_types().size() + 2);
  EXPECT_EQ(block_names("or"), "q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k or q6_k");
}

// From where `begin` is found up to `end`.
std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t first = text.find(begin);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find(end, first + begin.size()) - first);
}

TEST(WeightFormat, TheDocumentsTableAndTheBenchmarkHaveThemAll) {
  const std::filesystem::path root = GRAFT_SOURCE_DIR;
  const std::string document = read_file(root / "docs/formats/gguf.md"),
                    choices = between(read_file(root / "bench/quantised_base.py"), "WEIGHTS = [", "]");
  for (const DType type : block_types()) {
    SCOPED_TRACE(name(type));
    const double bits = 8.0 * static_cast<double>(block_bytes(type)) / static_cast<double>(block_elements(type));
    const std::string line = between(document, fmt::format("\n| `{}` | {} |", block_name(type), bits), "\n");
    const auto instead = fitting_blocks(type, 32);
    EXPECT_TRUE(line.ends_with(fmt::format("% | {} |", instead == type ? "dense" : name(instead.value())))) << line;
    EXPECT_NE(choices.find("\"" + block_name(type) + "\""), std::string::npos) << choices;
  }
}

TEST(WeightFormat, NamesGoBothWays) {
  for (const std::string& text : weight_names()) EXPECT_EQ(name(weight_format(text)), text);
  EXPECT_FALSE(loading_type(WeightFormat::Dense).has_value());
  EXPECT_FALSE(loading_type(WeightFormat::Packed).has_value());
  EXPECT_EQ(loading_type(WeightFormat::Q8_0), DType::Q8_0);
  EXPECT_EQ(loading_type(WeightFormat::Q4_0), DType::Q4_0);
  EXPECT_EQ(loading_type(WeightFormat::Q4_1), DType::Q4_1);
  EXPECT_EQ(loading_type(WeightFormat::Q5_0), DType::Q5_0);
  EXPECT_EQ(loading_type(WeightFormat::Q5_1), DType::Q5_1);
  EXPECT_EQ(loading_type(WeightFormat::Q4_K), DType::Q4_K);
  EXPECT_EQ(loading_type(WeightFormat::Q5_K), DType::Q5_K);
  EXPECT_EQ(loading_type(WeightFormat::Q6_K), DType::Q6_K);
  for (const DType type : block_types()) EXPECT_EQ(loading_type(weight_format(block_name(type))), type);
}

TEST(WeightFormat, ASlipIsToldWithTheNearest) {
  expect_error(Category::InvalidArgument, "model.weights: 'q4k' is not known (did you mean 'q4_k'?)",
               [] { weight_format("q4k"); });
  expect_error(Category::InvalidArgument, "'q2_k' is not known", [] { weight_format("q2_k"); });
  expect_error(Category::InvalidArgument, "(known: dense, packed, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k)",
               [] { weight_format("ternary"); });
}

TEST(WeightFormat, RowsThatDoNotFitFallBackToBlocksOf32) {
  for (const DType type : block_types()) {
    EXPECT_EQ(fitting_blocks(type, 1536), type);
    EXPECT_FALSE(fitting_blocks(type, 48).has_value());
  }
  EXPECT_EQ(fitting_blocks(DType::Q4_K, 576), DType::Q5_0);
  EXPECT_EQ(fitting_blocks(DType::Q5_K, 576), DType::Q5_1);
  EXPECT_EQ(fitting_blocks(DType::Q6_K, 576), DType::Q8_0);
  for (const DType type : {DType::Q8_0, DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1})
    EXPECT_EQ(fitting_blocks(type, 576), type);
}

}  // namespace
}  // namespace graft
