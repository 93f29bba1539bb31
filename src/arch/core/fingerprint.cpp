#include "arch/core/fingerprint.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

constexpr const char* kFirstLine = "fingerprint ";  // and the version; no tensor has this name

// A parameter's values as Hugging Face's files lay them out.
class LaidOut {
 public:
  LaidOut(const WeightStore& store, bool turned) : store_(store), shape_(store.shape()) {
    if (!turned) return;
    std::reverse(shape_.begin(), shape_.end());
    whole_ = store.dense().t();
  }

  const std::vector<std::int64_t>& shape() const { return shape_; }

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

std::string tensor_line(const Parameter& parameter, bool turned, int version) {
  const LaidOut laid_out(*parameter.store, turned);
  std::vector<at::Tensor> parts;
  for (const Stretch stretch : sampled_stretches(parameter.store->elements(), version))
    parts.push_back(laid_out.values(stretch));
  // bfloat16 is what every compute dtype rounds to, so an fp32 run and a bf16 run see the same base.
  const at::Tensor bytes = at::cat(parts).to(at::kCPU, at::kBFloat16).contiguous();
  Sha256 hash;
  hash.update({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()});
  std::string line = parameter.name;
  for (const auto size : laid_out.shape()) line += fmt::format(" {}", size);
  return line + " " + hash.finish().substr(0, 16) + "\n";
}

// Hugging Face keeps the maps of GPT-2's blocks [in, out], GGUF the other way.
std::set<std::string> turned_maps(const Model& model) {
  std::set<std::string> turned;
  if (model.config().architecture != "gpt2" || model.config().transposed_linears) return turned;
  for (const auto& entry : model.roles()) turned.insert(entry.weight);
  return turned;
}

}  // namespace

std::vector<Stretch> sampled_stretches(std::int64_t elements, int version) {
  constexpr std::int64_t kFirstEnd = 1 << 14, kWhole = 1 << 17, kEnd = 1 << 12, kBlock = 1 << 10, kSteps = 63;
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
  std::string lines = version == 1 ? "" : fmt::format("{}{}\n", kFirstLine, version);
  for (const auto& parameter : model.parameters().all())
    lines += tensor_line(parameter, turned.count(parameter.name) > 0, version);
  return lines;
}

// Locked while it reads: whoever comes meanwhile waits for the one reading.
const std::string& Model::fingerprint(int version) const {
  const std::lock_guard lock(fingerprints_mutex_);
  const auto kept = fingerprints_.find(version);
  if (kept != fingerprints_.end()) return kept->second;
  return fingerprints_.emplace(version, base_fingerprint(*this, version)).first->second;
}

int version_of_fingerprint(const std::string& fingerprint, const std::string& where) {
  const std::string first = fingerprint.substr(0, fingerprint.find('\n'));
  if (!first.starts_with(kFirstLine)) return 1;
  if (first == fmt::format("{}{}", kFirstLine, kFingerprintVersion)) return kFingerprintVersion;
  fail(Category::Unsupported, where,
       "its file tells the base model by '{}', which this graft does not know ({} is its latest); use the graft that "
       "wrote it, or a later one",
       printable(first), kFingerprintVersion);
}

}  // namespace graft
