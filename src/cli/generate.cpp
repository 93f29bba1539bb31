// graft generate: a model, with or without an adapter, writes a text on or answers in a conversation.
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/decoding_options.h"
#include "cli/core/job.h"
#include "cli/core/options.h"
#include "cli/core/pass_memory.h"
#include "cli/core/profiling.h"
#include "cli/core/prompt_logits.h"
#include "cli/core/verb.h"
#include "cli/core/writers.h"
#include "cli/core/writing_plan.h"
#include "cli/core/writing_requests.h"
#include "generate/chat.h"
#include "generate/decode.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string model, prompt, prompt_file, prompts, system, dtype, weights = "auto", memory, logits, profile;
  std::vector<std::string> adapters, stop;
  SamplingOptions sampling;
  BeamOptions beam;
  DecodingArguments decoding;
  std::string early_stopping = "false";
  std::int64_t max_new_tokens = 256, samples = 1;
  std::uint64_t seed = 0;
  bool json = false, ignore_eos = false, chat = false, with_base = false;
};

Arguments arguments;
const std::string kChooseWriter = "/adapter";
CLI::App* command = nullptr;

using Requests = std::vector<WritingRequest>;

bool prompt_given() {
  return command->count("--prompt") + command->count("--prompt-file") + command->count("--prompts") > 0;
}

std::vector<std::int64_t> encode(const Tokenizer& tokenizer, const std::string& text) {
  if (arguments.chat) return Chat(tokenizer, arguments.system).ask(text);
  const auto ids = tokenizer.encode(text, /*add_special=*/true);
  return {ids.begin(), ids.end()};
}

Requests read_requests(const Tokenizer& tokenizer, const Writers& writers) {
  const PromptForm form{[&tokenizer](const std::string& text) { return encode(tokenizer, text); }, arguments.chat};
  if (!arguments.prompts.empty()) return read_requests_file(arguments.prompts, form, writers);
  if (!arguments.prompt_file.empty())
    return requests_for(arguments.prompt_file, read_file(arguments.prompt_file), form, writers);
  if (command->count("--prompt") > 0) return requests_for("--prompt", arguments.prompt, form, writers);
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  return requests_for("standard input", text, form, writers);
}

bool names_base(const Requests& requests) {
  return std::any_of(requests.begin(), requests.end(), [](const auto& request) { return request.slot < 0; });
}

// Told here, where it is still known which line is meant.
void check(const Requests& requests, std::int64_t vocabulary, const LoadedWriters& loaded) {
  for (const auto& request : requests) {
    if (request.slot < 0) loaded.refuse_missing_base(request.where);
    if (request.ids.empty())
      fail(Category::InvalidArgument, request.where, "the prompt is empty; give at least one token");
    for (const auto id : request.ids) {
      if (id < 0 || id >= vocabulary)
        fail(Category::InvalidArgument, request.where, "token id {} is outside the model's vocabulary of {}", id,
             vocabulary);
    }
  }
}

// Writers of one prompt draw with the same seeds, so that what differs is theirs.
std::vector<Prompt> prompts_of(const Requests& requests) {
  const auto samples = static_cast<std::uint64_t>(arguments.samples);
  std::vector<Prompt> prompts;
  for (const auto& request : requests) {
    for (std::uint64_t sample = 0; sample < samples; ++sample)
      prompts.push_back({request.ids, arguments.seed + request.number * samples + sample, request.slot});
  }
  return prompts;
}

void print_json(const Requests& requests, const std::vector<Prompt>& prompts, const std::vector<Generated>& results,
                const Writers& writers, bool speculates) {
  const bool named = several_writers(requests);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& request = requests[i / static_cast<std::size_t>(arguments.samples)];
    Json line = {{"prompt", request.text},  {"prompt_ids", request.ids},       {"ids", results[i].tokens},
                 {"text", results[i].text}, {"stop", name(results[i].reason)}, {"seed", prompts[i].seed}};
    if (named) line["adapter"] = writers.name_of(request.slot);
    if (speculates) {
      line["passes"] = results[i].passes;
      line["proposed"] = results[i].proposed;
      line["accepted"] = results[i].accepted;
    }
    fmt::print("{}\n", json_text(line));
  }
}

void print_texts(const Requests& requests, const std::vector<Generated>& results, const Writers& writers) {
  const bool named = several_writers(requests);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& request = requests[i / static_cast<std::size_t>(arguments.samples)];
    fmt::print("--- {}{}\n{}\n", i, named ? " " + writers.name_of(request.slot) : "", results[i].text);
  }
}

void print_closing(const std::vector<Generated>& results, double seconds, bool speculates) {
  std::size_t tokens = 0;
  std::int64_t passes = 0, proposed = 0, accepted = 0;
  for (const auto& result : results) {
    tokens += result.tokens.size();
    passes += result.passes;
    proposed += result.proposed;
    accepted += result.accepted;
  }
  fmt::print(stderr, "{} tokens in {} ({:.1f} a second), stopped by {}{}\n", tokens, human_seconds(seconds),
             static_cast<double>(tokens) / std::max(seconds, 1e-9), name(results.back().reason),
             speculates
                 ? fmt::format("; {} tokens proposed, {} accepted, {:.2f} written a pass", proposed, accepted,
                               static_cast<double>(tokens) / static_cast<double>(std::max<std::int64_t>(passes, 1)))
                 : "");
}

bool write_out(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  return std::ferror(stdout) == 0;  // the reader of a pipe went away
}

int exit_code_of(const Generated& last) {
  return last.reason == StopReason::Cancelled ? exit_code(Category::Cancelled) : 0;
}

// Behind a first token, which lays out the weights.
std::unique_ptr<Profile> begin_profile(const Model& model, const std::vector<Prompt>& prompts,
                                       GenerateOptions options) {
  if (arguments.profile.empty()) return nullptr;
  options.max_new_tokens = 1;
  generate(model, prompts, options);
  return std::make_unique<Profile>();
}

void end_profile(Profile& profile, const std::vector<Generated>& results) {
  std::size_t longest = 1;
  for (const auto& result : results) longest = std::max(longest, result.tokens.size());
  print_profile(profile.end(arguments.profile), static_cast<std::int64_t>(longest), "token", arguments.profile, stderr);
}

GenerateOptions options_of(const Tokenizer& tokenizer) {
  GenerateOptions options;
  options.sampling = arguments.sampling;
  options.beam = arguments.beam;
  options.beam.early_stopping = early_stopping_of(arguments.early_stopping);
  set_decoding(arguments.decoding, options);
  options.max_new_tokens = arguments.max_new_tokens;
  options.ignore_eos = arguments.ignore_eos;
  options.stop = arguments.stop;
  options.tokenizer = &tokenizer;
  if (arguments.dtype == "float32") options.activations = Activations::Exact;
  if (arguments.chat) options.end_tokens = Chat(tokenizer, arguments.system).end_tokens();
  return options;
}

// What was asked for and would do nothing.
void refuse_idle_options() {
  const SamplingOptions& given = arguments.sampling;
  const SamplingOptions standard{};
  const std::pair<const char*, bool> filters[] = {{"--top-k", given.top_k != standard.top_k},
                                                  {"--top-p", given.top_p != standard.top_p},
                                                  {"--min-p", given.min_p != standard.min_p}};
  for (const auto& [option, set] : filters) {
    if (set && given.greedy())
      fail(Category::InvalidArgument, option,
           "filters what is drawn, and at temperature 0 nothing is; give --temperature 1 too, or leave it out");
  }
  for (const char* option : {"--length-penalty", "--early-stopping"}) {
    if (arguments.beam.beams == 1 && command->count(option) > 0)
      fail(Category::InvalidArgument, option, "is of a search with beams; give --beams 4 too, or leave it out");
  }
  if (arguments.samples > 1 && given.greedy())
    fmt::print(stderr, "graft: note: at temperature 0 all samples of a prompt are the same; --temperature 1 draws\n");
}

// Of a conversation and of a plan, which have nothing to write there.
void refuse_files(const char* why) {
  const std::pair<const char*, bool> files[] = {{"--logits", !arguments.logits.empty()},
                                                {"--profile", !arguments.profile.empty()}};
  for (const auto& [option, given] : files) {
    if (given) fail(Category::InvalidArgument, option, "{}", why);
  }
}

void refuse_beside_conversation() {
  constexpr const char* kWhy =
      "is of prompts that are given, and this is a conversation; give --prompt too, or leave it out";
  refuse_files(kWhy);
  if (arguments.samples > 1) fail(Category::InvalidArgument, "--samples", "{}", kWhy);
}

bool asks_for_conversation() {
  return arguments.chat && !prompt_given() && !arguments.json && ::isatty(STDIN_FILENO) == 1;
}

std::unique_ptr<Model> model_beside(const Tokenizer& tokenizer, const MemoryBudget& budget) {
  ModelOptions how = writing_model(arguments.model, arguments.dtype, arguments.weights);
  how.memory = budget.said();
  auto model = load_model(arguments.model, how);
  check_base(*model, tokenizer, arguments.model);
  return model;
}

// What run() and plan() begin with.
class Opened {
 public:
  explicit Opened(bool conversation)
      : budget(memory_budget(arguments.memory)),
        tokenizer((refuse_idle_options(), open_tokenizer(arguments.model))),
        options(options_of(*tokenizer)),
        writers(arguments.adapters, arguments.with_base),
        requests(conversation ? Requests() : read_requests(*tokenizer, writers)),
        model(model_beside(*tokenizer, budget)),
        loaded(*model, *tokenizer, writers, conversation || names_base(requests)) {
    if (arguments.with_base) loaded.refuse_missing_base("--with-base");
    check(requests, model->config().vocab_size, loaded);
    options.slots = loaded.slots();
    drop_idle_speculation(*model, options);
    // How long a conversation grows nobody knows.
    const auto prompts = conversation ? std::vector<Prompt>{Prompt{{0}, 0, -1}} : prompts_of(requests);
    fit = fit_passes(*model, writing_needs(*model, prompts, options), budget);
  }
  Opened(const Opened&) = delete;  // the options refer to its parts

  const MemoryBudget budget;
  const std::shared_ptr<const Tokenizer> tokenizer;
  GenerateOptions options;
  const Writers writers;
  const Requests requests;
  const std::unique_ptr<Model> model;
  const LoadedWriters loaded;
  MemoryFit fit;
};

// "/adapter NAME": who answers from here on, the conversation so far included.
std::int32_t chosen_writer(const std::string& message, const Writers& writers, std::int32_t now) {
  const std::size_t name = message.find_first_not_of(' ', kChooseWriter.size());
  std::int32_t chosen = now;
  try {
    if (name != std::string::npos) chosen = writers.slot_of(message.substr(name), "/adapter");
  } catch (const Error& error) {  // a slip does not end a conversation
    fmt::print(stderr, "{}\n", error.what());
    return now;
  }
  fmt::print(stderr, "{} answers (known: {})\n", writers.name_of(chosen), fmt::join(writers.names(), ", "));
  return chosen;
}

bool chooses_writer(const std::string& message) {
  return message == kChooseWriter || message.starts_with(kChooseWriter + " ");
}

// The person and the model take turns until the person leaves.
int converse(const Opened& opened) {
  Chat chat(*opened.tokenizer, arguments.system);
  std::int32_t slot = opened.writers.slots().front();
  fmt::print(stderr, "Write a message; {}/exit or Ctrl-D ends.\n",
             opened.writers.adapters().empty() ? "" : "/adapter NAME changes who answers; ");
  for (std::uint64_t turn = 0;; ++turn) {
    fmt::print(stderr, "> ");
    std::string message;
    if (!std::getline(std::cin, message) || message == "/exit") return 0;
    if (message.empty()) continue;
    if (chooses_writer(message)) {
      slot = chosen_writer(message, opened.writers, slot);
      continue;
    }
    const std::vector<Prompt> prompt = {{chat.ask(message), arguments.seed + turn, slot}};
    const auto answer =
        generate(*opened.model, prompt, opened.options, [](std::size_t, std::int64_t, const std::string& text) {
          return write_out(text);
        }).front();
    write_out((opened.options.beam.beams > 1 ? answer.text : "") + "\n");
    if (answer.reason == StopReason::Cancelled) return exit_code_of(answer);
    chat.answer(answer.text);
  }
}

int write_on(const Opened& opened) {
  const GenerateOptions& options = opened.options;
  if (!arguments.logits.empty()) write_logits(arguments.logits, *opened.model, opened.requests, options);
  const auto prompts = prompts_of(opened.requests);
  const bool streaming = prompts.size() == 1 && !arguments.json && options.beam.beams == 1;
  const bool speculates = options.speculation.tokens > 0;
  const auto profile = begin_profile(*opened.model, prompts, options);
  const auto started = Clock::now();
  const auto results = generate(
      *opened.model, prompts, options,
      [streaming](std::size_t, std::int64_t, const std::string& text) { return write_out(streaming ? text : ""); });
  const double seconds = seconds_since(started);
  if (arguments.json) {
    print_json(opened.requests, prompts, results, opened.writers, speculates);
  } else if (streaming) {
    write_out("\n");
  } else if (results.size() == 1) {
    write_out(results.front().text + "\n");
  } else {
    print_texts(opened.requests, results, opened.writers);
  }
  print_closing(results, seconds, speculates);
  if (profile) end_profile(*profile, results);
  return exit_code_of(results.back());
}

int run() {
  const bool conversation = asks_for_conversation();
  if (conversation) refuse_beside_conversation();
  const Opened opened(conversation);
  settle(opened.fit);
  return conversation ? converse(opened) : write_on(opened);
}

void plan(bool json) {
  refuse_files("is a file that graft generate writes, and graft plan does not; leave it out");
  if (asks_for_conversation())
    fail(Category::InvalidArgument, "--chat",
         "without a prompt is a conversation, whose length nobody knows; give one");
  const auto began = Clock::now();
  const Opened opened(false);
  const double load_seconds = seconds_since(began);
  const auto prompts = prompts_of(opened.requests);
  print_plan(plan_writing(*opened.model, prompts, opened.options, load_seconds, opened.fit), json || arguments.json);
}

void declare(CLI::App& app) {
  app.callback([&app] { command = &app; });  // graft plan declares them too
  app.add_option("--model", arguments.model, "model folder or .gguf file")->required();
  app.add_option("--adapter", arguments.adapters,
                 std::string(kAdapterFiles) +
                     "; several times, or NAME=PATH: all write in one batch, a prompt that names none by each of them")
      ->allow_extra_args(false);
  app.add_flag("--with-base", arguments.with_base, "the model without an adapter writes too, first");
  auto* text = app.add_option("--prompt", arguments.prompt, "the text to go on from (default: standard input)");
  auto* file = app.add_option("--prompt-file", arguments.prompt_file, "read the prompt from this file")->excludes(text);
  app.add_option("--prompts", arguments.prompts,
                 "many prompts as one batch, a line each: a JSON string, a list of token ids, or {\"prompt\": either, "
                 "\"adapter\": NAME or \"base\"}")
      ->excludes(text)
      ->excludes(file);
  auto* chat = app.add_flag("--chat", arguments.chat,
                            "the prompt is a message, put through the model's chat template; without a prompt, in a "
                            "terminal: a conversation, in which /adapter NAME changes who answers");
  app.add_option("--system", arguments.system, "with --chat: what the model is told first")->needs(chat);
  app.add_option("--max-new-tokens", arguments.max_new_tokens, "stop after so many")->capture_default_str();
  app.add_option("--temperature", arguments.sampling.temperature, "0: greedy; 1: as the model is; above: wilder")
      ->capture_default_str();
  app.add_option("--top-k", arguments.sampling.top_k, "draw from the k most probable tokens; 0: all")
      ->capture_default_str();
  app.add_option("--top-p", arguments.sampling.top_p, "draw from the most probable tokens that hold this much")
      ->capture_default_str();
  app.add_option("--min-p", arguments.sampling.min_p, "drop tokens below this fraction of the most probable one")
      ->capture_default_str();
  app.add_option("--repetition-penalty", arguments.sampling.repetition_penalty, "above 1: avoid tokens already there")
      ->capture_default_str();
  app.add_option("--no-repeat-ngram", arguments.sampling.no_repeat_ngram,
                 "no sequence of so many tokens twice, the prompt included; 0: no rule")
      ->capture_default_str();
  app.add_option("--beams", arguments.beam.beams, "keep so many texts and give the most probable; 1: no search")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--length-penalty", arguments.beam.length_penalty,
                 "with --beams: scores are divided by length to this power; above 0 favours longer texts")
      ->capture_default_str();
  app.add_option(
         "--early-stopping", arguments.early_stopping,
         "with --beams: true: stop at as many texts as beams; false: when better ones are unlikely; never: when "
         "impossible")
      ->check(CLI::IsMember({"true", "false", "never"}))
      ->capture_default_str();
  app.add_option("--stop", arguments.stop, "end before this text; may be given several times")->allow_extra_args(false);
  app.add_flag("--ignore-eos", arguments.ignore_eos, "go on behind the end-of-text token");
  app.add_option("--samples", arguments.samples, "texts for each prompt; their seeds count up from --seed")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "of the draws")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  app.add_option("--profile", arguments.profile,
                 "a table of what took the time, and in this file a trace that ui.perfetto.dev opens");
  add_writing_options(app, arguments.dtype, arguments.weights);
  add_memory_option(app, arguments.memory);
  add_decoding_options(app, arguments.decoding);
  app.add_option("--logits", arguments.logits, "also write the logits of the prompts to this safetensors file");
  app.add_flag("--json", arguments.json, "one JSON line a text: ids, text, why it stopped");
}

}  // namespace

namespace cli {
extern const Verb generate;
const Verb generate{
    "generate",
    "let a model write a text on",
    "  graft generate --model SmolLM2.gguf --prompt \"The capital of France is\"\n"
    "  graft generate --model my-model --adapter runs/latest/adapter --prompt-file article.txt --stop $'\\n'\n"
    "  graft generate --model my-model --adapter runs/bbc/adapter --with-base --prompt-file article.txt\n"
    "  graft generate --model my-model --adapter topic=runs/a/adapter --adapter tone=runs/b/adapter --prompts "
    "mixed.jsonl\n"
    "  graft generate --model my-model --prompt \"Once\" --temperature 0.8 --top-p 0.95 --samples 4 --seed 1\n"
    "  graft generate --model my-model --prompt-file facts.txt --beams 5 --length-penalty 0.9 --no-repeat-ngram 3\n"
    "  graft generate --model my-model --prompt-file minutes.txt --speculate auto\n"
    "  graft generate --model SmolLM2.gguf --chat --prompt \"What is the capital of France?\"\n"
    "  graft generate --model SmolLM2.gguf --chat --system \"You answer in rhymes.\"\n"
    "  echo \"Dear\" | graft generate --model my-model --json\n",
    declare,
    run,
    plan};
}  // namespace cli
}  // namespace graft
