#include "eval/choices.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "data/unicode.h"
#include "eval/choice_tree.h"
#include "nn/chosen_log_probability.h"
#include "nn/kernels/any_row.h"
#include "nn/layer_checkpoint.h"
#include "nn/learns.h"
#include "text/unicode.h"

namespace graft {
namespace {

std::vector<std::int64_t> ids(const std::vector<TokenId>& tokens) {
  return {tokens.begin(), tokens.end()};
}

std::size_t common_prefix(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  const auto limit = std::min(a.size(), b.size());
  std::size_t n = 0;
  while (n < limit && a[n] == b[n]) ++n;
  return n;
}

// A prompt that is empty as tokens still needs one token to predict from.
std::vector<std::int64_t> prompt_tokens(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config) {
  auto prompt = ids(tokenizer.encode(example.prompt, true));
  if (!prompt.empty()) return prompt;
  const auto start = token_in_front(config, tokenizer);
  if (!start)
    fail(Category::InvalidArgument, example.where,
         "the prompt is empty, and neither the tokenizer nor the model names a start or end-of-text token");
  return {*start};
}

void tokenize_decoder_only(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config,
                           ChoiceTokens& out) {
  const auto prompt = prompt_tokens(example, tokenizer, config);
  const auto behind_prompt = [&](const std::string& text) {
    auto whole = ids(tokenizer.encode(example.prompt + text, true));
    if (example.prompt.empty() && common_prefix(whole, prompt) == 0)
      whole.insert(whole.begin(), prompt.begin(), prompt.end());
    return whole;
  };
  std::vector<std::vector<std::int64_t>> joint;
  std::vector<std::size_t> scored_from;  // where choices are only read
  std::size_t shared = prompt.size();
  for (const auto& choice : example.choices) {
    auto whole = behind_prompt(choice + example.continuation);
    shared = std::min({shared, common_prefix(whole, prompt), whole.size() - 1});
    if (!example.continuation.empty()) {
      scored_from.push_back(std::min(common_prefix(whole, behind_prompt(choice)), whole.size() - 1));
      shared = std::min(shared, scored_from.back());
    }
    joint.push_back(std::move(whole));
  }
  if (shared == 0)
    fail(Category::InvalidArgument, example.where,
         "prompt and choices share no token; end the prompt with text of its own");
  out.prompt.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(shared));
  for (std::size_t c = 0; c < joint.size(); ++c) {
    out.choices[c].tokens.assign(joint[c].begin() + static_cast<std::ptrdiff_t>(shared), joint[c].end());
    if (!scored_from.empty()) out.choices[c].context = static_cast<std::int64_t>(scored_from[c] - shared);
  }
}

// The tokens that a generating model would have to write: the prompt's own are never merged with the text's.
void tokenize_text(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config, ChoiceTokens& out) {
  out.prompt = prompt_tokens(example, tokenizer, config);
  const auto whole = ids(tokenizer.encode(example.prompt + example.choices.front(), true));
  auto& text = out.choices.front().tokens;
  if (common_prefix(whole, out.prompt) == out.prompt.size()) {
    text.assign(whole.begin() + static_cast<std::ptrdiff_t>(out.prompt.size()), whole.end());
  } else {
    text = ids(tokenizer.encode(example.choices.front(), false));
  }
}

// The tokenizer's own token where the model ends at it, else the first at which the model does.
std::int64_t end_of_text(const ModelConfig& config, const Tokenizer& tokenizer) {
  const auto own = tokenizer.eos();
  if (own && (config.eos.empty() || std::find(config.eos.begin(), config.eos.end(), *own) != config.eos.end()))
    return *own;
  if (config.eos.empty()) {
    fail(Category::InvalidArgument, "eos_token_id",
         "the model names no end-of-text token, so the end of a text cannot be learnt; add it to its config.json");
  }
  return config.eos.front();
}

void end_text(ChoiceTokens& out, std::int64_t end) {
  auto& text = out.choices.front().tokens;
  if (text.empty() || text.back() != end) text.push_back(end);
}

void tokenize_encoder_decoder(const Example& example, const Tokenizer& tokenizer, ChoiceTokens& out) {
  out.prompt = ids(tokenizer.encode(example.prompt, true));
  for (std::size_t c = 0; c < example.choices.size(); ++c) {
    const std::string& choice = example.choices[c];
    out.choices[c].tokens = ids(tokenizer.encode(example.writes ? without_space_around(choice) : choice, true));
  }
}

// Choices of a decoder-only model go on the prompt; those of an encoder–decoder have positions of their own.
std::int64_t longest_prompt(const ChoiceTokens& tokens, const ModelConfig& config, std::int64_t max_prompt) {
  if (config.max_positions <= 0) return max_prompt > 0 ? max_prompt : kUnboundedPrompt;
  std::int64_t longest = 0;
  for (const auto& choice : tokens.choices)
    longest = std::max(longest, static_cast<std::int64_t>(choice.tokens.size()));
  const auto room = config.max_positions - (config.encoder_decoder() ? 0 : longest);
  return max_prompt > 0 ? std::min(room, max_prompt) : room;
}

// A start token stays in front of what is left. There is room for a token at least: refuse_long_choices().
void cut_to_fit(ChoiceTokens& tokens, std::int64_t room, std::optional<TokenId> bos) {
  const auto length = static_cast<std::int64_t>(tokens.prompt.size());
  if (length <= room) return;
  const std::ptrdiff_t kept = bos && room > 1 && tokens.prompt.front() == *bos ? 1 : 0;
  tokens.cut = length - room;
  tokens.prompt.erase(tokens.prompt.begin() + kept, tokens.prompt.begin() + kept + tokens.cut);
}

void pack_decoder_only(const ChoiceTokens& example, std::int32_t slot, ChoiceBatch& batch) {
  const auto prompt = batch.input.decoder.add(example.prompt, batch.root, slot);
  batch.input.decoder.segments.back().prompt_end = static_cast<std::int64_t>(example.prompt.size());
  const auto rows = add_choices(batch.input.decoder, example.choices, prompt, slot);
  for (std::size_t c = 0; c < rows.size(); ++c) {
    const auto& choice = example.choices[c];
    for (auto t = static_cast<std::size_t>(choice.context); t < choice.tokens.size(); ++t)
      batch.scored.push_back({rows[c][t], choice.tokens[t], batch.choices()});
    batch.scored_tokens.push_back(choice.scored());
    ++batch.first_choice.back();
  }
}

void pack_encoder_decoder(const ChoiceTokens& example, std::int64_t start, std::int32_t slot, ChoiceBatch& batch) {
  const auto source = batch.input.encoder.add(example.prompt, -1, slot);
  for (const auto& choice : example.choices) {
    std::vector<std::int64_t> shifted = {start};
    shifted.insert(shifted.end(), choice.tokens.begin(), choice.tokens.end() - 1);
    const auto begin = batch.input.decoder.size();
    batch.input.decoder.add(shifted, -1, slot, source);
    for (std::size_t t = 0; t < choice.tokens.size(); ++t)
      batch.scored.push_back({begin + static_cast<std::int64_t>(t), choice.tokens[t], batch.choices()});
    batch.scored_tokens.push_back(static_cast<std::int64_t>(choice.tokens.size()));
    ++batch.first_choice.back();
  }
}

struct Block {
  std::vector<std::int64_t> rows;     // of hidden
  std::vector<std::int64_t> local;    // row of this block, per scored token
  std::vector<std::int64_t> targets;  // per scored token
  std::vector<std::int64_t> order;    // index of the scored token
  bool at_once = false;               // goes backward while its logits are there
};

std::vector<Block> blocks_of(const std::vector<ScoredToken>& scored) {
  std::vector<std::int64_t> order(scored.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return scored[static_cast<std::size_t>(a)].row < scored[static_cast<std::size_t>(b)].row;
  });
  std::vector<Block> blocks(1);
  for (const auto i : order) {
    const ScoredToken& token = scored[static_cast<std::size_t>(i)];
    const bool new_row = blocks.back().rows.empty() || blocks.back().rows.back() != token.row;
    if (new_row && static_cast<std::int64_t>(blocks.back().rows.size()) == kLogitRows) blocks.emplace_back();
    Block& block = blocks.back();
    if (block.rows.empty() || block.rows.back() != token.row) block.rows.push_back(token.row);
    block.local.push_back(static_cast<std::int64_t>(block.rows.size()) - 1);
    block.targets.push_back(token.target);
    block.order.push_back(i);
  }
  return blocks;
}

// [scored tokens of the block]; empty where none is smoothed.
at::Tensor smoothing_of(const std::vector<ScoredToken>& scored, const Block& block) {
  std::vector<float> values;
  for (const auto i : block.order) values.push_back(static_cast<float>(scored[static_cast<std::size_t>(i)].smoothing));
  const bool any = std::any_of(values.begin(), values.end(), [](float value) { return value != 0; });
  return at::tensor(any ? values : std::vector<float>(), at::kFloat);
}

// Whether each row has one target, and no more is trained than what the hidden states come from.
bool goes_backward_at_once(const Block& block, const std::vector<ScoredToken>& scored, const at::Tensor& hidden,
                           const ForwardOptions& options) {
  return learns(hidden) && rows::readable(hidden) && !changes_head(options.slots) &&
         block.rows.size() == block.targets.size() && smoothing_of(scored, block).numel() == 0;
}

// Of the logits that are kept for the backward pass.
std::int64_t logit_bytes(const std::vector<Block>& blocks, const Model& model) {
  const auto rows = std::accumulate(blocks.begin(), blocks.end(), std::int64_t{0}, [](auto sum, const Block& block) {
    return sum + (block.at_once ? 0 : static_cast<std::int64_t>(block.rows.size()));
  });
  return rows * model.config().vocab_size * static_cast<std::int64_t>(c10::elementSize(model.dtype()));
}

// log p of the block's tokens, from hidden rows; whether each is the likeliest goes into `best`, where that is given.
LayerFunction score_of(const Model& model, const Block& block, const at::Tensor& smoothing,
                       const ForwardOptions& options, std::vector<at::Tensor>* best) {
  const auto device = smoothing.device();
  const at::Tensor local = at::tensor(block.local, at::kLong).to(device),
                   targets = at::tensor(block.targets, at::kLong).to(device);
  if (block.at_once) {
    return [&model, options, targets](const std::vector<at::Tensor>& inputs) {
      return target_log_probability([&](const at::Tensor& rows) { return model.logits(rows, options); }, inputs[0],
                                    targets);
    };
  }
  return [&model, best, options, local, targets, smoothing](const std::vector<at::Tensor>& inputs) {
    const at::Tensor logits = model.logits(inputs[0], options);
    if (best != nullptr) best->push_back(logits.argmax(-1).index_select(0, local) == targets);
    if (smoothing.numel() == 0) return chosen_log_probability(logits, local, targets);
    const at::Tensor log_p = at::log_softmax(logits, -1, at::kFloat);
    return log_p.index({local, targets}) * (1 - smoothing) + log_p.mean(-1).index_select(0, local) * smoothing;
  };
}

// The rows that any of the tokens are predicted from, ascending.
std::vector<std::int64_t> rows_asked_for(const std::vector<ScoredToken>& scored) {
  std::vector<std::int64_t> rows;
  for (const ScoredToken& token : scored) rows.push_back(token.row);
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

void refuse_continuation(const Example& example) {
  if (example.continuation.empty()) return;
  fail(Category::InvalidArgument, example.where,
       "choices that are read and not scored need a model without an encoder; take another template of the task");
}

// Their scores would be one, whichever is right.
void refuse_alike(const ChoiceTokens& tokens, const Example& example) {
  std::map<std::vector<std::int64_t>, std::size_t> seen;
  for (std::size_t c = 0; c < tokens.choices.size(); ++c) {
    const auto [other, added] = seen.try_emplace(tokens.choices[c].tokens, c);
    if (added) continue;
    fail(Category::InvalidArgument, example.where,
         "choices {} ('{}') and {} ('{}') are the same tokens to this model; give them texts that it can tell apart",
         other->second, example.choices[other->second], c, example.choices[c]);
  }
}

// Rotary positions have no end: a model would go on past what it was trained for, and nothing would tell.
void refuse_long_choices(const ChoiceTokens& tokens, const Example& example, const ModelConfig& config) {
  if (config.max_positions <= 0) return;
  const std::int64_t before = config.encoder_decoder() ? 0 : 1;  // a choice is predicted from a token at least
  for (std::size_t c = 0; c < tokens.choices.size(); ++c) {
    const auto length = static_cast<std::int64_t>(tokens.choices[c].tokens.size());
    if (before + length <= config.max_positions) continue;
    fail(Category::InvalidArgument, example.where,
         "{} has {} tokens and fits the model's context of {} behind no prompt; choices are not cut, shorten it, leave "
         "the row out or take a model with a longer context",
         example.writes ? std::string("the text to write") : fmt::format("choice {}", c), length, config.max_positions);
  }
}

}  // namespace

std::optional<std::int64_t> token_in_front(const ModelConfig& config, const Tokenizer& tokenizer) {
  if (tokenizer.bos()) return *tokenizer.bos();
  if (tokenizer.eos()) return *tokenizer.eos();
  return config.eos.empty() ? std::nullopt : std::optional<std::int64_t>(config.eos.front());
}

std::int64_t computed_tokens(const ChoiceTokens& example, const ModelConfig& config) {
  const auto prompt = static_cast<std::int64_t>(example.prompt.size());
  if (!config.encoder_decoder()) return prompt + tokens_of_choices(example.choices);
  return std::accumulate(example.choices.begin(), example.choices.end(), prompt, [](auto sum, const auto& choice) {
    return sum + static_cast<std::int64_t>(choice.tokens.size());
  });
}

std::vector<std::vector<std::int64_t>> ChoiceTokens::reading() const {
  std::vector<std::vector<std::int64_t>> all = {prompt};
  std::vector<std::int64_t> contexts;
  for (const auto& choice : choices) {
    all.push_back(choice.tokens);
    contexts.push_back(choice.context);
  }
  if (std::any_of(contexts.begin(), contexts.end(), [](std::int64_t count) { return count > 0; }))
    all.push_back(contexts);
  return all;
}

ChoiceTokens tokenize(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config,
                      std::int64_t max_prompt) {
  if (example.choices.empty()) fail(Category::InvalidArgument, example.where, "the example has no choices");
  ChoiceTokens tokens;
  tokens.label = example.label;
  tokens.truths = example.truths;
  tokens.choices.resize(example.choices.size());
  for (std::size_t c = 0; c < example.choices.size(); ++c) {
    if (example.choices[c].size() <= example.delimiter_bytes)
      fail(Category::InvalidArgument, example.where, "choice {} is empty", c);
    const std::string_view counted = example.continuation.empty()
                                         ? std::string_view(example.choices[c]).substr(example.delimiter_bytes)
                                         : std::string_view(example.continuation);
    tokens.choices[c].characters = static_cast<std::int64_t>(text::code_points(counted));
    tokens.choices[c].bytes = static_cast<std::int64_t>(counted.size());
  }
  if (config.encoder_decoder()) {
    refuse_continuation(example);
    tokenize_encoder_decoder(example, tokenizer, tokens);
  } else if (example.writes) {
    tokenize_text(example, tokenizer, config, tokens);
  } else {
    tokenize_decoder_only(example, tokenizer, config, tokens);
  }
  refuse_alike(tokens, example);
  if (example.writes) end_text(tokens, end_of_text(config, tokenizer));
  refuse_long_choices(tokens, example, config);
  cut_to_fit(tokens, longest_prompt(tokens, config, max_prompt), tokenizer.bos());
  return tokens;
}

ChoiceTokens tokenize_prompt(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config,
                             std::int64_t max_prompt) {
  ChoiceTokens tokens;
  tokens.prompt = config.encoder_decoder() ? ids(tokenizer.encode(example.prompt, true))
                                           : prompt_tokens(example, tokenizer, config);
  cut_to_fit(tokens, longest_prompt(tokens, config, max_prompt), tokenizer.bos());
  return tokens;
}

std::vector<std::vector<const ChoiceTokens*>> groups_of(const std::vector<ChoiceTokens>& examples,
                                                        const ModelConfig& config, std::int64_t batch_tokens) {
  std::vector<std::vector<const ChoiceTokens*>> groups;
  std::int64_t tokens = 0;
  for (const auto& example : examples) {
    const std::int64_t more = computed_tokens(example, config);
    if (groups.empty() || tokens + more > batch_tokens) {
      groups.emplace_back();
      tokens = 0;
    }
    tokens += more;
    groups.back().push_back(&example);
  }
  return groups;
}

std::vector<std::size_t> longest_first(const std::vector<std::int64_t>& tokens) {
  std::vector<std::size_t> places(tokens.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  std::stable_sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) { return tokens[a] > tokens[b]; });
  return places;
}

void append(ChoiceBatch& batch, const std::vector<const ChoiceTokens*>& examples, const ModelConfig& config,
            std::int32_t slot, double smoothing) {
  const std::size_t before = batch.scored.size();
  for (const ChoiceTokens* example : examples) {
    batch.first_choice.push_back(batch.first_choice.back());
    batch.labels.push_back(example->label);
    if (config.encoder_decoder()) {
      pack_encoder_decoder(*example, decoder_start_of(config), slot, batch);
    } else {
      pack_decoder_only(*example, slot, batch);
    }
  }
  for (std::size_t t = before; t < batch.scored.size(); ++t) batch.scored[t].smoothing = smoothing;
}

ChoiceBatch pack(const std::vector<const ChoiceTokens*>& examples, const ModelConfig& config, std::int32_t slot,
                 double smoothing) {
  ChoiceBatch batch;
  append(batch, examples, config, slot, smoothing);
  return batch;
}

at::Tensor score_tokens(const Model& model, const std::vector<ScoredToken>& scored, const at::Tensor& hidden,
                        const ForwardOptions& options, at::Tensor* likeliest) {
  auto blocks = blocks_of(scored);
  for (Block& block : blocks)
    block.at_once = likeliest == nullptr && goes_backward_at_once(block, scored, hidden, options);
  const bool recomputed = logit_bytes(blocks, model) > options.kept_logit_bytes;
  // A block that is computed again goes backward by itself, through all that its logits were made of.
  ForwardOptions together = options;
  together.heads = recomputed ? nullptr : std::make_shared<std::map<std::int32_t, at::Tensor>>();
  const auto device = hidden.device();
  std::vector<at::Tensor> parts, best;
  std::vector<std::int64_t> order;
  for (const Block& block : blocks) {
    const at::Tensor smoothing = smoothing_of(scored, block).to(device);
    together.rows = chosen_runs(options.rows, block.rows);
    const LayerFunction score = score_of(model, block, smoothing, together, likeliest == nullptr ? nullptr : &best);
    const at::Tensor rows = hidden.index_select(0, at::tensor(block.rows, at::kLong).to(device));
    parts.push_back(recomputed && !block.at_once ? checkpointed(score, {rows}) : score({rows}));
    order.insert(order.end(), block.order.begin(), block.order.end());
  }
  std::vector<std::int64_t> place(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    place[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  const at::Tensor order_back = at::tensor(place, at::kLong).to(hidden.device());
  if (likeliest != nullptr) *likeliest = at::cat(best).index_select(0, order_back);
  return at::cat(parts).index_select(0, order_back);
}

at::Tensor token_log_probabilities(const Model& model, const ChoiceBatch& batch, const ForwardOptions& options,
                                   at::Tensor* likeliest) {
  ForwardOptions reading = options, scoring = options;
  scoring.rows = slot_runs(batch.input.decoder);
  std::vector<ScoredToken> scored = batch.scored;
  if (!at::GradMode::is_enabled()) {  // to go backward takes a tensor of zeros for the rows that are left out
    reading.asked = rows_asked_for(scored);
    scoring.rows = chosen_runs(scoring.rows, reading.asked);
    for (ScoredToken& token : scored)
      token.row = std::lower_bound(reading.asked.begin(), reading.asked.end(), token.row) - reading.asked.begin();
  }
  return score_tokens(model, scored, model.forward(batch.input, reading), scoring, likeliest);
}

at::Tensor sum_by_choice(const at::Tensor& per_token, const ChoiceBatch& batch) {
  std::vector<std::int64_t> choice;
  for (const auto& token : batch.scored) choice.push_back(token.choice);
  return at::zeros({batch.choices()}, per_token.options())
      .index_add(0, at::tensor(choice, at::kLong).to(per_token.device()), per_token);
}

}  // namespace graft
