// How fast a model reads a prompt and writes on, one text and many; and how well it predicts while it does so.
//   decode MODEL [WEIGHTS=packed] [DTYPE=bfloat16] < IDS
// IDS: token ids of a text, white space between them, 600 or more. Prints one JSON object: the rates of every
// repetition, the mean negative log-likelihood of ids 16 to 143 when each is decoded by itself, the peak of resident
// memory.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "generate/cached_step.h"
#include "nn/compute_dtype.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kPrefill = 512, kRead = 16, kSteps = 128, kScored = 128, kSequences = 16;
constexpr int kRepeats = 5;

class Bench {
 public:
  Bench(const Model& model, Ids ids) : model_(model), ids_(std::move(ids)) {}

  /// Tokens a second, of every repetition.
  std::vector<double> prefill() const {
    std::vector<double> rates;
    for (int i = 0; i < kRepeats; ++i) {
      KvCache cache(model_.cache_layers());
      const auto start = Clock::now();
      read(cache, cache.add_sequence(), kPrefill);
      rates.push_back(kPrefill / seconds_since(start));
    }
    return rates;
  }

  /// The same of writing `sequences` texts together.
  std::vector<double> decode(std::int64_t sequences) const {
    std::vector<double> rates;
    for (int i = 0; i < kRepeats; ++i) {
      KvCache cache(model_.cache_layers());
      for (std::int64_t s = 0; s < sequences; ++s) read(cache, cache.add_sequence(), kRead);
      const auto start = Clock::now();
      for (std::int64_t step = 0; step < kSteps; ++step) {
        StepInput input;
        for (std::int64_t s = 0; s < sequences; ++s)
          add_token(input, ids_[static_cast<std::size_t>(kRead + step + s)], -1, static_cast<std::int32_t>(s));
        last_logits(model_, input, with(cache));
      }
      rates.push_back(static_cast<double>(sequences * kSteps) / seconds_since(start));
    }
    return rates;
  }

  /// Each token read by itself, as when it is written.
  double loss() const {
    KvCache cache(model_.cache_layers());
    at::Tensor logits = read(cache, cache.add_sequence(), kRead);
    double sum = 0;
    for (std::int64_t i = kRead; i < kRead + kScored; ++i) {
      const auto id = ids_[static_cast<std::size_t>(i)];
      sum -= at::log_softmax(logits, -1)[0][id].item<double>();
      StepInput input;
      add_token(input, id, -1, 0);
      logits = last_logits(model_, input, with(cache));
    }
    return sum / kScored;
  }

 private:
  static ForwardOptions with(KvCache& cache) {
    ForwardOptions options;
    options.cache = &cache;
    options.activations = Activations::EightBit;
    return options;
  }

  at::Tensor read(KvCache& cache, std::int32_t sequence, std::int64_t count) const {
    StepInput input;
    add_prompt(input, model_, {Ids(ids_.begin(), ids_.begin() + count)}, sequence);
    return last_logits(model_, input, with(cache));
  }

  const Model& model_;
  Ids ids_;
};

int run(int argc, char** argv) {
  if (argc < 2) fail(Category::InvalidArgument, "decode", "MODEL is missing");
  const std::string weights = argc > 2 ? argv[2] : "packed", dtype = argc > 3 ? argv[3] : "bfloat16";
  Ids ids{std::istream_iterator<std::int64_t>(std::cin), {}};
  if (ids.size() < 600) fail(Category::InvalidArgument, "standard input", "{} ids, 600 are needed", ids.size());
  const c10::InferenceMode inference;
  const auto start = Clock::now();
  const auto model = load_model(argv[1], {compute_dtype(dtype), compute_device(), weight_format(weights)});
  const double load = seconds_since(start);
  const Bench bench(*model, ids);
  const double loss = bench.loss();  // first: it warms up
  nlohmann::json figures = {{"load", load}, {"loss", loss}, {"prefill", bench.prefill()}};
  figures["decode_1"] = bench.decode(1);
  figures["decode_16"] = bench.decode(kSequences);
  figures["peak_memory_bytes"] = peak_memory();
  fmt::print("{}\n", figures.dump());
  return 0;
}

}  // namespace
}  // namespace graft

int main(int argc, char** argv) {
  try {
    return graft::run(argc, argv);
  } catch (const graft::Error& error) {
    fmt::print(stderr, "decode: {}\n", error.what());
    return graft::exit_code(error.category());
  }
}
