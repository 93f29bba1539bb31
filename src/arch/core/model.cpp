#include "arch/core/model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "arch/core/architecture.h"
#include "arch/core/weight_memory.h"
#include "base/error.h"
#include "base/suggest.h"
#include "checkpoint/kept_blocks.h"
#include "nn/kv_cache.h"
#include "nn/layer_checkpoint.h"
#include "nn/learns.h"

namespace graft {
namespace {

const Architecture& architecture_of(const ModelConfig& config, const std::string& path) {
  std::vector<std::string> known;
  for (const Architecture* architecture : arch::registry()) {
    if (config.architecture == architecture->name) return *architecture;
    known.emplace_back(architecture->name);
  }
  fail(Category::Unsupported, path, "architecture '{}' is not supported{}", config.architecture,
       did_you_mean(config.architecture, known));
}

// Once for each model: a verb may open it several times.
void tell_left_out(const ModelFiles& files) {
  static std::mutex mutex;
  static std::set<std::filesystem::path> told;
  const std::lock_guard lock(mutex);
  if (files.left_out == 0 || !told.insert(files.path).second) return;
  std::fprintf(stderr, "graft: note: %s reads images too: its text model is used, the other %zu tensors are left out\n",
               files.path.string().c_str(), files.left_out);
}

// Of fewer values quantising takes no time.
bool worth_keeping_blocks(const TensorSource& weights) {
  constexpr std::int64_t kLeastValues = 1 << 24;
  std::int64_t values = 0;
  for (const TensorInfo& info : weights.tensors()) values += info.elements();
  return values >= kLeastValues;
}

// Of what `loader` would load with `options`, and of the same files loaded otherwise.
void refuse_without_room(const ModelFiles& files, const Architecture& architecture, const ParameterLoader& loader,
                         const std::shared_ptr<const TensorSource>& weights, const ModelOptions& options,
                         const std::string& path) {
  if (!options.device.is_cpu()) return;  // a GPU's memory is another
  refuse_oversized(path, options, [&](const ModelOptions& how) {
    const bool same = how.dtype == options.dtype && how.weights == options.weights;
    ParameterLoader outline = same ? loader.outlined() : ParameterLoader::outline(how.dtype, how.weights, weights);
    return architecture.create(files.config, outline);
  });
}

void check_cache(const Forest& forest, const KvCache* cache) {
  std::set<std::int32_t> named;
  for (std::size_t s = 0; s < forest.segments.size(); ++s) {
    const Segment& segment = forest.segments[s];
    if (segment.cache < 0) continue;
    const auto where = fmt::format("decoder segment {}", s);
    if (cache == nullptr)
      fail(Category::InvalidArgument, where, "names cache sequence {}, but ForwardOptions::cache is not set",
           segment.cache);
    if (segment.cache >= cache->sequences())
      fail(Category::InvalidArgument, where, "names cache sequence {} of {}", segment.cache, cache->sequences());
    if (!named.insert(segment.cache).second)
      fail(Category::InvalidArgument, where, "names cache sequence {} a second time; use one segment for each",
           segment.cache);
  }
}

// Their places among the planned rows are looked up.
void check_asked(const Forest& forest, const std::vector<std::int64_t>& asked) {
  for (const std::int64_t token : asked) {
    if (token < 0 || token >= forest.size())
      fail(Category::InvalidArgument, "decoder", "token {} of {} is asked for", token, forest.size());
  }
}

void advance(const Forest& forest, KvCache* cache) {
  for (const auto& segment : forest.segments) {
    if (segment.cache >= 0) cache->advance(segment.cache, segment.length);
  }
}

// The input with the adapters' virtual tokens in or before its texts; the input itself where no adapter has any.
class VirtualTokens {
 public:
  VirtualTokens(const StepInput& input, const ForwardOptions& options) : given_(input) {
    const auto has_any = [](const SiteHooks* hooks) {
      return hooks != nullptr && hooks->virtual_tokens(Stack::Decoder) + hooks->virtual_tokens(Stack::Encoder) > 0;
    };
    if (std::none_of(options.slots.begin(), options.slots.end(), has_any)) return;
    extended_.emplace();
    extend(input.encoder, Stack::Encoder, options, extended_->encoder);
    rows_ = extend(input.decoder, Stack::Decoder, options, extended_->decoder);
  }

  const StepInput& input() const { return extended_ ? *extended_ : given_; }

  /// Of [N, C] in the extended order, the rows of the tokens that were given, in their order.
  at::Tensor real_rows(const at::Tensor& hidden) const {
    return extended_ ? hidden.index_select(0, at::tensor(rows_, at::kLong).to(hidden.device())) : hidden;
  }

  /// Given tokens of the decoder as they are counted in the extended order.
  std::vector<std::int64_t> places(std::vector<std::int64_t> tokens) const {
    if (!extended_) return tokens;
    for (std::int64_t& token : tokens) token = rows_[static_cast<std::size_t>(token)];
    return tokens;
  }

 private:
  // Before which token of a segment they go, and how many.
  struct Place {
    std::int64_t before = 0, count = 0;
  };

  static Place place(const Segment& segment, Stack stack, const ForwardOptions& options) {
    const SiteHooks* hooks = segment.slot < 0 ? nullptr : options.slots.at(static_cast<std::size_t>(segment.slot));
    if (hooks == nullptr) return {};
    if (hooks->infix())
      return segment.prompt_end > 0 ? Place{segment.prompt_end - 1, hooks->virtual_tokens(stack)} : Place{};
    // Texts that go on a cache had theirs with the first tokens.
    const bool begins = segment.parent < 0 && (segment.cache < 0 || options.cache->length(segment.cache) == 0);
    return {0, begins ? hooks->virtual_tokens(stack) : 0};
  }

  // A text that is kept in a cache, or reads an encoder's, has rows of its own.
  static bool shares(const Segment& segment, Stack stack, const ForwardOptions& options) {
    return stack == Stack::Decoder && segment.cache < 0 && segment.source < 0 &&
           shares_virtual_tokens(*options.slots.at(static_cast<std::size_t>(segment.slot)), stack);
  }

  // The root of nothing but virtual tokens that a slot's texts go on.
  static std::int32_t front(std::int32_t slot, std::int64_t count, std::map<std::int32_t, std::int32_t>& fronts,
                            Forest& to) {
    const auto [found, fresh] = fronts.try_emplace(slot, static_cast<std::int32_t>(to.segments.size()));
    if (!fresh) return found->second;
    to.add(std::vector<std::int64_t>(static_cast<std::size_t>(count), 0), -1, slot);
    to.segments.back().virtual_tokens = count;
    return found->second;
  }

  static std::vector<std::int64_t> extend(const Forest& from, Stack stack, const ForwardOptions& options, Forest& to) {
    std::vector<std::int64_t> rows(from.tokens.size());
    std::map<std::int32_t, std::int32_t> fronts;  // by slot
    std::vector<std::int32_t> places;             // of the given segments
    for (const Segment& segment : from.segments) {
      Place own = place(segment, stack, options);
      std::int32_t parent = segment.parent < 0 ? -1 : places[static_cast<std::size_t>(segment.parent)];
      if (own.count > 0 && shares(segment, stack, options)) {
        parent = front(segment.slot, own.count, fronts, to);
        own = {};
      }
      places.push_back(static_cast<std::int32_t>(to.segments.size()));
      Segment longer = segment;
      longer.parent = parent;
      longer.begin = to.size();
      longer.length = segment.length + own.count;
      longer.virtual_tokens = own.count;
      longer.first_virtual = own.before;
      for (std::int64_t i = 0; i < segment.length; ++i) {
        if (i == own.before) to.tokens.resize(to.tokens.size() + static_cast<std::size_t>(own.count), 0);
        rows[static_cast<std::size_t>(segment.begin + i)] = to.size();
        to.tokens.push_back(from.tokens[static_cast<std::size_t>(segment.begin + i)]);
      }
      to.segments.push_back(longer);
    }
    return rows;
  }

  const StepInput& given_;
  std::optional<StepInput> extended_;
  std::vector<std::int64_t> rows_;
};

// Gives back and fetches the mapped weights of a stack's layers while a pass goes through them, where they are
// streamed.
class LayerStream {
 public:
  LayerStream(const Model& model, Stack stack) : pages_(model.parameters().residency()), streams_(pages_.streams()) {
    if (streams_) layers_ = std::make_shared<const Layers>(model.layer_weights(stack));
  }

  /// `input` are the hidden states that layer `l` is about to read. Their gradient is there when everything of the
  /// layer has gone backward that needs its weights: it is not at the first layer where the embeddings are frozen,
  /// whose pages stay until the next pass.
  void begin(std::size_t l, const at::Tensor& input) const {
    if (!streams_) return;
    if (l + 1 < layers_->size()) pages_.prefetch((*layers_)[l + 1]);
    if (!learns(input)) return;
    input.register_hook([pages = &pages_, layers = layers_, l](const at::Tensor&) {
      pages->release((*layers)[l]);
      if (l >= 2) pages->prefetch((*layers)[l - 2]);  // the one in between is read now
    });
  }
  void end(std::size_t l) const {
    if (streams_) pages_.release((*layers_)[l]);
  }

 private:
  using Layers = std::vector<std::vector<std::int64_t>>;

  const Residency& pages_;
  bool streams_;
  std::shared_ptr<const Layers> layers_;
};

// What stands behind the hidden states (the encoder's, biases) is given to every layer. Each reads it through a view of
// its own, in which the gradients of the layer come together before they meet those of others, as in a layer that is
// recomputed: sums in another order would be other bits.
std::vector<at::Tensor> own_views(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> views = inputs;
  for (std::size_t i = 1; i < views.size(); ++i) {
    if (views[i].defined() && learns(views[i])) views[i] = views[i].view_as(views[i]);
  }
  return views;
}

// Whose the `count` hidden rows are; the base's, where the adapters do nothing to the head.
std::vector<SlotRun> rows_of(const ForwardOptions& options, std::int64_t count) {
  if (!changes_head(options.slots)) return std::vector<SlotRun>{SlotRun{{0, count}, -1}};
  if (options.rows.empty() && options.slots.size() == 1) return std::vector<SlotRun>{SlotRun{{0, count}, 0}};
  const TokenRange last = options.rows.empty() ? TokenRange{} : options.rows.back().tokens;
  if (last.begin + last.length != count)
    fail(Category::Internal, "logits", "{} of {} rows say which adapter's they are", last.begin + last.length, count);
  return options.rows;
}

// What the adapter of a slot has in place of table `index` for its rows: [V, C], or an undefined tensor.
at::Tensor other_head(const SlotRows& rows, std::int32_t slot, std::int64_t index, const ForwardOptions& options,
                      at::ScalarType dtype) {
  const SiteHooks* hooks = rows.hooks(slot);
  const bool replaces = hooks != nullptr && hooks->replaces_parameters();
  if (hooks == nullptr || (replaces && hooks != rows.alone())) return {};
  at::Tensor made;
  at::Tensor& table = options.heads == nullptr ? made : (*options.heads)[slot];
  if (table.defined()) return table;
  table = hooks->head_table();
  if (!table.defined() && replaces) table = hooks->parameter(index);
  // One that learns is rounded for each product by itself, so that their gradients are added up with all digits.
  if (table.defined() && !learns(table)) table = table.to(dtype);
  return table;
}

// By slot, of the slots that have one.
std::map<std::int32_t, at::Tensor> other_heads(const SlotRows& rows, std::int64_t index, const ForwardOptions& options,
                                               at::ScalarType dtype) {
  std::map<std::int32_t, at::Tensor> heads;
  for (const SlotRun& run : rows.runs()) {
    if (heads.count(run.slot) > 0) continue;
    const at::Tensor table = other_head(rows, run.slot, index, options, dtype);
    if (table.defined()) heads.emplace(run.slot, table);
  }
  return heads;
}

}  // namespace

std::vector<std::vector<std::int64_t>> Model::layer_weights(Stack stack) const {
  std::vector<std::vector<std::int64_t>> layers;
  for (const RoleEntry& entry : roles()) {
    if ((entry.site.stack == Stack::Cross ? Stack::Decoder : entry.site.stack) != stack) continue;
    const auto l = static_cast<std::size_t>(entry.site.layer);
    if (layers.size() <= l) layers.resize(l + 1);
    // A fused map plays several roles, one behind the other.
    const std::int64_t weight = parameters_.index(entry.weight);
    if (layers[l].empty() || layers[l].back() != weight) layers[l].push_back(weight);
  }
  return layers;
}

at::Tensor Model::run_layers(Stack stack, std::size_t count, std::vector<at::Tensor> inputs,
                             const ForwardOptions& options, const LayerOfStack& layer) const {
  const LayerStream stream(*this, stack);
  for (std::size_t l = 0; l < count; ++l) {
    stream.begin(l, inputs[0]);
    const LayerFunction function = [layer, l](const std::vector<at::Tensor>& in) { return layer(l, in); };
    inputs[0] = options.checkpoint_layers ? checkpointed(function, inputs) : function(own_views(inputs));
    stream.end(l);
  }
  return inputs[0];
}

PlanOptions Model::plan_options(const ForwardOptions& options) const {
  PlanOptions plan;
  plan.device = device();
  plan.cache = options.cache;
  plan.window = config_.sliding_window.value_or(0);
  plan.joins = at::GradMode::is_enabled() && options.activations != Activations::BatchInvariant;
  return plan;
}

at::Tensor Model::embeddings(const std::vector<std::int64_t>& ids) const {
  return parameters_.store(embedding_).rows(at::tensor(ids, at::kLong).to(device())).to(at::kFloat) *
         config_.embedding_scale;
}

Norm Model::take_norm(ParameterLoader& loader, const std::string& module, std::int64_t size, bool bias,
                      const std::string& hidden_prefix) {
  const std::int64_t weight = loader.take(module + ".weight", {size});
  const Norm norm{weight, bias ? loader.take(module + ".bias", {size}) : -1};
  norms_.push_back({hidden_prefix + module, norm.weight, norm.bias});
  return norm;
}

at::Tensor Model::parameter(std::int64_t index, const ForwardOptions& options) const {
  const at::Tensor replaced = replacement(standing_alone(options.slots), index, dtype());
  return replaced.defined() ? replaced : parameters_.value(index);
}

at::Tensor Model::project(const at::Tensor& hidden, std::int64_t index, const ForwardOptions& options) const {
  const SlotRows rows(parameters_, options.slots, rows_of(options, hidden.size(0)), options.activations);
  const auto others = other_heads(rows, index, options, dtype());
  const bool all_other = !others.empty() && std::all_of(rows.runs().begin(), rows.runs().end(),
                                                        [&](const SlotRun& run) { return others.count(run.slot) > 0; });
  // The base's head is read once for all rows, also for those between them that have another.
  const at::Tensor bare =
      all_other ? at::Tensor()
                : parameters_.store(index).linear(hidden, Layout::OutIn, std::nullopt, options.activations);
  const auto by_slot = [&](std::int32_t slot, const at::Tensor& part, TokenRange range) {
    const auto other = others.find(slot);
    return other == others.end() ? bare.narrow(0, range.begin, range.length)
                                 : exact_linear(part, other->second.to(dtype()), std::nullopt, options.activations);
  };
  const at::Tensor logits = others.empty() ? bare : rows.by_run(hidden, by_slot);
  const Linear head{kHeadSite, index, -1, Layout::OutIn};
  return rows.adapt_output(kHeadSite, hidden, rows.changed_output(head, hidden, logits));
}

void Model::note_tables(const std::vector<std::pair<Stack, std::string>>& embeddings, std::int64_t head) {
  const std::int64_t vocabulary = config_.vocab_size, width = config_.hidden_size;
  for (const auto& [stack, module] : embeddings) {
    RoleEntry entry{
        embedding_site(stack), parameters_.name(embedding_), "", Layout::InOut, vocabulary, width, 0, width};
    entry.module_name = module;
    tables_.push_back(entry);
  }
  RoleEntry entry{kHeadSite, parameters_.name(head), "", Layout::OutIn, width, vocabulary, 0, vocabulary};
  entry.module_name = "lm_head";
  tables_.push_back(entry);
}

at::Tensor Model::forward(const StepInput& input, const ForwardOptions& options) const {
  validate(input, config_.vocab_size);
  if (input.decoder.tokens.empty()) fail(Category::InvalidArgument, "decoder", "the batch has no tokens");
  check_cache(input.decoder, options.cache);
  check_asked(input.decoder, options.asked);
  const VirtualTokens extended(input, options);
  ForwardOptions reading = options;
  reading.asked = extended.places(options.asked);
  const at::Tensor hidden = run(extended.input(), reading);
  advance(extended.input().decoder, options.cache);
  return options.asked.empty() ? extended.real_rows(hidden) : hidden;
}

std::unique_ptr<Model> load_model(const std::string& path, const ModelOptions& options) {
  ModelFiles files = open_model_files(path);
  const Architecture& architecture = architecture_of(files.config, path);
  tell_left_out(files);
  const std::shared_ptr<const TensorSource> weights = std::move(files.weights);
  ParameterLoader loader(weights, options.dtype, options.device, options.weights);
  if (loading_type(options.weights) && worth_keeping_blocks(*weights)) {
    const std::filesystem::path folder = weight_cache_folder();
    if (!folder.empty()) loader.keep_blocks(folder);
  }
  try {
    refuse_without_room(files, architecture, loader, weights, options, path);
    return architecture.create(files.config, loader);
  } catch (const Error& error) {
    if (!error.context().empty()) throw;
    throw error.within(path);
  }
}

std::unique_ptr<Model> outline_model(const ModelConfig& config) {
  return outline_model(config, WeightFormat::Dense, nullptr);
}

std::unique_ptr<Model> outline_model(const ModelConfig& config, WeightFormat format,
                                     std::shared_ptr<const TensorSource> file) {
  ParameterLoader loader = ParameterLoader::outline(at::kBFloat16, format, std::move(file));
  return architecture_of(config, "config.json").create(config, loader);
}

void fail_not_finite(const Model& model, const std::string& where) {
  for (const auto& parameter : model.parameters().all()) {
    if (parameter.value().isfinite().all().item<bool>()) continue;
    fail(Category::Corruption, where, "the model's tensor {} holds NaN or infinity; fetch the model again",
         parameter.name);
  }
  fail(Category::Corruption, where,
       "the result is not a number though the model's tensors are; look at config.json and the adapter, or lower the "
       "learning rate");
}

}  // namespace graft
