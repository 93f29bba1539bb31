#include "config/text_part.h"

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "config/model_config.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::Folder;

// As google/gemma-3-4b-it writes it.
json published() {
  return {{"architectures", {"Gemma3ForConditionalGeneration"}},
          {"eos_token_id", {1, 106}},
          {"model_type", "gemma3"},
          {"text_config",
           {{"hidden_size", 2560},
            {"intermediate_size", 10240},
            {"model_type", "gemma3_text"},
            {"num_hidden_layers", 34},
            {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
            {"sliding_window", 1024}}},
          {"torch_dtype", "bfloat16"},
          {"vision_config", {{"hidden_size", 1152}}}};
}

TEST(TextPart, HasTheConfigurationOfATextModel) {
  const ModelConfig config = model_config_from_json(published(), "config.json");
  EXPECT_TRUE(config.text_part);
  EXPECT_EQ(config.model_type, "gemma3_text");
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.hidden_size, 2560);
  EXPECT_EQ(config.layers, 34);
  EXPECT_EQ(config.vocab_size, 262208);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.rope.factor, 8);
  EXPECT_EQ(config.sliding_window, 1024);
  EXPECT_EQ(config.eos, (std::vector<std::int64_t>{1, 106})) << "what stands outside is meant for both";
  EXPECT_EQ(config.bos, 2);
  EXPECT_EQ(config.dtype, "bfloat16");
  EXPECT_EQ(config.raw.at("architectures"), json::array({"Gemma3ForCausalLM"}));
  const ModelConfig alone = model_config_from_json(config.raw, "config.json");
  EXPECT_FALSE(alone.text_part);
  EXPECT_EQ(alone.head_dim, 256);
}

TEST(TextPart, NamesWhatIsWrongWithIt) {
  json config = published();
  config["text_config"]["num_hidden_layers"] = 0;
  expect_error(Category::InvalidArgument, "config.json: text_config: field 'num_hidden_layers' is 0",
               [&] { model_config_from_json(config, "config.json"); });
  config["text_config"]["model_type"] = "llama";
  expect_error(Category::Unsupported, "the text model \"llama\"",
               [&] { model_config_from_json(config, "config.json"); });
  config.erase("text_config");
  expect_error(Category::InvalidArgument, "no field 'text_config'",
               [&] { model_config_from_json(config, "config.json"); });
}

// Before transformers 4.52, since, and in between with a head of its own.
TEST(TextPart, HasTheTensorsOfATextModel) {
  const std::vector<std::string> vision = {"vision_tower.vision_model.head.weight",
                                           "multi_modal_projector.mm_soft_emb_norm.weight",
                                           "model.vision_tower.embeddings.weight"};
  for (const auto& [norm, head] : {std::pair("language_model.model.norm.weight", "language_model.lm_head.weight"),
                                   std::pair("model.language_model.norm.weight", "lm_head.weight")}) {
    const Folder folder;
    folder.file("config.json", published().dump());
    std::vector<TensorPlan> plan = {{norm, DType::F32, {2}}, {head, DType::F32, {1, 2}}};
    for (const auto& name : vision) plan.push_back({name, DType::F32, {1}});
    const auto writer = write_safetensors(folder.path() / "model.safetensors", plan);
    const std::vector<float> two = {1.5F, 2.5F}, one = {3.5F};
    writer->write(std::as_bytes(std::span(two)));
    writer->write(std::as_bytes(std::span(two)));
    for (std::size_t i = 0; i < vision.size(); ++i) writer->write(std::as_bytes(std::span(one)));
    writer->finish();
    const ModelFiles files = open_model_files(folder.path());
    EXPECT_EQ(files.left_out, vision.size());
    EXPECT_EQ(files.weights->tensors().size(), 2u);
    EXPECT_NE(files.weights->find("lm_head.weight"), nullptr);
    const TensorInfo& info = files.weights->at("model.norm.weight");
    std::vector<float> values(2);
    to_float(info.dtype, files.weights->bytes(info), values);
    EXPECT_EQ(values, two);
    files.weights->prefetch(info);
    files.weights->release(info);
    TensorInfo last = info;
    last.offset += sizeof(float);
    last.bytes -= sizeof(float);
    EXPECT_EQ(files.weights->bytes(last).data(), files.weights->bytes(info).data() + sizeof(float)) << "parts go back";
    EXPECT_EQ(files.weights->bytes(last).size(), sizeof(float));
  }
}

TEST(TextPart, RefusesOneTensorUnderTwoNames) {
  const Folder folder;
  folder.file("config.json", published().dump());
  const auto writer = write_safetensors(
      folder.path() / "model.safetensors",
      {{"language_model.model.norm.weight", DType::F32, {1}}, {"model.language_model.norm.weight", DType::F32, {1}}});
  const std::vector<float> one = {1};
  for (int i = 0; i < 2; ++i) writer->write(std::as_bytes(std::span(one)));
  writer->finish();
  expect_error(Category::Corruption, "model.norm.weight is there under two names",
               [&] { open_model_files(folder.path()); });
}

}  // namespace
}  // namespace graft
