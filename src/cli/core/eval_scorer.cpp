#include "cli/core/eval_scorer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "base/build.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "cli/core/evaluation.h"
#include "cli/core/placed_tensors.h"
#include "nn/compute_dtype.h"
#include "train/state.h"

namespace graft {
namespace {

constexpr int kScoreFormat = 5;                // to be raised where a key or a kept line comes to mean something else
constexpr std::size_t kHeaderBytes = 1 << 20;  // of a GGUF file: its settings come first

std::string hash_of(const Adapter& adapter) {
  Sha256 hash;
  hash.update(json_text(adapter.peft_config()));
  for (const auto& tensor : adapter.peft_tensors()) {
    const at::Tensor value = tensor.value.detach().to(at::kCPU).contiguous();
    hash.update(fmt::format("\n{} {} {}:", tensor.name, toString(value.scalar_type()), value.nbytes()));
    hash.update({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  }
  return hash.finish();
}

// All that a score follows from beside the scorer; its last bits follow from where attention's keys were cut, too.
std::string key_of(const Question& question) {
  Sha256 key;
  key.update(std::to_string(question.prefix) + "\n");
  for (const auto& tokens : question.tokens.reading()) {
    key.update(std::to_string(tokens.size()) + ":");
    key.update(std::as_bytes(std::span(tokens)));
  }
  return key.finish().substr(0, 32);
}

std::string text_key(const Question& prompt, const std::string& decoding) {
  Sha256 key;
  key.update(decoding + "\n" + std::to_string(prompt.prefix) + "\n");
  key.update(std::as_bytes(std::span(prompt.tokens.prompt)));
  return key.finish().substr(0, 32);
}

// Another processor, and LibTorch's libraries on another, take other kernels, whose sums round otherwise; so may
// another number of threads.
std::string processor() {
  const CpuFeatures& has = cpu_features();
  return fmt::format("{}, {}{}{}{}{}, {} threads", cpu_name(), at::get_cpu_capability(), has.avx2 ? " avx2" : "",
                     has.avx512_vnni ? " avx512_vnni" : "", has.avx512_bf16 ? " avx512_bf16" : "",
                     has.amx ? " amx" : "", at::get_num_threads());
}

std::string computed_on(const Model& model) {
  return model.device().is_cpu() ? processor() : model.device().str();
}

nlohmann::json scorer_json(const Base& base, const ModelHashes& hashes, const EvalAdapter* adapter) {
  nlohmann::json scorer = {{"model", hashes.weights},
                           {"settings", hashes.settings},
                           {"kept_as", base.model->parameters().storage()},
                           {"dtype", dtype_name(base.model->dtype())},
                           {"adapter", adapter == nullptr ? nlohmann::json() : nlohmann::json(adapter->hash)}};
  scorer["device"] = computed_on(*base.model);
  return scorer;
}

// LibTorch has kernels of its own, and may be exchanged without a new build.
nlohmann::json build_json() {
  return {{"graft", GRAFT_VERSION},
          {"commit", build_commit()},
          {"libtorch", sha256(at::show_config())},
          {"format", kScoreFormat}};
}

// "runs/rte/adapter" is known by its run.
std::string told_name(const std::string& path, const std::string& method) {
  std::filesystem::path named = std::filesystem::path(path).lexically_normal();
  if (named.filename().empty()) named = named.parent_path();
  if (named.filename() == "adapter" && named.has_parent_path()) named = named.parent_path();
  return fmt::format("{} ({})", named.string(), method);
}

// Of a group of questions or prompts what is not kept, with the tokens that it takes.
struct Missing {
  std::vector<std::string> keys;
  std::vector<ChoiceTokens> asked;
  std::vector<std::int64_t> tokens = {};

  void add(const std::string& key, ChoiceTokens one) {
    keys.push_back(key);
    asked.push_back(std::move(one));
  }
};

Missing in_order(Missing found, const ModelConfig& config) {
  for (const auto& one : found.asked) found.tokens.push_back(computed_tokens(one, config));
  Missing ordered;
  for (const auto place : longest_first(found.tokens)) {
    ordered.add(found.keys[place], std::move(found.asked[place]));
    ordered.tokens.push_back(found.tokens[place]);
  }
  return ordered;
}

}  // namespace

EvalAdapter open_eval_adapter(const std::string& path, const Base& base) {
  EvalAdapter adapter;
  adapter.path = RunFolder::is_run(path) ? adapter_of_run(path).string() : path;
  adapter.loaded = load_adapter(adapter.path, *base.model, *base.tokenizer);
  tell_placed(adapter.path, adapter.loaded.method, adapter.loaded.tensors);
  adapter.name = told_name(path, adapter.loaded.method);
  adapter.hash = hash_of(*adapter.loaded.adapter);
  return adapter;
}

ModelHashes hashes_of(const Model& model, const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return {base_hash(model), sha256(read_file(path / "config.json"))};
  const MappedFile file(path);
  return {base_hash(model), sha256(file.text().substr(0, kHeaderBytes))};
}

nlohmann::ordered_json model_json(const std::string& path, const Base& base, const ModelHashes& hashes) {
  const Model& model = *base.model;
  return {{"path", path},
          {"sha256", hashes.weights},
          {"settings_sha256", hashes.settings},
          {"parameters", model.parameters().elements()},
          {"kept_as", model.parameters().storage()},
          {"dtype", dtype_name(model.dtype())},
          {"tokenizer_sha256", base.tokenizer->hash()},
          {"computed_on", computed_on(model)},
          {"libtorch", TORCH_VERSION}};
}

std::vector<std::pair<std::string, std::string>> model_lines(const nlohmann::ordered_json& model) {
  const auto text = [&](const char* key) { return model.at(key).get<std::string>(); };
  return {{"base weights", "sha256 " + text("sha256")},
          {"model settings", "sha256 " + text("settings_sha256")},
          {"kept as", text("kept_as")},
          {"computed in", text("dtype")},
          {"computed on", text("computed_on")},
          {"LibTorch", text("libtorch")},
          {"tokenizer", "sha256 " + text("tokenizer_sha256")}};
}

EvalScorer::EvalScorer(const Base& base, const ModelHashes& hashes, const EvalAdapter* adapter,
                       const std::filesystem::path& folder, std::int64_t batch_tokens, EvalWork* work)
    : base_(base),
      adapter_(adapter),
      frozen_(*base.model, adapter == nullptr ? nullptr : adapter->loaded.adapter.get()),
      batch_tokens_(batch_tokens),
      work_(work) {
  const nlohmann::json scorer = scorer_json(base, hashes, adapter), build = build_json();
  if (work == nullptr || std::filesystem::exists(ScoreStore::file_of(folder, scorer, build)))
    store_.emplace(folder, scorer, build);
}

void EvalScorer::count_in(EvalWork* work) {
  work_ = work;
  counted_.clear();
}

const KeptText* EvalScorer::find_text(const std::string& key) const {
  return store_ ? store_->find_text(key) : nullptr;
}

// What is counted is not kept, but is done once all the same.
bool EvalScorer::counts_already(const std::string& key) {
  return work_ != nullptr && !counted_.insert(key).second;
}

const KeptScore* EvalScorer::find(const std::string& key, bool greedy) const {
  const KeptScore* kept = store_ ? store_->find(key) : nullptr;
  return kept != nullptr && greedy && kept->greedy.empty() ? nullptr : kept;
}

void EvalScorer::score_missing(const std::vector<Question>& questions, const QuestionGroup& group,
                               const std::vector<std::string>& keys, const RankOptions& options) {
  Missing found;
  std::set<std::string> seen;
  if (store_) store_->refresh();
  for (const auto q : group.members) {
    if (find(keys[q], options.greedy) != nullptr || !seen.insert(keys[q]).second || counts_already(keys[q])) continue;
    found.add(keys[q], behind_prefix(questions[q].tokens, group.prefix.size()));
  }
  if (found.asked.empty()) return;
  RankOptions behind = options;
  behind.prefix = group.prefix;
  if (work_ != nullptr) return work_->add_scoring(model(), found.asked, behind);
  if (progress_ != nullptr) progress_->begin();
  const Missing missing = in_order(std::move(found), model().config());
  auto read = static_cast<std::int64_t>(group.prefix.size());  // with the first batch
  behind.shows = progress_ == nullptr;
  behind.on_scores = [&](std::size_t first, const std::vector<ChoiceScores>& scores, double seconds) {
    std::vector<std::pair<std::string, KeptScore>> kept;
    EvalAmount done{static_cast<std::int64_t>(scores.size()), std::exchange(read, 0)};
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const KeptScore score{scores[i].sums, scores[i].greedy, seconds / static_cast<double>(scores.size())};
      kept.emplace_back(missing.keys[first + i], score);
      done.tokens += missing.tokens[first + i];
    }
    store_->add(kept);
    if (progress_ != nullptr) progress_->scored(options.what, done, seconds);
  };
  choice_scores(*base_.model, missing.asked, behind);
}

EvalScorer::Scores EvalScorer::score(const std::vector<Question>& questions, const std::vector<QuestionGroup>& groups,
                                     const std::string& what, bool greedy) {
  RankOptions options;
  options.what = what;
  options.batch_tokens = batch_tokens_;
  options.forward.slots = frozen_.slots();
  options.greedy = greedy;
  std::vector<std::string> keys;
  for (const auto& question : questions) keys.push_back(key_of(question));
  for (const auto& group : groups) score_missing(questions, group, keys, options);
  Scores scores;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const KeptScore* kept = find(keys[q], greedy);
    const std::size_t choices = questions[q].tokens.choices.size();
    if (kept == nullptr && work_ != nullptr) {
      scores.sums.emplace_back(choices, 0.0);
      scores.greedy.emplace_back(greedy ? choices : 0, false);
      continue;
    }
    if (kept == nullptr || kept->sums.size() != choices || (greedy && kept->greedy.size() != choices)) {
      fail(Category::Corruption, store_->file().string(),
           "holds scores that do not fit their example; remove the file to score anew");
    }
    scores.sums.push_back(kept->sums);
    scores.greedy.push_back(kept->greedy);
    scores.seconds += kept->seconds;
  }
  return scores;
}

void EvalScorer::write_missing(const std::vector<Question>& prompts, const QuestionGroup& group,
                               const std::vector<std::string>& keys, WriteOptions options) {
  Missing found;
  std::set<std::string> seen;
  if (store_) store_->refresh();
  for (const auto q : group.members) {
    if (find_text(keys[q]) != nullptr || !seen.insert(keys[q]).second || counts_already(keys[q])) continue;
    found.add(keys[q], prompts[q].tokens);
  }
  if (found.asked.empty()) return;
  options.prefix = group.prefix;
  if (work_ != nullptr) return work_->add_writing(model(), found.asked, options);
  if (progress_ != nullptr) progress_->begin();
  const Missing missing = in_order(std::move(found), model().config());
  options.shows = progress_ == nullptr;
  options.on_written = [&](const std::vector<std::pair<std::size_t, WrittenText>>& written) {
    std::vector<std::pair<std::string, KeptText>> kept;
    EvalAmount done{static_cast<std::int64_t>(written.size())};
    double seconds = 0;
    for (const auto& one : written) {
      kept.emplace_back(missing.keys[one.first], KeptText{one.second.text, one.second.tokens, one.second.seconds});
      done.tokens += missing.tokens[one.first];
      seconds += one.second.seconds;
    }
    store_->add_texts(kept);
    if (progress_ != nullptr) progress_->written(options.what, done, seconds);
  };
  write_texts(*base_.model, missing.asked, options);
}

EvalScorer::Texts EvalScorer::write(const std::vector<Question>& prompts, const std::vector<QuestionGroup>& groups,
                                    GenerateOptions how, const std::string& what) {
  WriteOptions options;
  options.generate = std::move(how);
  options.generate.slots = frozen_.slots();
  options.what = what;
  const std::string decoding = decoding_text(options.generate, model().config());
  std::vector<std::string> keys;
  for (const auto& prompt : prompts) keys.push_back(text_key(prompt, decoding));
  for (const auto& group : groups) write_missing(prompts, group, keys, options);
  Texts texts;
  for (const auto& key : keys) {
    const KeptText* kept = find_text(key);
    if (kept == nullptr && work_ != nullptr) {
      texts.texts.emplace_back();
      texts.tokens.push_back(1);  // the one that ends it
      continue;
    }
    if (kept == nullptr) fail(Category::Internal, store_->file().string(), "lacks a text that was written");
    texts.texts.push_back(kept->text);
    texts.tokens.push_back(kept->tokens);
    texts.seconds += kept->seconds;
  }
  return texts;
}

}  // namespace graft
