// What several methods together must do beyond what each must do, on every golden model.
#include "convert/merge.h"
#include "law_model.h"
#include "nn/tensor_file.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

class CombinationLaw : public Law {
 protected:
  std::unique_ptr<Model> merged(const Adapter& adapter) const {
    NamedTensors tensors;
    for (std::size_t i = 0; i < model().parameters().all().size(); ++i) {
      const Parameter& parameter = model().parameters().all()[i];
      const at::Tensor value = adapter.merged(static_cast<std::int64_t>(i), parameter.value());
      tensors.emplace_back(parameter.name, value.defined() ? value : parameter.value());
    }
    fs::create_directories(folder() / "merged");
    fs::copy_file(model_folder() / "config.json", folder() / "merged/config.json",
                  fs::copy_options::overwrite_existing);
    write_tensors(folder() / "merged/model.safetensors", tensors);
    return load_model((folder() / "merged").string());
  }
};

// (IA)³ scales what `down` reads, so LoRA on it sees the scaled input in one order and not in the other.
TEST_P(CombinationLaw, EachMethodWrapsTheOnesBeforeIt) {
  const Text input = text(12);
  const Json lora = {{"roles", "down"}}, ia3 = {{"roles", "down"}};
  std::vector<at::Tensor> outcomes;
  for (const char* names : {"lora+ia3", "ia3+lora"}) {
    SCOPED_TRACE(names);
    const auto adapter = stirred(MethodChoice(names), 11, {{"lora", lora}, {"ia3", ia3}});
    outcomes.push_back(logits(model(), input, adapter.get()));
    EXPECT_LE(relative_gap(logits(*merged(*adapter), input), outcomes.back()), 1e-4);
  }
}

TEST_P(CombinationLaw, OneOfTwoAtItsStartChangesNothing) {
  const Text input = text(12);
  const auto lora = stirred(MethodChoice("lora"));
  const MethodChoice both("lora+ia3");
  const auto adapter = fresh(both, model());
  const at::NoGradGuard no_grad;
  const auto from = lora->parameters();
  const auto to = adapter->parameters();
  for (std::size_t i = 0; i < from.size(); ++i) {
    ASSERT_EQ("lora." + from[i].name, to[i].name);
    at::Tensor(to[i].value).copy_(from[i].value);
  }
  EXPECT_TRUE(at::equal(logits(model(), input, adapter.get()), logits(model(), input, lora.get())));
}

TEST_P(CombinationLaw, APartsFolderIsAnAdapterOfItsOwn) {
  const auto adapter = stirred(MethodChoice("lora+ia3"));
  save_adapter(folder() / "both", *adapter, model(), {});
  EXPECT_EQ(load_adapter(folder() / "both/lora", model()).method, "lora");
  EXPECT_EQ(load_adapter(folder() / "both", model()).method, "lora+ia3");
  fs::remove(folder() / "both/lora/adapter_model.safetensors");
  expect_error(Category::NotFound, "both/lora", [&] { load_adapter(folder() / "both", model()); });
}

TEST_P(CombinationLaw, MethodsThatDoNotGoTogetherAreRefused) {
  const auto refused = [&](const char* names, const char* why, const Json& options = Json::object()) {
    SCOPED_TRACE(names);
    expect_error(Category::InvalidArgument, why, [&] { fresh(MethodChoice(names), model(), options); });
  };
  refused("lora+lora", "twice");
  refused("lora+bitfot", "bitfit");
  refused("lora+full", "run it alone");
  refused("said+ia3", "run it alone");
  refused("prompt_tuning+prefix_tuning", "virtual tokens");
  refused("lora+ia3", "method.options.lora.rank", {{"rank", 4}});
  refused("lora+ia3", "no map", {{"lora", 4}});
  const auto& roles = model().roles();
  if (std::any_of(roles.begin(), roles.end(), [](const RoleEntry& entry) { return entry.site.role == Role::Qkv; }))
    refused("ia3+lora", "lora has to come first");
  const auto& norms = model().norms();
  if (std::any_of(norms.begin(), norms.end(), [](const NormEntry& norm) { return norm.bias >= 0; })) {
    refused("layernorm+bitfit", "both train");
    EXPECT_NO_THROW(fresh(MethodChoice("layernorm+bitfit"), model(), {{"bitfit", {{"norms", false}}}}));
  }
}

// It scales the base's part of an output, which it could not tell from what other methods made of it.
TEST_P(CombinationLaw, DoraComesFirst) {
  const auto options = [](const char* other, const Json& of_other) {
    return Json{{"lora", {{"dora", true}, {"roles", "o,down"}}}, {other, of_other}};
  };
  const Json ia3 = {{"roles", "o,down"}}, bitfit = {{"norms", false}};
  const Text input = text(12);
  for (const auto& [other, of_other] : {std::pair("ia3", ia3), std::pair("bitfit", bitfit)}) {
    SCOPED_TRACE(other);
    const std::string last = other + std::string("+lora"), first = std::string("lora+") + other;
    const Json of_both = options(other, of_other);
    expect_error(Category::InvalidArgument, "lora with dora", [&] { fresh(MethodChoice(last), model(), of_both); });
    const auto adapter = stirred(MethodChoice(first), 11, of_both);
    if (!mergeable(*adapter)) continue;
    EXPECT_LE(relative_gap(logits(*merged(*adapter), input), logits(model(), input, adapter.get())), 1e-4);
  }
  // Elsewhere they do not meet.
  EXPECT_NO_THROW(fresh(MethodChoice("ia3+lora"), model(), options("ia3", {{"roles", "k"}})));
}

INSTANTIATE_TEST_SUITE_P(Golden, CombinationLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CombinationLaw);

}  // namespace
}  // namespace graft::laws
