#include "nn/cross_attention.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "nn/attention.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

at::Tensor cached(const Context& decoder, std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v, const AttentionOptions& options) {
  std::vector<at::Tensor> parts;
  for (const auto& call : decoder.plan().cross) {
    std::pair<at::Tensor, at::Tensor> read;
    if (call.keys.empty()) {
      read = decoder.cache()->cross(call.cache, layer);
    } else {
      const auto range = call.keys[0];
      read = {k.narrow(0, range.begin, range.length), v.narrow(0, range.begin, range.length)};
      // Copied, so that a sequence does not keep the whole batch alive.
      if (call.cache >= 0) decoder.cache()->cross(call.cache, layer) = {read.first.clone(), read.second.clone()};
    }
    AttentionCall single;
    single.queries = {0, call.queries.length};
    single.keys = {{0, read.first.size(0)}};
    parts.push_back(
        attention(q.narrow(0, call.queries.begin, call.queries.length), read.first, read.second, {single}, options));
  }
  return at::cat(parts);
}

}  // namespace

at::Tensor cross_attention(const Context& decoder, std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double scale) {
  AttentionOptions options;
  options.scale = scale;
  return decoder.cache() == nullptr ? attention(q, k, v, decoder.plan().cross, options)
                                    : cached(decoder, layer, q, k, v, options);
}

}  // namespace graft
