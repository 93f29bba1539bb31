// A job of a tiny model and one example with two choices.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/core/job.h"
#include "generate/fake_tokenizer_test.h"
#include "generate/tiny_llama_test.h"

namespace graft {

inline Job tiny_job(const std::string& method, std::int64_t steps, std::int64_t batch_size) {
  Job job;
  job.model = tiny_llama();
  job.tokenizer = std::make_shared<ByteTokenizer>();
  job.config.method.name = method;
  job.config.train.steps = steps;
  job.config.train.batch_size = batch_size;
  job.templates.emplace_back();
  ChoiceTokens example;
  example.prompt = {1, 2, 3};
  example.choices = {{{4}, 1, 1}, {{5}, 1, 1}};
  example.label = 0;
  job.train_tokens = {example};
  return job;
}

}  // namespace graft
