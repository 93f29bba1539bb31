// What every method must do on every golden model, and its variants on one of each kind; a new file of src/adapters or
// a new golden is covered as it is, a new variant by its line in variants_test.cpp.
#include <map>
#include <set>

#include "adapters/core/peft.h"
#include "arch/core/architecture.h"
#include "convert/merge.h"
#include "convert/merged_weights.h"
#include "law_model.h"
#include "nn/tensor_file.h"
#include "train/footprint.h"
#include "train/optim.h"

namespace graft::laws {
namespace {

// Of outputs in bfloat16 where one rounding may go the other way.
constexpr double kNarrowRounding = 0.03;

class AdapterLaw : public Law {
 protected:
  static void expect_close(const at::Tensor& got, const at::Tensor& want, const Allowance& allowed) {
    if (allowed.gap == 0) {
      EXPECT_TRUE(at::equal(got, want));
    } else {
      EXPECT_LE(relative_gap(got, want), got.scalar_type() == at::kFloat ? allowed.gap : kNarrowRounding)
          << allowed.why;
    }
  }

  bool maps_have_biases() const {
    const auto& roles = model().roles();
    return std::none_of(roles.begin(), roles.end(),
                        [](const RoleEntry& entry) { return !entry.fused() && entry.bias.empty(); });
  }

  void expect_merges_as_listed(const Merging& merging, const std::string& why_unmerged) const {
    if (merging.where == Merges::AsTheMethodSays) return;
    const bool merges =
        merging.where == Merges::Always || (merging.where == Merges::WhereMapsHaveBiases && maps_have_biases());
    EXPECT_EQ(why_unmerged.empty(), merges) << why_unmerged;
    if (!merges) EXPECT_NE(why_unmerged.find(merging.refusal), std::string::npos) << why_unmerged;
  }

  // The command says so too, and leaves nothing behind.
  void expect_no_merge(const MethodVariant& variant, const Adapter& adapter) const {
    const auto place = folder() / variant.name, output = folder() / (variant.name + "-command");
    save_adapter(place, adapter, model(), {});
    expect_error(Category::Unsupported, "keep the adapter", [&] { merge(model_folder(), place, output); });
    EXPECT_FALSE(fs::exists(output));
  }

  // Which matrices change is told without merging, too.
  std::unique_ptr<Model> merged(const MethodVariant& variant, const Adapter& adapter) const {
    const auto told = merged_parameters(model(), adapter);
    NamedTensors tensors = tensors_of(model());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      const at::Tensor value = adapter.merged(index, tensors[i].second);
      EXPECT_EQ(told.contains(index), value.defined() && value.dim() == 2) << tensors[i].first;
      if (value.defined()) tensors[i].second = value;
    }
    return written(variant.name + "-merged", tensors);
  }
};

// Without gradients, because attention takes another kernel where a bias is trained.
TEST_P(AdapterLaw, AFreshAdapterChangesNothing) {
  const at::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto here = load_model(model_folder().string(), {dtype, at::kCPU});
    const Text input = text(12);
    for_every_variant([&](const MethodVariant& variant) {
      const auto adapter = fresh(variant, *here);
      const at::Tensor got = logits(*here, input, adapter.get()), base = logits(*here, input);
      if (variant.starts_elsewhere.empty()) return expect_close(got, base, variant.start);
      EXPECT_FALSE(at::equal(got, base)) << "it starts at the base, so that the law holds of it";
    });
  }
}

TEST_P(AdapterLaw, AVariantForAnEncoderIsRefusedWithoutOne) {
  for (const auto& variant : method_variants()) {
    if (!variant.needs_encoder) continue;
    SCOPED_TRACE(variant.name);
    if (model().encoder_decoder()) {
      EXPECT_NO_THROW(fresh(variant, model()));
    } else {
      expect_error(Category::InvalidArgument, "has no encoder", [&] { fresh(variant, model()); });
    }
  }
}

// What `graft cost` counts before any weight is there.
TEST_P(AdapterLaw, AModelWithoutWeightsHasTheSameAdapter) {
  const auto outline = outline_model(model().config());
  for_every_variant([&](const MethodVariant& variant) {
    // Words to begin from cost nothing.
    nlohmann::json options = variant.options;
    options.erase("init_ids");
    const auto counted = fresh(variant.choice(), *outline, options);
    const auto adapter = fresh(variant, model());
    EXPECT_EQ(trainable_elements(*counted), trainable_elements(*adapter));
    for (const char* optimizer : {"adamw", "adafactor"}) {
      const auto here = training_memory(model(), at::kFloat, *adapter, {optimizer}),
                 there = training_memory(*outline, at::kFloat, *counted, {optimizer});
      // A mask may lie over other parameters, with as many values.
      EXPECT_NEAR(static_cast<double>(there.total()) / static_cast<double>(here.total()), 1, 1e-9);
    }
    if (variant.choice().has_adapter_file()) {
      EXPECT_EQ(adapter_file_bytes(*counted), adapter_file_bytes(*adapter));
    }
  });
}

TEST_P(AdapterLaw, SavedAndLoadedGivesTheSameBits) {
  for_every_variant([&](const MethodVariant& variant) {
    const Text input = text(12);
    const auto adapter = stirred(variant);
    const auto place = folder() / variant.name;
    if (!variant.choice().has_adapter_file()) {
      expect_error(Category::Unsupported, variant.method, [&] { save_adapter(place, *adapter, model(), {}); });
      return;
    }
    save_adapter(place, *adapter, model(), {});
    const auto loaded = load_adapter(place, model());
    EXPECT_EQ(loaded.method, variant.method);
    expect_close(logits(model(), input, loaded.adapter.get()), logits(model(), input, adapter.get()), variant.file);
  });
}

TEST_P(AdapterLaw, MergedWeightsGiveTheAdaptersLogits) {
  for_every_variant([&](const MethodVariant& variant) {
    const Text input = text(12);
    const auto adapter = stirred(variant);
    const at::Tensor want = logits(model(), input, adapter.get());
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3) << "the adapter does nothing that could be merged";
    const std::string refused = why_unmerged(*adapter);
    expect_merges_as_listed(variant.merging, refused);
    if (!refused.empty()) return expect_no_merge(variant, *adapter);
    const auto whole = merged(variant, *adapter);
    EXPECT_LE(relative_gap(logits(*whole, input), want), 1e-4);
    if (!variant.choice().has_adapter_file()) return;
    const auto place = folder() / variant.name, output = folder() / (variant.name + "-command");
    save_adapter(place, *adapter, model(), {});
    merge(model_folder(), place, output);
    expect_close(logits(*load_model(output.string()), input), logits(*whole, input), variant.file);
  });
}

TEST_P(AdapterLaw, GradientsReachEveryAdapterTensorAndNoBaseTensor) {
  for_every_variant([&](const MethodVariant& variant) {
    const auto adapter = stirred(variant);
    double largest = 0;
    for (const auto& [name, gradient] : gradients(model(), text(12), *adapter, false)) {
      ASSERT_TRUE(gradient.defined()) << name;
      EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name;
      largest = std::max(largest, gradient.abs().max().item<double>());
      // A trained part of the base may be one that this text does not read: another token's embedding.
      if (!adapter->replaces_parameters()) {
        EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
      }
    }
    EXPECT_GT(largest, 0);
    for (const auto& parameter : model().parameters().all()) {
      EXPECT_FALSE(parameter.value().requires_grad()) << parameter.name;
      EXPECT_FALSE(parameter.value().grad().defined()) << parameter.name;
    }
  });
}

TEST_P(AdapterLaw, RecomputedLayersGiveTheSameGradients) {
  for_every_variant([&](const MethodVariant& variant) {
    const Text input = text(12);
    const auto adapter = stirred(variant);
    const auto kept = gradients(model(), input, *adapter, false),
               recomputed = gradients(model(), input, *adapter, true);
    double largest = 0;
    for (const auto& [name, gradient] : kept) largest = std::max(largest, gradient.abs().max().item<double>());
    for (const auto& [name, gradient] : kept) {
      ASSERT_TRUE(recomputed.at(name).defined()) << name;
      // Where the true gradient is zero (a softmax does not see BART's key biases) there is rounding alone.
      if (gradient.abs().max().item<double>() <= kRounding * largest) continue;
      EXPECT_LE(relative_gap(recomputed.at(name), gradient), kRounding) << name;
    }
  });
}

// Of methods whose values act in one layer each: where several layers share one, its gradients are added up in another
// order.
TEST_P(AdapterLaw, RecomputedLayersGiveTheSameBits) {
  for (const char* name : {"ia3", "lora"}) {
    SCOPED_TRACE(name);
    const Text input = text(12);
    const auto adapter = stirred(MethodChoice(name));
    const auto kept = gradients(model(), input, *adapter, false),
               recomputed = gradients(model(), input, *adapter, true);
    for (const auto& [tensor, gradient] : kept) {
      ASSERT_TRUE(gradient.defined() && recomputed.at(tensor).defined()) << tensor;
      EXPECT_TRUE(at::equal(recomputed.at(tensor), gradient)) << tensor;
    }
  }
}

TEST_P(AdapterLaw, OneOptimiserStepChangesTheLogitsAndNotTheBase) {
  NamedTensors base = tensors_of(model());
  for (auto& [name, value] : base) value = value.clone();
  for_every_variant([&](const MethodVariant& variant) {
    const Text input = text(12);
    const auto adapter = fresh(variant, model());
    std::vector<at::Tensor> parameters;
    std::vector<double> lr_ratios;
    for (const auto& parameter : adapter->parameters()) {
      parameters.push_back(parameter.value);
      lr_ratios.push_back(parameter.lr_ratio);
    }
    const at::Tensor before = logits(model(), input, adapter.get()).detach();
    loss(model(), input, *adapter).backward();
    make_optimizer({}, parameters, lr_ratios)->step(1e-2);
    EXPECT_GT(relative_gap(logits(model(), input, adapter.get()).detach(), before), 1e-4);
    for (const auto& [name, value] : base)
      EXPECT_TRUE(at::equal(model().parameters().value(model().parameters().index(name)), value)) << name;
  });
}

TEST_P(AdapterLaw, AnotherBaseIsRefused) {
  const auto copy = written("copy", tensors_of(model()));
  NamedTensors tensors = tensors_of(model());
  tensors.back().second = tensors.back().second.clone();
  tensors.back().second.view({-1})[0] += 1;
  const auto other = written("other", tensors);
  for_every_method([&](const MethodChoice& method) {
    if (!method.has_adapter_file()) return;
    const auto place = folder() / method.name();
    save_adapter(place, *stirred(method), model(), {});
    EXPECT_EQ(load_adapter(place, *copy).method, method.name());
    expect_error(Category::InvalidArgument, "another base model", [&] { load_adapter(place, *other); });
  });
}

INSTANTIATE_TEST_SUITE_P(Golden, AdapterLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AdapterLaw);

TEST(Laws, CoverEveryArchitecture) {
  if (models().empty()) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  std::set<std::string> covered;
  for (const auto& name : models()) covered.insert(read_model_config(goldens() / name / "model").architecture);
  for (const Architecture* architecture : arch::registry())
    EXPECT_TRUE(covered.count(architecture->name) > 0)
        << architecture->name << " has no golden model: add one to tests/golden/cases.py";
  std::printf("laws over %zu methods x %zu models of %zu architectures: %zu pairs\n", adapters::registry().size(),
              models().size(), covered.size(), adapters::registry().size() * models().size());
}

TEST(Laws, CoverEveryVariant) {
  if (models().empty()) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  std::size_t pairs = 0;
  for (const auto& variant : method_variants()) {
    std::size_t here = 0;
    for (const auto& name : models_of_each_kind()) {
      if (!variant.needs_encoder || read_model_config(goldens() / name / "model").encoder_decoder()) ++here;
    }
    EXPECT_GT(here, 0u) << variant.name << " is a variant of no golden";
    pairs += here;
  }
  std::printf("laws over %zu variants of methods x %zu models, one of each kind: %zu pairs\n", method_variants().size(),
              models_of_each_kind().size(), pairs);
}

}  // namespace
}  // namespace graft::laws
