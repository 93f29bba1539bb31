#include "adapters/core/manifest.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <vector>

#include "base/build.h"
#include "base/error.h"
#include "base/hash.h"

namespace graft {
namespace {

// Rows of a parameter as Hugging Face's files lay it out.
class Rows {
 public:
  Rows(const WeightStore& store, bool turned) : store_(store), shape_(store.shape()) {
    if (!turned) return;
    std::reverse(shape_.begin(), shape_.end());
    whole_ = store.dense().t();
  }

  const std::vector<std::int64_t>& shape() const { return shape_; }
  at::Tensor part(std::int64_t first, std::int64_t count) const {
    return (whole_.defined() ? whole_.narrow(0, first, count) : store_.part(first, count)).reshape({-1});
  }

 private:
  const WeightStore& store_;
  std::vector<std::int64_t> shape_;
  at::Tensor whole_;  // only where it is turned
};

std::string tensor_line(const Parameter& parameter, bool turned) {
  constexpr std::int64_t kSample = 1 << 14;
  const Rows values(*parameter.store, turned);
  const auto& shape = values.shape();
  const std::int64_t count = std::min(kSample, parameter.store->elements()),
                     width = parameter.store->elements() / shape[0], rows = (count + width - 1) / width;
  const at::Tensor head = values.part(0, rows), tail = values.part(shape[0] - rows, rows);
  Sha256 hash;
  for (const auto& part : {head.narrow(0, 0, count), tail.narrow(0, tail.size(0) - count, count)}) {
    // bfloat16 is what every compute dtype rounds to, so an fp32 run and a bf16 run see the same base.
    const at::Tensor bytes = part.to(at::kCPU, at::kBFloat16).contiguous();
    hash.update({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()});
  }
  std::string line = parameter.name;
  for (const auto size : shape) line += fmt::format(" {}", size);
  return line + " " + hash.finish().substr(0, 16) + "\n";
}

// Hugging Face keeps the maps of GPT-2's blocks [in, out], GGUF the other way.
std::set<std::string> turned_maps(const Model& model) {
  std::set<std::string> turned;
  if (model.config().architecture != "gpt2" || model.config().transposed_linears) return turned;
  for (const auto& entry : model.roles()) turned.insert(entry.weight);
  return turned;
}

struct Line {
  std::string name, rest;  // of "name shape hash"
};

// Without the head of a file that repeats the embeddings there.
std::vector<Line> lines_of(const std::string& fingerprint) {
  std::vector<Line> lines;
  std::istringstream in(fingerprint);
  for (std::string line; std::getline(in, line);) {
    const auto space = line.find(' ');
    Line parsed{line.substr(0, space), space == std::string::npos ? "" : line.substr(space)};
    const bool repeated =
        parsed.name == "lm_head.weight" &&
        std::any_of(lines.begin(), lines.end(), [&](const Line& other) { return other.rest == parsed.rest; });
    if (!repeated) lines.push_back(std::move(parsed));
  }
  return lines;
}

// Checkpoints of a bare model leave out what its module is called in the whole one.
bool same_tensor(const Line& a, const Line& b) {
  return a.rest == b.rest && (a.name == b.name || a.name.ends_with("." + b.name) || b.name.ends_with("." + a.name));
}

void refuse_other_base(const std::string& here, const std::string& stored, const std::string& adapter,
                       const std::string& hint) {
  if (stored.empty() || stored == here) return;
  const auto mine = lines_of(here), theirs = lines_of(stored);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const Line none{"(none)", ""}, &other = i < theirs.size() ? theirs[i] : none;
    if (same_tensor(mine[i], other)) continue;
    fail(Category::InvalidArgument, adapter,
         "this adapter was trained on another base model: the first tensor that differs is '{}{}' here, '{}{}' there{}",
         mine[i].name, mine[i].rest, other.name, other.rest, hint);
  }
  if (theirs.size() == mine.size()) return;
  fail(Category::InvalidArgument, adapter,
       "this adapter was trained on another base model with more tensors than this one");
}

// A base that a run quantised has other values than its file.
std::string quantised_hint(const nlohmann::json& manifest) {
  const std::string weights = manifest.value("weights", std::string());
  if (weights != "q8_0" && weights != "q4_0") return "";
  return fmt::format("; its run had model.weights={0}: give --weights {0}", weights);
}

}  // namespace

std::string base_fingerprint(const Model& model) {
  const auto turned = turned_maps(model);
  std::string lines;
  for (const auto& parameter : model.parameters().all())
    lines += tensor_line(parameter, turned.count(parameter.name) > 0);
  return lines;
}

std::string manifest_text(const Manifest& manifest, const Model& model) {
  nlohmann::json fields = manifest.fields;
  fields["base"] = base_fingerprint(model);
  fields["graft_version"] = GRAFT_VERSION;
  fields["graft_commit"] = build_commit();
  return fields.dump();
}

nlohmann::json checked_manifest(const std::string& text, const std::string& file, const std::string& adapter,
                                const Model& model) {
  auto manifest = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object()) fail(Category::Corruption, file, "the manifest in the header is damaged");
  for (const auto& [key, value] : manifest.items()) {
    if (!value.is_string()) fail(Category::Corruption, file, "'{}' of the manifest in the header is no text", key);
  }
  refuse_other_base(base_fingerprint(model), manifest.value("base", std::string()), adapter, quantised_hint(manifest));
  return manifest;
}

}  // namespace graft
