#include "arch/core/fingerprint.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>

#include "arch/core/fingerprint_cache.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/user_cache.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

constexpr const char* kFirstLine = "fingerprint ";  // and the version; no tensor has this name
constexpr int kSampled = 2;                         // the last version that does not read everything
constexpr std::int64_t kWorthKeeping = 1 << 24;     // values; of fewer reading all takes no time

// A parameter's shape and values as Hugging Face's files lay them out.
std::vector<std::int64_t> shape_of(const WeightStore& store, bool turned) {
  auto shape = store.shape();
  if (turned) std::reverse(shape.begin(), shape.end());
  return shape;
}

class LaidOut {
 public:
  LaidOut(const WeightStore& store, bool turned) : store_(store), shape_(shape_of(store, turned)) {
    if (turned) whole_ = store.dense().t();
  }

  // [count]
  at::Tensor values(Stretch stretch) const {
    const std::int64_t width = store_.elements() / shape_[0], row = stretch.first / width,
                       end = (stretch.first + stretch.count + width - 1) / width;
    return rows(row, end - row).reshape({-1}).narrow(0, stretch.first - row * width, stretch.count);
  }

 private:
  at::Tensor rows(std::int64_t first, std::int64_t count) const {
    return whole_.defined() ? whole_.narrow(0, first, count) : store_.part(first, count);
  }

  const WeightStore& store_;
  std::vector<std::int64_t> shape_;
  at::Tensor whole_;  // only where it is turned
};

std::string hash_of(const at::Tensor& values) {
  // bfloat16 is what every compute dtype rounds to, so an fp32 run and a bf16 run see the same base.
  const at::Tensor bytes = values.to(at::kCPU, at::kBFloat16).contiguous();
  Sha256 hash;
  hash.update({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()});
  return hash.finish();
}

std::string sampled_hash(const WeightStore& store, bool turned, int version) {
  const LaidOut laid_out(store, turned);
  std::vector<at::Tensor> parts;
  for (const Stretch stretch : hashed_stretches(store.elements(), version)) parts.push_back(laid_out.values(stretch));
  return hash_of(at::cat(parts));
}

// Of all values of every parameter, block by block on all threads.
class WholeHashes {
 public:
  WholeHashes(const ParameterTable& table, const std::set<std::string>& turned) : table_(table), turned_(turned) {
    for (std::size_t p = 0; p < table.all().size(); ++p) {
      blocks_.push_back(hashed_stretches(table.all()[p].store->elements(), kFingerprintVersion));
      const std::size_t count = blocks_.back().size();
      hashes_.emplace_back(count);
      // What is turned is made whole for each task.
      const std::size_t step = turned.count(table.all()[p].name) > 0 ? count : 1;
      for (std::size_t first = 0; first < count; first += step) tasks_.push_back({p, first, step});
    }
    std::atomic<std::size_t> next = 0;
    at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t thread = begin; thread < end; ++thread) {
        for (std::size_t task = next++; task < tasks_.size(); task = next++) hash(tasks_[task]);
      }
    });
  }

  std::string of(std::size_t parameter) const {
    Sha256 whole;
    for (const std::string& block : hashes_[parameter]) whole.update(block);
    return whole.finish();
  }

 private:
  struct Task {
    std::size_t parameter, first, count;  // blocks of it
  };

  void hash(const Task& task) {
    const Parameter& parameter = table_.all()[task.parameter];
    const LaidOut laid_out(*parameter.store, turned_.count(parameter.name) > 0);
    for (std::size_t b = task.first; b < task.first + task.count; ++b)
      hashes_[task.parameter][b] = hash_of(laid_out.values(blocks_[task.parameter][b]));
    const Residency& pages = table_.residency();
    if (pages.streams()) pages.release({static_cast<std::int64_t>(task.parameter)});
  }

  const ParameterTable& table_;
  const std::set<std::string>& turned_;
  std::vector<std::vector<Stretch>> blocks_;      // by parameter
  std::vector<std::vector<std::string>> hashes_;  // of these
  std::vector<Task> tasks_;
};

// Hugging Face keeps the maps of GPT-2's blocks [in, out], GGUF the other way.
std::set<std::string> turned_maps(const Model& model) {
  std::set<std::string> turned;
  if (model.config().architecture != "gpt2" || model.config().transposed_linears) return turned;
  for (const auto& entry : model.roles()) turned.insert(entry.weight);
  return turned;
}

}  // namespace

std::vector<Stretch> hashed_stretches(std::int64_t elements, int version) {
  constexpr std::int64_t kFirstEnd = 1 << 14, kWhole = 1 << 17, kEnd = 1 << 12, kBlock = 1 << 10, kSteps = 63,
                         kWholeBlock = 1 << 20;
  if (version > kSampled) {
    std::vector<Stretch> blocks;
    for (std::int64_t first = 0; first < elements; first += kWholeBlock)
      blocks.push_back({first, std::min(kWholeBlock, elements - first)});
    return blocks;
  }
  if (version == 1) {
    const std::int64_t count = std::min(kFirstEnd, elements);
    return {{0, count}, {elements - count, count}};
  }
  if (elements <= kWhole) return {{0, elements}};
  std::vector<Stretch> stretches = {{0, kEnd}};
  const std::int64_t way = elements - 2 * kEnd - kBlock;  // from the first block to the last
  for (std::int64_t step = 0; step <= kSteps; ++step) stretches.push_back({kEnd + way * step / kSteps, kBlock});
  stretches.push_back({elements - kEnd, kEnd});
  return stretches;
}

std::string base_fingerprint(const Model& model, int version) {
  RECORD_USER_SCOPE("graft::base_fingerprint");
  const auto turned = turned_maps(model);
  const auto& parameters = model.parameters().all();
  std::optional<WholeHashes> whole;
  if (version > kSampled) whole.emplace(model.parameters(), turned);
  std::string lines = version == 1 ? "" : fmt::format("{}{}\n", kFirstLine, version);
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const WeightStore& store = *parameters[p].store;
    const bool turns = turned.count(parameters[p].name) > 0;
    lines += parameters[p].name;
    for (const auto size : shape_of(store, turns)) lines += fmt::format(" {}", size);
    lines += fmt::format(" {:.16}\n", whole ? whole->of(p) : sampled_hash(store, turns, version));
  }
  return lines;
}

// Locked while it reads: whoever comes meanwhile waits for the one reading. That of the whole asks for the sampled one.
const std::string& Model::fingerprint(int version) const {
  const std::lock_guard lock(fingerprints_mutex_);
  const auto kept = fingerprints_.find(version);
  if (kept != fingerprints_.end()) return kept->second;
  const std::filesystem::path cache = user_cache_folder();
  const bool keeps = version > kSampled && cache.is_absolute() && parameters().elements() >= kWorthKeeping;
  return fingerprints_
      .emplace(version,
               keeps ? kept_fingerprint(*this, cache / "graft" / "fingerprints") : base_fingerprint(*this, version))
      .first->second;
}

int version_of_fingerprint(const std::string& fingerprint, const std::string& where) {
  const std::string first = fingerprint.substr(0, fingerprint.find('\n'));
  if (!first.starts_with(kFirstLine)) return 1;
  for (int version = kSampled; version <= kFingerprintVersion; ++version) {
    if (first == fmt::format("{}{}", kFirstLine, version)) return version;
  }
  fail(Category::Unsupported, where,
       "its file tells the base model by '{}', which this graft does not know ({} is its latest); use the graft that "
       "wrote it, or a later one",
       printable(first), kFingerprintVersion);
}

}  // namespace graft
