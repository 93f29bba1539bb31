#include "arch/core/encoder_decoder.h"

#include "base/error.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

void check_sources(const StepInput& input, const ForwardOptions& options) {
  for (std::size_t s = 0; s < input.decoder.segments.size(); ++s) {
    const Segment& segment = input.decoder.segments[s];
    const bool cached =
        segment.cache >= 0 && options.cache != nullptr && options.cache->cross(segment.cache, 0).first.defined();
    if (segment.source >= 0 || cached) continue;
    fail(Category::InvalidArgument, fmt::format("decoder segment {}", s),
         "has no encoder segment to read and none in the cache");
  }
}

std::optional<Context> encoder_context(const ParameterTable& parameters, const StepInput& input,
                                       const ForwardOptions& options, PlanOptions plan_options) {
  check_sources(input, options);
  if (input.encoder.tokens.empty()) return std::nullopt;
  plan_options.bidirectional = true;
  plan_options.cache = nullptr;
  return std::optional<Context>(std::in_place, parameters, options.slots, plan(input.encoder, plan_options), nullptr,
                                options.activations);
}

Context decoder_context(const ParameterTable& parameters, const StepInput& input, const ForwardOptions& options,
                        PlanOptions plan_options, const std::optional<Context>& encoder) {
  plan_options.cross = true;
  plan_options.encoder = encoder ? &encoder->plan() : nullptr;
  return {parameters, options.slots, plan(input.decoder, plan_options), options.cache, options.activations};
}

}  // namespace

EncoderDecoderPass::EncoderDecoderPass(const ParameterTable& parameters, const StepInput& input,
                                       const ForwardOptions& options, const PlanOptions& plan)
    : encoder(encoder_context(parameters, input, options, plan)),
      decoder(decoder_context(parameters, input, options, plan, encoder)) {}

std::pair<at::Tensor, at::Tensor> EncoderDecoderPass::keys_values(const Linear& k, const Linear& v,
                                                                  const at::Tensor& encoded, std::int64_t heads) const {
  if (!encoded.defined()) return {};
  const auto both = encoder->linear({k, v}, encoded);
  const auto by_head = [&](const at::Tensor& x) { return x.view({encoded.size(0), heads, -1}); };
  return encoder->with_prefixes(Stack::Cross, k.site.layer, by_head(both[0]), by_head(both[1]));
}

}  // namespace graft
