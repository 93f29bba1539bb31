// The table of variants.
#include "variants.h"

#include <gtest/gtest.h>

#include <set>

#include "law_model.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

const Merging kNotLinear{Merges::Never, "a bottleneck is not linear"};
const Merging kVirtualTokens{Merges::Never, "virtual tokens cannot be merged"};
const Merging kIntoBiases{Merges::WhereMapsHaveBiases, "no bias here that could hold BitFit's"};

const std::string kRead = "virtual tokens are read from the first step on";
const Allowance kTakenOut{kCoarseRounding, "PiSSA's start is added and taken out again, in sums of rounded products"};
const Allowance kTwiceTheRank{kCoarseRounding, "PEFT has PiSSA as LoRA of twice the rank, in one product"};
const Allowance kOneUpdate{kCoarseRounding, "updates of slices are one update of their map in PEFT's file"};

// Token ids of every golden's vocabulary.
const Json kWords = Json::array({3, 7, 11});
const Json kLabels = Json::array({Json::array({1, 2}), Json::array({3})});

std::vector<MethodVariant> bottlenecks() {
  return {
      {.name = "adapter after both sublayers",
       .method = "adapter",
       .options = {{"placement", "houlsby"}, {"bottleneck", 6}, {"activation", "gelu"}},
       .merging = kNotLinear},
      {.name = "adapter after cross-attention too",
       .method = "adapter",
       .options = {{"placement", "houlsby"}, {"cross", true}},
       .needs_encoder = true,
       .merging = kNotLinear},
      {.name = "adapter after the feed-forward",
       .method = "adapter",
       .options = {{"placement", "pfeiffer"}, {"activation", "silu"}},
       .merging = kNotLinear},
      {.name = "adapter beside the feed-forward",
       .method = "adapter",
       .options = {{"placement", "parallel"}, {"activation", "gelu_new"}},
       .merging = kNotLinear},
      {.name = "compacter, a rule for each map",
       .method = "compacter",
       .options = {{"shared", false}, {"activation", "gelu"}},
       .merging = kNotLinear},
      // A map's blocks are 8 by 2 in models this small.
      {.name = "compacter, blocks of full rank",
       .method = "compacter",
       .options = {{"rank", 2}, {"activation", "gelu"}},
       .merging = kNotLinear},
      {.name = "compacter after cross-attention too",
       .method = "compacter",
       .options = {{"cross", true}, {"n", 2}},
       .needs_encoder = true,
       .merging = kNotLinear},
      {.name = "compacter++",
       .method = "compacter",
       .options = {{"placement", "pfeiffer"}, {"activation", "gelu_new"}},
       .merging = kNotLinear},
      {.name = "compacter++, a rule for each map, blocks of full rank",
       .method = "compacter",
       .options = {{"placement", "pfeiffer"}, {"shared", false}, {"rank", 2}, {"activation", "silu"}},
       .merging = kNotLinear},
      {.name = "compacter beside the feed-forward",
       .method = "compacter",
       .options = {{"placement", "parallel"}, {"activation", "gelu"}},
       .merging = kNotLinear},
  };
}

// With their defaults prefixes stand in all attentions of an encoder–decoder and come from a network.
std::vector<MethodVariant> virtual_tokens() {
  return {
      {.name = "prefix without a network",
       .method = "prefix_tuning",
       .options = {{"reparametrise", false}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prefix by a small network",
       .method = "prefix_tuning",
       .options = {{"reparametrise", true}, {"hidden", 16}, {"length", 7}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prefix from words",
       .method = "prefix_tuning",
       .options = {{"reparametrise", false}, {"init_ids", kWords}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prefix in the decoder's self-attention alone",
       .method = "prefix_tuning",
       .options = {{"layout", "peft"}, {"reparametrise", false}},
       .needs_encoder = true,
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prefix in the decoder's self-attention alone, by a network",
       .method = "prefix_tuning",
       .options = {{"layout", "peft"}},
       .needs_encoder = true,
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prompt from random numbers",
       .method = "prompt_tuning",
       .options = {{"init", "random"}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prompt from words",
       .method = "prompt_tuning",
       .options = {{"init_ids", kWords}, {"length", 8}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prompt from labels",
       .method = "prompt_tuning",
       .options = {{"init", "labels"}, {"init_labels", kLabels}, {"length", 5}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
      {.name = "prompt before both stacks",
       .method = "prompt_tuning",
       .options = {{"decoder", true}, {"length", 8}},
       .needs_encoder = true,
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
  };
}

std::vector<MethodVariant> low_rank() {
  return {
      {.name = "lora of every map",
       .method = "lora",
       .options = {{"roles", "q,k,v,o,up,down"}, {"rank", 2}},
       .file = kOneUpdate},
      {.name = "lora, ranks by role",
       .method = "lora",
       .options = {{"roles", "q,v"}, {"rank", 4}, {"ranks", {{"v", 2}}}, {"alphas", {{"v", 5}}}},
       .file = kOneUpdate},
      {.name = "rslora", .method = "lora", .options = {{"rslora", true}, {"rank", 3}, {"alpha", 4}}},
      {.name = "lora+", .method = "lora", .options = {{"lr_ratio", 16}, {"rank", 3}}},
      {.name = "lora with dropout", .method = "lora", .options = {{"dropout", 0.3}}},
      {.name = "dora", .method = "lora", .options = {{"dora", true}, {"roles", "o,down"}, {"rank", 3}}},
      {.name = "dora with rslora and dropout",
       .method = "lora",
       .options = {{"dora", true}, {"rslora", true}, {"roles", "o,down"}, {"rank", 4}, {"alpha", 4}, {"dropout", 0.3}}},
      {.name = "pissa",
       .method = "lora",
       .options = {{"init", "pissa"}, {"rank", 3}},
       .start = kTakenOut,
       .file = kTwiceTheRank},
      {.name = "pissa with rslora, ranks by role",
       .method = "lora",
       .options = {{"init", "pissa"}, {"rslora", true}, {"roles", "o,down"}, {"rank", 4}, {"ranks", {{"down", 2}}}},
       .start = kTakenOut,
       .file = kTwiceTheRank},
      {.name = "pissa with dora",
       .method = "lora",
       .options = {{"init", "pissa"}, {"dora", true}, {"roles", "o,down"}, {"rank", 3}},
       .start = kTakenOut,
       .file = kTwiceTheRank},
  };
}

std::vector<MethodVariant> lists() {
  return {
      {.name = "lora and bitfit of maps",
       .method = "lora+bitfit",
       .options = {{"lora", {{"rank", 3}}}, {"bitfit", {{"norms", false}}}},
       .merging = kIntoBiases},
      {.name = "dora and bitfit",
       .method = "lora+bitfit",
       .options = {{"lora", {{"dora", true}, {"roles", "o,down"}}}},
       .merging = kIntoBiases},
      {.name = "pissa and bitfit",
       .method = "lora+bitfit",
       .options = {{"lora", {{"init", "pissa"}, {"rank", 3}}}},
       .start = kTakenOut,
       .file = kTwiceTheRank,
       .merging = kIntoBiases},
      {.name = "lora inside a parallel adapter",
       .method = "lora+adapter",
       .options = {{"lora", {{"roles", "down"}, {"rank", 3}}}, {"adapter", {{"placement", "parallel"}}}},
       .merging = kNotLinear},
      {.name = "compacter++ over rslora",
       .method = "lora+compacter",
       .options = {{"lora", {{"rslora", true}, {"alpha", 4}}}, {"compacter", {{"placement", "pfeiffer"}}}},
       .merging = kNotLinear},
      {.name = "prompt beside lora",
       .method = "prompt_tuning+lora",
       .options = {{"prompt_tuning", {{"init", "random"}, {"length", 6}}}, {"lora", {{"lr_ratio", 4}}}},
       .starts_elsewhere = kRead,
       .merging = kVirtualTokens},
  };
}

}  // namespace

MethodVariant defaults_of(const MethodChoice& method) {
  MethodVariant variant;
  variant.name = variant.method = method.name();
  if (!method.starts_at_base()) variant.starts_elsewhere = "the method says so";
  variant.merging.where = Merges::AsTheMethodSays;
  variant.listed = false;
  return variant;
}

const std::vector<MethodVariant>& method_variants() {
  static const std::vector<MethodVariant> kVariants = [] {
    std::vector<MethodVariant> all;
    for (const auto& some : {bottlenecks(), virtual_tokens(), low_rank(), lists()})
      all.insert(all.end(), some.begin(), some.end());
    return all;
  }();
  return kVariants;
}

// Each makes folders by its name, and what is not to be merged says why.
TEST(MethodVariants, HaveNamesOfTheirOwnAndReasons) {
  std::set<std::string> names;
  for (const Method* method : adapters::registry()) names.insert(method->name);
  for (const auto& variant : method_variants()) {
    EXPECT_TRUE(names.insert(variant.name).second) << variant.name;
    EXPECT_EQ(variant.name.find('/'), std::string::npos) << variant.name;
    EXPECT_FALSE(variant.options.empty()) << variant.name;
    EXPECT_EQ(variant.merging.refusal.empty(), variant.merging.where == Merges::Always) << variant.name;
    EXPECT_EQ(variant.start.gap > 0, !variant.start.why.empty()) << variant.name;
    EXPECT_EQ(variant.file.gap > 0, !variant.file.why.empty()) << variant.name;
    EXPECT_EQ(variant.starts_elsewhere.empty(), variant.choice().starts_at_base()) << variant.name;
  }
}

}  // namespace graft::laws
