// What every method must do on every golden model; a new file of src/adapters or a new golden is covered as it is.
#include <map>
#include <set>

#include "adapters/core/peft.h"
#include "arch/core/architecture.h"
#include "convert/merge.h"
#include "law_model.h"
#include "nn/tensor_file.h"
#include "train/footprint.h"
#include "train/optim.h"

namespace graft::laws {
namespace {

class AdapterLaw : public Law {
 protected:
  // The command says so too, and leaves nothing behind.
  void expect_no_merge(const MethodChoice& method, const Adapter& adapter) const {
    const auto place = folder() / method.name(), output = folder() / (method.name() + "-command");
    save_adapter(place, adapter, model(), {});
    expect_error(Category::Unsupported, "keep the adapter", [&] { merge(model_folder(), place, output); });
    EXPECT_FALSE(fs::exists(output));
  }

  std::unique_ptr<Model> merged(const MethodChoice& method, const Adapter& adapter) const {
    NamedTensors tensors = tensors_of(model());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const at::Tensor value = adapter.merged(static_cast<std::int64_t>(i), tensors[i].second);
      if (value.defined()) tensors[i].second = value;
    }
    return written(method.name() + "-merged", tensors);
  }
};

// Without gradients, because attention takes another kernel where a bias is trained.
TEST_P(AdapterLaw, AFreshAdapterChangesNothing) {
  const at::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto here = load_model(model_folder().string(), {dtype, at::kCPU});
    const Text input = text(12);
    for_every_method([&](const MethodChoice& method) {
      if (!method.starts_at_base()) return;
      const auto adapter = fresh(method, *here);
      EXPECT_TRUE(at::equal(logits(*here, input, adapter.get()), logits(*here, input)));
    });
  }
}

// What `graft cost` counts before any weight is there.
TEST_P(AdapterLaw, AModelWithoutWeightsHasTheSameAdapter) {
  const auto outline = outline_model(model().config());
  for_every_method([&](const MethodChoice& method) {
    Rng rng(0);
    const auto counted = method.create(*outline, nlohmann::json::object(), rng);
    const auto adapter = fresh(method, model());
    EXPECT_EQ(trainable_elements(*counted), trainable_elements(*adapter));
    for (const char* optimizer : {"adamw", "adafactor"}) {
      const auto here = training_memory(model(), at::kFloat, *adapter, {optimizer}),
                 there = training_memory(*outline, at::kFloat, *counted, {optimizer});
      // A mask may lie over other parameters, with as many values.
      EXPECT_NEAR(static_cast<double>(there.total()) / static_cast<double>(here.total()), 1, 1e-9);
    }
    if (method.has_adapter_file()) {
      EXPECT_EQ(adapter_file_bytes(*counted), adapter_file_bytes(*adapter));
    }
  });
}

TEST_P(AdapterLaw, SavedAndLoadedGivesTheSameBits) {
  for_every_method([&](const MethodChoice& method) {
    const Text input = text(12);
    const auto adapter = stirred(method);
    const auto place = folder() / method.name();
    if (!method.has_adapter_file()) {
      expect_error(Category::Unsupported, method.name(), [&] { save_adapter(place, *adapter, model(), {}); });
      return;
    }
    save_adapter(place, *adapter, model(), {});
    const auto loaded = load_adapter(place, model());
    EXPECT_EQ(loaded.method, method.name());
    EXPECT_TRUE(at::equal(logits(model(), input, loaded.adapter.get()), logits(model(), input, adapter.get())));
  });
}

TEST_P(AdapterLaw, MergedWeightsGiveTheAdaptersLogits) {
  for_every_method([&](const MethodChoice& method) {
    const Text input = text(12);
    const auto adapter = stirred(method);
    const at::Tensor want = logits(model(), input, adapter.get());
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3) << "the adapter does nothing that could be merged";
    if (!mergeable(*adapter)) return expect_no_merge(method, *adapter);
    const auto whole = merged(method, *adapter);
    EXPECT_LE(relative_gap(logits(*whole, input), want), 1e-4);
    if (!method.has_adapter_file()) return;
    const auto place = folder() / method.name(), output = folder() / (method.name() + "-command");
    save_adapter(place, *adapter, model(), {});
    merge(model_folder(), place, output);
    EXPECT_TRUE(at::equal(logits(*load_model(output.string()), input), logits(*whole, input)));
  });
}

TEST_P(AdapterLaw, GradientsReachEveryAdapterTensorAndNoBaseTensor) {
  for_every_method([&](const MethodChoice& method) {
    const auto adapter = stirred(method);
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
  for_every_method([&](const MethodChoice& method) {
    const Text input = text(12);
    const auto adapter = stirred(method);
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
  const std::string base = base_fingerprint(model());
  for_every_method([&](const MethodChoice& method) {
    const Text input = text(12);
    const auto adapter = fresh(method, model());
    std::vector<at::Tensor> parameters;
    for (const auto& parameter : adapter->parameters()) parameters.push_back(parameter.value);
    const at::Tensor before = logits(model(), input, adapter.get()).detach();
    loss(model(), input, *adapter).backward();
    make_optimizer({}, parameters)->step(1e-2);
    EXPECT_GT(relative_gap(logits(model(), input, adapter.get()).detach(), before), 1e-4);
    EXPECT_EQ(base_fingerprint(model()), base);
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

}  // namespace
}  // namespace graft::laws
