// Beam search token for token against the reference's, on every golden model.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "../golden/folder.h"
#include "base/error.h"
#include "generate/decode.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> models() {
  std::vector<fs::path> found;
  if (!fs::exists(goldens())) return found;
  for (const auto& entry : fs::directory_iterator(goldens())) {
    if (fs::exists(entry.path() / "beams.safetensors")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

class BeamGolden : public ::testing::TestWithParam<fs::path> {
 protected:
  BeamGolden() {
    for (const auto& [name, value] : read_tensors(GetParam() / "beams.safetensors")) keys_[name] = value;
  }

  std::vector<std::int64_t> ids(const std::string& key) const {
    const at::Tensor value = keys_.at(key).to(at::kLong).contiguous().view({-1});
    return {value.const_data_ptr<std::int64_t>(), value.const_data_ptr<std::int64_t>() + value.numel()};
  }

  std::vector<Prompt> prompts() const {
    std::vector<Prompt> all;
    while (keys_.count(fmt::format("beam.prompt.{}", all.size())) > 0)
      all.push_back({ids(fmt::format("beam.prompt.{}", all.size()))});
    return all;
  }

  GenerateOptions options(const at::Tensor& setting) const {
    const auto value = [&](int i) { return setting[i].item<double>(); };
    GenerateOptions options;
    options.max_new_tokens = ids("beam.new_tokens").front();
    options.end_tokens = ids("beam.ends");
    const EarlyStopping early[] = {EarlyStopping::WhenUnlikely, EarlyStopping::WhenFull, EarlyStopping::Never};
    options.beam = {static_cast<std::int64_t>(value(0)), value(1), early[static_cast<int>(value(3))]};
    options.sampling.no_repeat_ngram = static_cast<std::int64_t>(value(2));
    return options;
  }

  std::map<std::string, at::Tensor> keys_;
};

TEST_P(BeamGolden, TextsAreTheReferences) {
  const auto model = load_model((GetParam() / "model").string());
  int early = 0, settings = 0;
  for (; keys_.count(fmt::format("beam.settings.{}", settings)) > 0; ++settings) {
    const auto setting = options(keys_.at(fmt::format("beam.settings.{}", settings)));
    const auto written = generate(*model, prompts(), setting);
    for (std::size_t p = 0; p < written.size(); ++p) {
      EXPECT_EQ(written[p].tokens, ids(fmt::format("beam.ids.{}.{}", settings, p))) << settings << " " << p;
      early += written[p].reason == StopReason::Eos;
    }
  }
  EXPECT_EQ(settings, 5);
  EXPECT_GT(early, 0) << "no text ends by itself: choose other end tokens";
}

INSTANTIATE_TEST_SUITE_P(Reference, BeamGolden, ::testing::ValuesIn(models()), [](const auto& info) {
  std::string title = info.param.filename().string();
  std::replace_if(
      title.begin(), title.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return title;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BeamGolden);

}  // namespace
}  // namespace graft
