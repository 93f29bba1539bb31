#include "nn/attention.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "nn/activation.h"
#include "nn/attention_gradient.h"
#include "nn/attention_mask.h"
#include "nn/attention_product.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/single_query.h"
#include "nn/kv_cache.h"
#include "nn/learns.h"

namespace graft {
namespace {

at::Tensor gathered(const at::Tensor& x, const std::vector<TokenRange>& ranges) {
  if (ranges.size() == 1) return x.narrow(0, ranges[0].begin, ranges[0].length);
  std::vector<at::Tensor> parts;
  for (const auto& range : ranges) parts.push_back(x.narrow(0, range.begin, range.length));
  return at::cat(parts);
}

// [T, G, D] → [G, H/G, T, D] without copying: the query heads of a group share one key head.
at::Tensor by_group(const at::Tensor& x, std::int64_t ratio) {
  return x.permute({1, 0, 2}).unsqueeze(1).expand({x.size(1), ratio, x.size(0), x.size(2)});
}

// No fused kernel caps its scores.
at::Tensor capped_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& additive, const AttentionOptions& options) {
  const at::Tensor scores = soft_cap(at::matmul(q, k.transpose(-2, -1)) * options.scale, options.softcap);
  const at::Tensor masked = additive ? scores + *additive : scores;
  return at::matmul(at::softmax(masked, -1, at::kFloat).to(q.scalar_type()), v);
}

// Each group is a batch entry of H/G heads.
at::Tensor one_call(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask,
                    const at::Tensor& bias, bool causal, const AttentionOptions& options) {
  const std::int64_t heads = q.size(1), groups = k.size(1), dim = q.size(2), ratio = heads / groups;
  const at::Tensor query = q.view({q.size(0), groups, ratio, dim}).permute({1, 2, 0, 3});
  std::optional<at::Tensor> additive;
  if (bias.defined()) {
    const at::Tensor grouped = bias.unflatten(0, {groups, ratio});
    additive = mask.defined() ? grouped + mask : grouped;
  } else if (mask.defined()) {
    additive = mask;
  }
  const at::Tensor key = by_group(k, ratio), value = by_group(v, ratio);
  const at::Tensor out =
      options.softcap > 0 ? capped_attention(query, key, value, additive, options)
                          : at::scaled_dot_product_attention(query, key, value, additive, 0.0, causal, options.scale);
  return out.permute({2, 0, 1, 3}).reshape({q.size(0), heads * dim});
}

// The operation knows of one order alone, a text's own; a bias takes its place, so that it is then written out. What is
// written out is written for some of the queries at a time.
at::Tensor product_of(const AttentionCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const at::Tensor& bias, const AttentionOptions& options) {
  const std::int64_t queries = q.size(0), keys = k.size(0);
  const bool triangle = call.sight.ordered && call.sight.plain() && queries == keys;
  if (triangle && !bias.defined() && options.softcap == 0) return one_call(q, k, v, {}, {}, true, options);
  std::vector<at::Tensor> results;
  for (const MaskedPart& part : masked_parts(call.sight, queries, keys)) {
    const auto [first, count] = part.queries;
    const auto [from, seen] = part.keys;
    const at::Tensor mask = call.masks != nullptr ? call.masks->of(call.sight, part, queries, keys, q)
                                                  : mask_of(call.sight, part, queries, keys, q);
    const at::Tensor share = bias.defined() ? bias.narrow(1, first, count).narrow(2, from, seen) : bias;
    results.push_back(one_call(q.narrow(0, first, count), k.narrow(0, from, seen), v.narrow(0, from, seen), mask, share,
                               false, options));
  }
  return results.size() == 1 ? results.front() : at::cat(results);
}

// Keys and values of one call, cached ones first.
std::pair<HeadRows, HeadRows> visible(const AttentionCall& call, const at::Tensor& k, const at::Tensor& v,
                                      const AttentionOptions& options) {
  at::Tensor keys = gathered(k, call.keys), values = gathered(v, call.keys);
  if (call.cache < 0) return {HeadRows{keys, {}}, HeadRows{values, {}}};
  return options.cache->append(call.cache, options.layer, keys, values);
}

bool bias_learns(const std::vector<AttentionCall>& calls, const AttentionOptions& options) {
  if (!options.bias || !at::GradMode::is_enabled()) return false;
  for (std::size_t c = 0; c < calls.size(); ++c) {
    if (learns(options.bias(c))) return true;
  }
  return false;
}

// Whether the queries of a call are taken one by one, as in decoding: for one a kernel of LibTorch's is mostly set-up,
// and the results of a few are then those of as many steps, to the last bit. Behind a cached root several calls put
// their keys into the same place, one after the other, so that none of these can wait.
bool takes_single_queries(const AttentionCall& call) {
  return call.queries.length <= (call.continues ? kFewQueries : 1) && (call.cache < 0 || call.keys.size() == 1);
}

// Tokens [first, first + count) of a cache's pages, or else of the page of this call's own.
struct SeenTokens {
  const KvPages* cached = nullptr;
  KvPages own;
  std::int64_t first = 0, count = 0;

  const KvPages& pages() const { return cached != nullptr ? *cached : own; }
};

KvPages one_page(const at::Tensor& keys, const at::Tensor& values) {
  return {std::make_shared<KeyValues>(KeyValues{{keys, {}}, {values, {}}})};
}

// As visible(), of a call whose queries are taken one by one, and without views where they can be spared.
SeenTokens seen(const AttentionCall& call, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  const TokenRange& own = call.keys.front();
  if (call.cache >= 0) {
    const KvPages& pages = options.cache->put(call.cache, options.layer, k, v, own.begin, own.length);
    return {&pages, {}, 0, options.cache->length(call.cache) + own.length};
  }
  if (call.keys.size() == 1) return {nullptr, one_page(k, v), own.begin, own.length};
  const at::Tensor keys = gathered(k, call.keys);
  return {nullptr, one_page(keys, gathered(v, call.keys)), 0, keys.size(0)};
}

// Query `i` of a call over the tokens that its last query sees; bias [H, Tq, Tk], or undefined.
SingleQuery seen_by(const at::Tensor& q, const AttentionCall& call, std::int64_t i, const SeenTokens& tokens,
                    const at::Tensor& bias) {
  const auto [first, count] = call.sight.seen_by({i, 1}, call.queries.length, tokens.count);
  SingleQuery single{q, call.queries.begin + i, &tokens.pages(), tokens.first + first, count, {}};
  if (bias.defined()) single.bias = bias.select(1, i).narrow(1, first, count).to(at::kFloat).contiguous();
  return single;
}

// The results of the calls in `singles`, one below the other.
at::Tensor one_by_one(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::vector<AttentionCall>& calls, const std::vector<std::size_t>& singles,
                      const AttentionOptions& options) {
  const at::Tensor whole = q.contiguous();
  std::vector<SeenTokens> tokens;
  tokens.reserve(singles.size());  // queries point into them
  std::vector<SingleQuery> queries;
  for (const auto c : singles) {
    tokens.push_back(seen(calls[c], k, v, options));
    const at::Tensor bias = options.bias ? options.bias(c) : at::Tensor();
    for (std::int64_t i = 0; i < calls[c].queries.length; ++i)
      queries.push_back(seen_by(whole, calls[c], i, tokens.back(), bias));
  }
  return single_query_attention(queries, options.scale);
}

// A token's heads one behind the other.
at::Tensor by_token(const at::Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

// A call as threads compute it; q by_token().
AttentionProduct as_product(const AttentionCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& bias, double scale) {
  AttentionProduct product;
  product.q = q, product.k = k, product.v = v;
  product.queries = call.queries, product.keys = call.keys;
  if (bias.defined()) product.bias = (rows::readable(bias) ? bias : bias.to(at::kFloat)).contiguous();
  product.sight = call.sight;
  product.scale = scale;
  product.shared = call.blocks.get();
  return product;
}

// What of calls their gradient needs, as the numbers that autograd keeps: ranges, and who sees what.
class WrittenCalls {
 public:
  explicit WrittenCalls(std::vector<std::int64_t> numbers) : numbers_(std::move(numbers)) {}
  explicit WrittenCalls(const std::vector<AttentionCall>& calls) {
    for (const AttentionCall& call : calls) {
      put({call.queries});
      put(call.keys);
      numbers_.push_back(std::int64_t{call.sight.ordered});
      numbers_.push_back(call.sight.window);
      numbers_.push_back(static_cast<std::int64_t>(call.sight.paths.size()));
      for (const AttentionPath& path : call.sight.paths) {
        put({path.queries});
        put(path.keys);
      }
    }
  }

  const std::vector<std::int64_t>& numbers() const { return numbers_; }

  std::vector<AttentionCall> read() {
    std::vector<AttentionCall> calls;
    for (at_ = 0; at_ < numbers_.size();) {
      AttentionCall& call = calls.emplace_back();
      call.queries = ranges().front();
      call.keys = ranges();
      call.sight.ordered = next() != 0;
      call.sight.window = next();
      call.sight.paths.resize(static_cast<std::size_t>(next()));
      for (AttentionPath& path : call.sight.paths) {
        path.queries = ranges().front();
        path.keys = ranges();
      }
    }
    return calls;
  }

 private:
  void put(const std::vector<TokenRange>& ranges) {
    numbers_.push_back(static_cast<std::int64_t>(ranges.size()));
    for (const auto& [begin, length] : ranges) numbers_.insert(numbers_.end(), {begin, length});
  }

  std::int64_t next() { return numbers_[at_++]; }

  std::vector<TokenRange> ranges() {
    std::vector<TokenRange> found(static_cast<std::size_t>(next()));
    for (TokenRange& range : found) {
      range.begin = next();
      range.length = next();
    }
    return found;
  }

  std::vector<std::int64_t> numbers_;
  std::size_t at_ = 0;
};

struct Calls {
  const std::vector<AttentionCall>& calls;
  const AttentionOptions& options;
};

// All calls of a layer, forward and backward through one kind of products, so that the threads share them out and the
// gradients of what they read are put together in place: autograd would make a whole tensor of zeros for each range
// that each call reads.
class LearnedAttention : public torch::autograd::Function<LearnedAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const Calls* given) {
    const auto [calls, options] = *given;
    const at::Tensor queries = by_token(q), keys = by_token(k), values = by_token(v);
    at::Tensor result = rows::empty({q.size(0), q.size(1) * q.size(2)}, q.scalar_type()).zero_();
    std::vector<at::Tensor> saved = {q, k, v};
    std::vector<AttentionProduct> products;
    for (std::size_t c = 0; c < calls.size(); ++c) {
      const at::Tensor bias = options.bias ? options.bias(c) : at::Tensor();
      products.push_back(as_product(calls[c], queries, keys, values, bias, options.scale));
      saved.push_back(bias);  // as it is: all layers share it
    }
    attention_result(products, result);
    ctx->save_for_backward(saved);
    ctx->saved_data["calls"] = WrittenCalls(calls).numbers();
    ctx->saved_data["scale"] = options.scale;
    return result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor q = by_token(saved[0]), k = by_token(saved[1]), v = by_token(saved[2]);
    const auto calls = WrittenCalls(ctx->saved_data["calls"].toIntVector()).read();
    std::vector<AttentionProduct> products;
    for (std::size_t c = 0; c < calls.size(); ++c) {
      products.push_back(as_product(calls[c], q, k, v, saved[c + 3], ctx->saved_data["scale"].toDouble()));
    }
    const AttentionGradient gradient = attention_gradient(products, grads[0]);
    return {gradient.q, gradient.k, gradient.v, at::Tensor()};
  }
};

// Whether LearnedAttention can go backward: scores are scaled, added to and no more, with what is not trained.
bool goes_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const std::vector<AttentionCall>& calls, const AttentionOptions& options) {
  if (calls.empty() || (!learns(q) && !learns(k) && !learns(v))) return false;
  return rows::readable(q) && k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type() &&
         options.softcap == 0 && !bias_learns(calls, options) &&
         std::all_of(calls.begin(), calls.end(), [](const auto& call) { return call.cache < 0; });
}

// Whether it is computed here without gradients. Keys and values may be trained where the queries are not: those of the
// first layer.
bool reads_only(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<AttentionCall>& calls,
                const AttentionOptions& options) {
  return !learns(q) && !learns(k) && !learns(v) && rows::readable(q) && rows::readable(k) && rows::readable(v) &&
         options.softcap == 0 && !bias_learns(calls, options);
}

// A call that reads keys of a cache, its own put behind them.
AttentionProduct cached_product(const AttentionCall& call, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, const at::Tensor& bias, const AttentionOptions& options) {
  const auto [keys, values] = visible(call, k, v, options);
  AttentionProduct product =
      as_product(call, q, keys.values(q.scalar_type()), values.values(q.scalar_type()), bias, options.scale);
  product.keys = {{0, product.k.size(0)}};
  return product;
}

// Few queries one by one, all others by blocks.
at::Tensor read_only(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<AttentionCall>& calls, const AttentionOptions& options) {
  std::vector<std::size_t> singles, others;
  for (std::size_t c = 0; c < calls.size(); ++c) (takes_single_queries(calls[c]) ? singles : others).push_back(c);
  const at::Tensor alone = singles.empty() ? at::Tensor() : one_by_one(q, k, v, calls, singles, options);
  if (alone.defined() && alone.size(0) == q.size(0)) return alone;
  at::Tensor result = rows::empty({q.size(0), q.size(1) * q.size(2)}, q.scalar_type()).zero_();
  std::int64_t first = 0;
  for (const auto c : singles) {
    const auto [begin, length] = calls[c].queries;
    result.narrow(0, begin, length).copy_(alone.narrow(0, first, length));
    first += length;
  }
  const at::Tensor queries = by_token(q), keys = by_token(k), values = by_token(v);
  std::vector<AttentionProduct> together;
  for (const auto c : others) {
    const AttentionCall& call = calls[c];
    const at::Tensor bias = options.bias ? options.bias(c) : at::Tensor();
    if (call.cache < 0) {
      together.push_back(as_product(call, queries, keys, values, bias, options.scale));
    } else if (call.keys.size() == 1) {
      together.push_back(cached_product(call, queries, keys, values, bias, options));
    } else {
      // The next call puts its keys where this one's are.
      attention_result({cached_product(call, queries, keys, values, bias, options)}, result);
    }
  }
  attention_result(together, result);
  return result;
}

// Call by call: on a GPU, with capped scores, or with a bias that is trained.
at::Tensor by_library(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::vector<AttentionCall>& calls, const AttentionOptions& options) {
  std::vector<at::Tensor> outputs;
  std::int64_t next = 0;
  const std::int64_t width = q.size(1) * q.size(2);
  const auto skip_to = [&](std::int64_t row) {
    if (row > next) outputs.push_back(at::zeros({row - next, width}, q.options()));
  };
  for (std::size_t c = 0; c < calls.size(); ++c) {
    const AttentionCall& call = calls[c];
    skip_to(call.queries.begin);
    next = call.queries.begin + call.queries.length;
    const auto [keys, values] = visible(call, k, v, options);
    outputs.push_back(product_of(call, q.narrow(0, call.queries.begin, call.queries.length),
                                 keys.values(q.scalar_type()), values.values(q.scalar_type()),
                                 options.bias ? options.bias(c) : at::Tensor(), options));
  }
  skip_to(q.size(0));
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<AttentionCall>& calls, const AttentionOptions& options) {
  if (goes_backward(q, k, v, calls, options)) {
    const Calls given{calls, options};
    return LearnedAttention::apply(q, k, v, &given);
  }
  return reads_only(q, k, v, calls, options) ? read_only(q, k, v, calls, options) : by_library(q, k, v, calls, options);
}

}  // namespace graft
