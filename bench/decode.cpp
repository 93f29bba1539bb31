// How fast a model reads a prompt and writes on, one text and many; and how well it predicts while it does so.
//   decode MODEL [WEIGHTS=packed] [DTYPE=bfloat16] [SPECULATE=off] [KV_CACHE=dense] < IDS
// IDS: token ids of a text, white space between them, 600 or more. Prints one JSON object: the rates of every
// repetition, the mean negative log-likelihood of ids 16 to 143 when each is decoded by itself, the peak of resident
// memory. With SPECULATE (as generate's --speculate) also the rates of texts behind a prompt whose beginning it repeats
// at its end, so that the model copies, and behind one that is read once; with and without proposals.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "generate/cached_step.h"
#include "generate/decode.h"
#include "nn/compute_dtype.h"
#include "nn/kv_cache.h"
#include "nn/tensor_memory.h"

namespace graft {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kPrefill = 512, kRead = 16, kSteps = 128, kScored = 128, kSequences = 16;
constexpr std::int64_t kCopied = 400, kRepeated = 32;  // ids that stand in the prompt, and that stand there twice
constexpr int kRepeats = 5;

class Bench {
 public:
  Bench(const Model& model, Ids ids, KvFormat kept) : model_(model), ids_(std::move(ids)), kept_(kept) {}

  /// Tokens a second, of every repetition.
  std::vector<double> prefill() const {
    std::vector<double> rates;
    for (int i = 0; i < kRepeats; ++i) {
      KvCache cache(model_.cache_layers(), kept_);
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
      KvCache cache(model_.cache_layers(), kept_);
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
    KvCache cache(model_.cache_layers(), kept_);
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

  struct Written {
    Ids tokens;
    std::vector<double> rates;  // of every repetition
    double tokens_a_pass;
  };

  /// A greedy text, timed from its first token on.
  Written write(const Ids& prompt, const SpeculationOptions& speculation) const {
    GenerateOptions options;
    options.max_new_tokens = kSteps;
    options.ignore_eos = true;
    options.speculation = speculation;
    options.kv_cache = kept_;
    Generated result;
    std::vector<double> rates;
    for (int i = 0; i < kRepeats; ++i) {
      std::optional<Clock::time_point> first;
      const auto begin = [&first](std::size_t, std::int64_t, const std::string&) {
        if (!first) first = Clock::now();
        return true;
      };
      result = generate(model_, std::vector<Prompt>{Prompt{prompt}}, options, begin).front();
      rates.push_back(static_cast<double>(kSteps - 1) / seconds_since(first.value()));
    }
    return {result.tokens, rates, static_cast<double>(kSteps) / static_cast<double>(result.passes)};
  }

  /// The fields of the JSON object about texts with proposals.
  nlohmann::json speculation(const SpeculationOptions& options) const {
    Ids copying(ids_.begin(), ids_.begin() + kCopied);
    const Ids fresh = copying;
    copying.insert(copying.end(), ids_.begin(), ids_.begin() + kRepeated);
    nlohmann::json fields;
    for (const bool copies : {true, false}) {
      const std::string name = copies ? "copy" : "fresh";
      const Written plain = write(copies ? copying : fresh, {}), proposing = write(copies ? copying : fresh, options);
      fields[name] = plain.rates;
      fields[name + "_proposing"] = proposing.rates;
      fields[name + "_tokens_a_pass"] = proposing.tokens_a_pass;
      fields[name + "_same"] = plain.tokens == proposing.tokens;
    }
    return fields;
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
  KvFormat kept_;
};

int run(int argc, char** argv) {
  if (argc < 2) fail(Category::InvalidArgument, "decode", "MODEL is missing");
  const std::string weights = argc > 2 ? argv[2] : "packed", dtype = argc > 3 ? argv[3] : "bfloat16";
  const SpeculationOptions speculation = speculation_of(argc > 4 ? argv[4] : "off");
  const KvFormat kept = kv_format(argc > 5 ? argv[5] : "dense");
  Ids ids{std::istream_iterator<std::int64_t>(std::cin), {}};
  if (ids.size() < 600) fail(Category::InvalidArgument, "standard input", "{} ids, 600 are needed", ids.size());
  const c10::InferenceMode inference;
  const auto start = Clock::now();
  const auto model = load_model(argv[1], {compute_dtype(dtype), compute_device(), weight_format(weights)});
  const double load = seconds_since(start);
  const Bench bench(*model, ids, kept);
  const double loss = bench.loss();  // first: it warms up
  nlohmann::json figures = {{"load", load}, {"loss", loss}, {"prefill", bench.prefill()}};
  figures["decode_1"] = bench.decode(1);
  figures["decode_16"] = bench.decode(kSequences);
  if (speculation.tokens > 0) figures.update(bench.speculation(speculation));
  figures["peak_memory_bytes"] = peak_memory();
  fmt::print("{}\n", figures.dump());
  return 0;
}

}  // namespace
}  // namespace graft

int main(int argc, char** argv) {
  graft::use_tensor_memory();
  try {
    return graft::run(argc, argv);
  } catch (const graft::Error& error) {
    fmt::print(stderr, "decode: {}\n", error.what());
    return graft::exit_code(error.category());
  }
}
