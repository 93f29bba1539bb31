#include "adapters/core/manifest.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/build.h"
#include "base/error.h"
#include "base/json_text.h"
#include "checkpoint/weight_format.h"

namespace graft {
namespace {

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

void refuse_other_base(const Model& model, const std::string& stored, const std::string& adapter,
                       const std::string& hint) {
  if (stored.empty()) return;
  const std::string& here = model.fingerprint(version_of_fingerprint(stored, adapter));
  if (stored == here) return;
  const char* fix = "; give the model that it was trained on, or train an adapter on this one";
  const auto mine = lines_of(here), theirs = lines_of(stored);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const Line none{"(none)", ""}, &other = i < theirs.size() ? theirs[i] : none;
    if (same_tensor(mine[i], other)) continue;
    fail(Category::InvalidArgument, adapter,
         "this adapter was trained on another base model: the first tensor that differs is '{}{}' here, '{}{}' there{}",
         mine[i].name, mine[i].rest, other.name, other.rest, hint.empty() ? fix : hint);
  }
  if (theirs.size() == mine.size()) return;
  fail(Category::InvalidArgument, adapter,
       "this adapter was trained on another base model with more tensors than this one{}", fix);
}

// A base that a run quantised has other values than its file.
std::string quantised_hint(const nlohmann::json& manifest) {
  const std::string weights = manifest.value("weights", std::string());
  const auto known = weight_names();
  if (std::ranges::find(known, weights) == known.end() || !loading_type(weight_format(weights))) return "";
  return fmt::format("; its run had model.weights={0}: give --weights {0}", weights);
}

}  // namespace

std::string manifest_text(const Manifest& manifest, const Model& model, const std::string& tensors_hash) {
  nlohmann::json fields = manifest.fields;
  fields["base"] = model.fingerprint(kFingerprintVersion);
  fields[kTensorsKey] = tensors_hash;
  fields["graft_version"] = GRAFT_VERSION;
  fields["graft_commit"] = build_commit();
  // Paths of the recipe need not be UTF-8.
  return json_text(fields);
}

nlohmann::json checked_manifest(const std::string& text, const std::string& file, const std::string& adapter,
                                const Model& model) {
  auto manifest = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object()) fail(Category::Corruption, file, "the manifest in the header is damaged");
  for (const auto& [key, value] : manifest.items()) {
    if (!value.is_string()) fail(Category::Corruption, file, "'{}' of the manifest in the header is no text", key);
  }
  refuse_other_base(model, manifest.value("base", std::string()), adapter, quantised_hint(manifest));
  return manifest;
}

void refuse_damaged(const nlohmann::json& manifest, const TensorSource& adapter) {
  const std::string saved = manifest.value(kTensorsKey, std::string());
  if (saved.empty()) return;
  const std::string here = content_hash(adapter);
  if (here == saved) return;
  fail(Category::Corruption, adapter.files().front().string(),
       "its tensors are not those that it was saved with (SHA-256 {:.16}, its manifest says {:.16}): the file is "
       "damaged, or was changed; fetch it again, or save it anew from where it was made",
       here, saved);
}

std::string tokenizer_mark(const Tokenizer& tokenizer) {
  return fmt::format("v{}:{}", kTokenizerHashVersion, tokenizer.hash());
}

void refuse_other_tokenizer(const nlohmann::json& manifest, const std::string& adapter, const Tokenizer& tokenizer) {
  if (!manifest.is_object()) return;
  const std::string there = manifest.value(kTokenizerKey, std::string()), here = tokenizer_mark(tokenizer);
  const bool comparable = there.starts_with(here.substr(0, here.find(':') + 1));
  if (!comparable || there == here) return;
  fail(Category::InvalidArgument, adapter,
       "this adapter was trained with another tokenizer ({:.15}, the model's is {:.15}), so that its ids mean other "
       "texts; put the tokenizer that it was trained with beside the model, or give the model that it was trained on",
       there, here);
}

}  // namespace graft
