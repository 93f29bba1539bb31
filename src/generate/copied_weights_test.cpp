// Weights of a bfloat16 file write the same text where they lie there and from their copies.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/environment_variable_test.h"
#include "generate/decode.h"
#include "generate/tiny_llama_test.h"
#include "nn/kernels/huge_pages.h"
#include "nn/stores/mapped_values.h"

namespace graft {
namespace {

std::unique_ptr<Model> bfloat16_llama(bool tied) {
  const auto generator = at::detail::createCPUGenerator(11);
  const auto random = [&generator](const std::string&, const std::vector<std::int64_t>& shape) {
    return (at::randn(shape, generator) * 0.3).to(at::kBFloat16);
  };
  ModelOptions options;
  options.dtype = at::kBFloat16;
  return llama_of(random, tied, "\"eos_token_id\":256", options);
}

const void* place_of(const Model& model, const std::string& name) {
  return model.parameters().value(model.parameters().index(name)).const_data_ptr();
}

std::vector<std::int64_t> twenty_tokens(const Model& model) {
  GenerateOptions options;
  options.max_new_tokens = 20;
  options.ignore_eos = true;
  return generate(model, {Prompt{{5, 200, 31}, 0, -1}}, options).front().tokens;
}

TEST(CopiedWeights, WriteTheSameText) {
  const std::string embeddings = "model.embed_tokens.weight", map = "model.layers.1.mlp.down_proj.weight";
  const bool copies = cpu_features().avx512_bf16 && huge_pages_are_given();
  const EnvironmentVariable memory("GRAFT_MEMORY");
  for (const bool tied : {true, false}) {
    SCOPED_TRACE(tied ? "tied" : "not tied");
    memory.set(nullptr);
    const auto model = bfloat16_llama(tied);
    const std::string head = tied ? embeddings : "lm_head.weight";
    const void *const map_in_file = place_of(*model, map), *const head_in_file = place_of(*model, head),
                      *const embeddings_in_file = place_of(*model, embeddings);
    memory.set("1kB");
    const auto expected = twenty_tokens(*model);
    EXPECT_EQ(place_of(*model, map), map_in_file) << "there is no room";
    memory.set("1TB");
    model->parameters().residency().release();
    for (int read = 0; read <= kReadsBeforeCopy; read += 19) EXPECT_EQ(twenty_tokens(*model), expected) << read;
    EXPECT_EQ(place_of(*model, map) != map_in_file, copies);
    EXPECT_EQ(place_of(*model, head) != head_in_file, copies);
    // One copy serves both where they are tied; else rows alone are read of the embeddings.
    EXPECT_EQ(place_of(*model, embeddings) != embeddings_in_file, copies && tied);
  }
}

}  // namespace
}  // namespace graft
