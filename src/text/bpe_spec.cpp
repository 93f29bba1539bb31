#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "text/loaders.h"

namespace graft::text {

std::pair<std::string, std::string> split_merge(const std::string& line, const std::string& context) {
  const std::size_t space = line.find(' ');
  if (space == std::string::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string::npos) {
    fail(Category::Corruption, context, "the merge '{}' is not two tokens with one space between", line);
  }
  return {line.substr(0, space), line.substr(space + 1)};
}

void set_bpe(PipelineSpec& spec, const std::vector<std::pair<std::string, std::string>>& merges, BpeOptions options,
             const std::string& context) {
  const Vocabulary& vocabulary = spec.vocabulary;
  std::vector<RankedMerge> ranked;
  ranked.reserve(merges.size());
  std::string written, all;
  const auto id_of = [&](const std::string& token, std::size_t rank) {
    const auto id = vocabulary.find(token);
    if (!id.has_value())
      fail(Category::Corruption, context, "merge {} names '{}', which is not in the vocabulary", rank, token);
    return *id;
  };
  const bool byte_level = options.byte_level;
  const std::size_t prefix = options.continuing_subword_prefix.size();
  for (const auto& [left, right] : merges) {
    const std::size_t rank = ranked.size();
    const TokenId left_id = id_of(left, rank);
    const TokenId right_id = id_of(right, rank);
    written.assign(left).append(right, std::min(prefix, right.size()));
    const TokenId merged = id_of(written, rank);
    ranked.push_back({left_id, right_id, merged, static_cast<std::uint32_t>(rank)});
    if (byte_level) all.append(left).append(" ").append(right).append("\n");
  }
  // Other vocabularies are SentencePiece's: their ids are in the order of the merges, which its own file does not list.
  if (byte_level) spec.merges_hash = sha256(all);
  auto model = std::make_unique<Bpe>(vocabulary, ranked, std::move(options));
  if (model->cuts_before(kMarker)) spec.pre.steps.push_back(make_marker_split());
  spec.kind = byte_level ? "byte-level BPE" : "BPE (SentencePiece)";
  spec.model = std::move(model);
}

}  // namespace graft::text
