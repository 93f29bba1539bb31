// Writing on: from prompts to new tokens, one at a time, with cached keys and values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "arch/core/model.h"
#include "generate/sampling.h"
#include "generate/speculation.h"
#include "nn/kv_cache.h"
#include "text/tokenizer.h"

namespace graft {

/// One sequence to write. For encoder–decoder models `tokens` is the encoder's input; the decoder begins with its start
/// token.
struct Prompt {
  std::vector<std::int64_t> tokens;
  std::uint64_t seed = 0;  ///< of this sequence alone: its text does not depend on its neighbours' draws
  std::int32_t slot = -1;  ///< adapter slot of GenerateOptions::slots; -1: the base model
};

enum class StopReason { Eos, StopString, Length, Context, Cancelled };

/// "eos", "stop string", "length", "context", "cancelled".
const char* name(StopReason reason);

/// When a search with beams ends: with as many finished texts as beams; when no running one seems to become better than
/// the worst of them; or only when none can.
enum class EarlyStopping { WhenFull, WhenUnlikely, Never };

struct BeamOptions {
  std::int64_t beams = 1;     ///< 1: no search
  double length_penalty = 1;  ///< scores are divided by length to this power: above 0 favours longer texts
  EarlyStopping early_stopping = EarlyStopping::WhenUnlikely;
};

/// "true", "false", "never", as transformers names them. Throws InvalidArgument for another word.
EarlyStopping early_stopping_of(const std::string& name);

class ReadPrefix;

struct GenerateOptions {
  SamplingOptions sampling;
  BeamOptions beam;
  SpeculationOptions speculation;
  std::int64_t max_new_tokens = 256;
  bool ignore_eos = false;               ///< go on behind the end-of-text token
  std::vector<std::int64_t> end_tokens;  ///< end a text beside the model's own end-of-text tokens
  std::vector<std::string> stop;         ///< stop strings; need a tokenizer
  const Tokenizer* tokenizer = nullptr;  ///< for text; without it only tokens are made
  std::vector<const SiteHooks*> slots;   ///< adapters
  /// Exact where every digit of a float32 model counts.
  Activations activations = Activations::EightBit;
  KvFormat kv_cache = KvFormat::Dense;
  /// What every prompt begins with and goes on from, read already, in the same format (read_prefix.h); null: none.
  const ReadPrefix* prefix = nullptr;
};

struct Generated {
  std::vector<std::int64_t> tokens;  ///< new tokens, the one that ended the text included
  std::string text;                  ///< without the stop string; empty without a tokenizer
  StopReason reason = StopReason::Length;
  std::int64_t passes = 0;    ///< of the model that made these tokens, the prompt's included; not counted with beams
  std::int64_t proposed = 0;  ///< tokens, by speculation
  std::int64_t accepted = 0;  ///< of these, the ones that were drawn
};

/// Called after each token with the index of its sequence and the text that became certain (may be empty, also when a
/// sequence ends and held-back text comes out). Returning false ends that sequence (Cancelled).
using OnToken = std::function<bool(std::size_t sequence, std::int64_t token, const std::string& text)>;

/// Writes all prompts on in one batch, each until an end-of-text token, a stop string, max_new_tokens or the model's
/// context; with beams, the best text of a search (beam.h), of which on_token hears nothing. After Ctrl-C every
/// sequence that still runs ends as Cancelled with what it has. Throws InvalidArgument for an empty prompt, one that
/// leaves no room in the context (with both numbers), one that does not begin with `prefix` or is no longer or of
/// another slot, a prefix kept in another format, or a bad option.
///
/// With options.speculation the text itself proposes what may follow, and a pass verifies that: from the logits behind
/// each proposed token the next one is drawn as ever, with the same random numbers, until it is another than proposed.
/// So nothing is accepted that would not have been drawn (for a certain proposal this is the rule of Leviathan et al.
/// 2023), and the texts are those without speculation as far as a row of a pass does not depend on how many there are
/// (docs/generate.md).
std::vector<Generated> generate(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
                                const OnToken& on_token = {});

/// Why nothing is proposed, whatever options.speculation says, for such a model and such options; empty where it is.
std::string speculation_obstacle(const Model& model, const GenerateOptions& options);

}  // namespace graft
