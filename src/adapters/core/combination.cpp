#include "adapters/core/combination.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "adapters/core/companions.h"
#include "base/error.h"
#include "base/json_text.h"
#include "nn/context.h"
#include "nn/row_scale.h"

namespace graft {
namespace {

std::vector<std::string> split(const std::string& names) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = names.find('+', begin);
    parts.push_back(names.substr(begin, end - begin));
  }
  return parts;
}

// Options of one part of several: {"lora": {…}} and nothing beside the parts' names.
nlohmann::json options_of(const nlohmann::json& options, const Method& method) {
  if (!options.contains(method.name)) return nlohmann::json::object();
  if (!options.at(method.name).is_object())
    fail(Category::InvalidArgument, fmt::format("method.options.{}", method.name),
         "{} is no map of the method's options", json_text(options.at(method.name)));
  return options.at(method.name);
}

void refuse_stray_options(const nlohmann::json& options, const std::vector<const Method*>& parts) {
  for (const auto& [key, value] : options.items()) {
    const auto names = [&key = key](const Method* method) { return key == method->name; };
    if (std::any_of(parts.begin(), parts.end(), names)) continue;
    fail(Category::InvalidArgument, fmt::format("method.options.{}", key),
         "of several methods each has its own options; write method.options.{}.{}", parts.front()->name, key);
  }
}

using Parts = std::vector<Combination::Part>;

// The first two parts that `take` something; the second is null where it is one, or none.
std::pair<const Method*, const Method*> takers(const Parts& parts, const std::function<bool(const Adapter&)>& take) {
  const Method* first = nullptr;
  for (const auto& part : parts) {
    if (!take(*part.adapter)) continue;
    if (first != nullptr) return {first, part.method};
    first = part.method;
  }
  return {first, nullptr};
}

void refuse_shared_norms(const Model& model, const Parts& parts) {
  for (const auto& entry : model.norms()) {
    for (const std::int64_t index : {entry.weight, entry.bias}) {
      const auto [first, second] = takers(
          parts, [index = index](const Adapter& adapter) { return index >= 0 && adapter.norm(index).defined(); });
      if (second == nullptr) continue;
      fail(Category::InvalidArgument, "method",
           "{} and {} both train {}; leave it to one of them (bitfit has norms=false)", first->name, second->name,
           model.parameters().name(index));
    }
  }
}

void refuse_shared_tables(const Model& model, const Parts& parts) {
  for (const auto& table : model.tables()) {
    const auto [first, second] = takers(parts, [&table](const Adapter& adapter) {
      return adapter.acts_on(table.site) || (table.site == kHeadSite && adapter.head_table().defined());
    });
    if (second == nullptr) continue;
    fail(Category::InvalidArgument, "method", "{} and {} both act on {}; leave it to one of them", first->name,
         second->name, table.module());
  }
}

void refuse_shared_fronts(const Parts& parts) {
  for (const Stack stack : {Stack::Encoder, Stack::Decoder}) {
    const auto [first, second] =
        takers(parts, [stack](const Adapter& adapter) { return adapter.virtual_tokens(stack) > 0; });
    if (second == nullptr) continue;
    fail(Category::InvalidArgument, "method", "{} and {} both put virtual tokens in front of a text; use one",
         first->name, second->name);
  }
}

void refuse_replacing(const Parts& parts) {
  for (const auto& part : parts) {
    if (part.adapter->replaces_parameters())
      fail(Category::InvalidArgument, "method",
           "{} replaces base parameters and goes with no other method; run it alone", part.method->name);
  }
}

// A map and the slices of it are two sites, and the map's comes first whatever the order of the methods.
void refuse_slices_before_maps(const Model& model, const Parts& parts) {
  const auto whole_of = [&](const RoleEntry& slice) {
    return std::find_if(model.roles().begin(), model.roles().end(),
                        [&](const RoleEntry& entry) { return entry.weight == slice.weight && !entry.fused(); });
  };
  for (const auto& slice : model.roles()) {
    const auto whole = slice.fused() ? whole_of(slice) : model.roles().end();
    if (whole == model.roles().end()) continue;
    const Method* first = nullptr;
    for (const auto& part : parts) {
      if (first != nullptr && part.adapter->acts_on(whole->site))
        fail(Category::InvalidArgument, "method",
             "on this model {} acts on parts of {}, all of which {} acts on: {} has to come first", first->name,
             whole->module(), part.method->name, part.method->name);
      if (first == nullptr && part.adapter->acts_on(slice.site)) first = part.method;
    }
  }
}

// Whether the adapter acts on a map, or on the whole one that it is a slice of.
bool acts_around(const Model& model, const Adapter& adapter, const RoleEntry& map) {
  return std::any_of(model.roles().begin(), model.roles().end(), [&](const RoleEntry& entry) {
    const bool around = entry.site == map.site || (!entry.fused() && entry.weight == map.weight);
    return around && adapter.acts_on(entry.site);
  });
}

void refuse_changed_base_output(const Model& model, const Parts& parts) {
  for (const auto& map : model.roles()) {
    for (auto part = parts.begin(); part != parts.end(); ++part) {
      if (!part->adapter->needs_base_output(map.site)) continue;
      const auto before = std::find_if(parts.begin(), part, [&](const Combination::Part& earlier) {
        return acts_around(model, *earlier.adapter, map);
      });
      if (before == part) continue;
      fail(Category::InvalidArgument, "method",
           "{} and {} both act on {}, and {} with dora, which scales the base's own output there, has to come first",
           before->method->name, part->method->name, map.module(), part->method->name);
    }
  }
}

}  // namespace

MethodChoice::MethodChoice(const std::string& names) {
  for (const auto& name : split(names)) {
    const Method& method = adapters::find(name);
    if (std::find(parts_.begin(), parts_.end(), &method) != parts_.end())
      fail(Category::InvalidArgument, "method", "'{}' names {} twice", names, name);
    parts_.push_back(&method);
  }
}

std::string MethodChoice::name() const {
  std::vector<std::string> names;
  for (const Method* method : parts_) names.emplace_back(method->name);
  return fmt::format("{}", fmt::join(names, "+"));
}

bool MethodChoice::has_adapter_file() const {
  return std::all_of(parts_.begin(), parts_.end(), [](const Method* method) { return *method->peft_type != '\0'; });
}

bool MethodChoice::starts_at_base() const {
  return std::all_of(parts_.begin(), parts_.end(), [](const Method* method) { return method->starts_at_base; });
}

std::unique_ptr<Adapter> MethodChoice::create(const Model& model, const nlohmann::json& options, Rng& rng) const {
  if (single()) return parts_.front()->create(model, options, rng);
  refuse_stray_options(options, parts_);
  std::vector<Combination::Part> parts;
  for (const Method* method : parts_)
    parts.push_back({method, method->create(model, options_of(options, *method), rng)});
  return std::make_unique<Combination>(model, std::move(parts));
}

Combination::Combination(const Model& model, std::vector<Part> parts) : model_(model), parts_(std::move(parts)) {
  refuse_replacing(parts_);
  refuse_shared_norms(model, parts_);
  refuse_shared_tables(model, parts_);
  refuse_shared_fronts(parts_);
  refuse_slices_before_maps(model, parts_);
  refuse_changed_base_output(model, parts_);
}

bool Combination::acts_on(const Site& site) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.adapter->acts_on(site); });
}

// The product of the input scales of part `first` and the ones around it.
at::Tensor Combination::scale_around(const Site& site, std::size_t first) const {
  at::Tensor product;
  for (std::size_t part = first; part < parts_.size(); ++part) {
    const Adapter& adapter = *parts_[part].adapter;
    const at::Tensor scale = adapter.acts_on(site) ? adapter.input_scale(site) : at::Tensor();
    if (scale.defined()) product = product.defined() ? product * scale : scale;
  }
  return product;
}

at::Tensor Combination::input_scale(const Site& site) const {
  return scale_around(site, 0);
}

std::optional<at::Tensor> Combination::output_scale(const Site& site) const {
  at::Tensor product;
  for (const auto& part : parts_) {
    if (!part.adapter->acts_on(site)) continue;
    const auto scale = part.adapter->output_scale(site);
    if (!scale) return std::nullopt;
    if (scale->defined()) product = product.defined() ? product * *scale : *scale;
  }
  return product;
}

std::optional<LowRankUpdate> Combination::low_rank(const Site& site) const {
  const Adapter* only = nullptr;
  for (const auto& part : parts_) {
    if (!part.adapter->acts_on(site)) continue;
    if (only != nullptr) return std::nullopt;
    only = part.adapter.get();
  }
  return only == nullptr ? std::nullopt : only->low_rank(site);
}

at::Tensor Combination::output(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  at::Tensor result = y;
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    if (!parts_[part].adapter->acts_on(site)) continue;
    const at::Tensor around = scale_around(site, part + 1);
    result = adapted_output(*parts_[part].adapter, site, around.defined() ? scale_rows(x, around) : x, result);
  }
  return result;
}

bool Combination::changes_sublayer(const Site& last) const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [&](const Part& part) { return part.adapter->changes_sublayer(last); });
}

at::Tensor Combination::sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const {
  at::Tensor result = y;
  for (const auto& part : parts_) {
    if (part.adapter->changes_sublayer(last)) result = part.adapter->sublayer(last, x, result);
  }
  return result;
}

const Adapter* Combination::with_virtual_tokens(Stack stack) const {
  for (const auto& part : parts_) {
    if (part.adapter->virtual_tokens(stack) > 0) return part.adapter.get();
  }
  return nullptr;
}

std::int64_t Combination::virtual_tokens(Stack stack) const {
  const Adapter* front = with_virtual_tokens(stack);
  return front == nullptr ? 0 : front->virtual_tokens(stack);
}

bool Combination::infix() const {
  const Adapter* front = with_virtual_tokens(Stack::Decoder);
  return front != nullptr && front->infix();
}

at::Tensor Combination::prompt(Stack stack) const {
  const Adapter* front = with_virtual_tokens(stack);
  return front == nullptr ? at::Tensor() : front->prompt(stack);
}

std::pair<at::Tensor, at::Tensor> Combination::prefix(Stack stack, std::int64_t layer) const {
  // Those that cross-attention reads stand in front of the encoder's texts.
  const Adapter* front = with_virtual_tokens(stack == Stack::Cross ? Stack::Encoder : stack);
  return front == nullptr ? std::pair<at::Tensor, at::Tensor>() : front->prefix(stack, layer);
}

at::Tensor Combination::norm(std::int64_t index) const {
  for (const auto& part : parts_) {
    if (const at::Tensor vector = part.adapter->norm(index); vector.defined()) return vector;
  }
  return {};
}

at::Tensor Combination::head_table() const {
  for (const auto& part : parts_) {
    if (const at::Tensor table = part.adapter->head_table(); table.defined()) return table;
  }
  return {};
}

std::vector<AdapterTensor> Combination::parameters() const {
  std::vector<AdapterTensor> result;
  for (const auto& part : parts_) {
    for (auto& tensor : part.adapter->parameters())
      result.push_back({fmt::format("{}.{}", part.method->name, tensor.name), tensor.value, tensor.lr_ratio});
  }
  return result;
}

nlohmann::json Combination::peft_config() const {
  if (const auto file = adapters::as_lora_file(model_, parts_)) return file->config;
  auto names = nlohmann::json::array();
  for (const auto& part : parts_) names.push_back(part.method->name);
  return {{"peft_type", kCombinationType}, {"parts", names}};
}

std::vector<PeftTensor> Combination::peft_tensors() const {
  if (const auto file = adapters::as_lora_file(model_, parts_)) return file->tensors;
  std::vector<PeftTensor> result;
  for (const auto& part : parts_) {
    for (const auto& tensor : part.adapter->peft_tensors())
      result.push_back({fmt::format("{}/{}", part.method->name, tensor.name), tensor.value});
  }
  return result;
}

at::Tensor Combination::merged(std::int64_t index, const at::Tensor& base) const {
  at::Tensor result;
  for (const auto& part : parts_) {
    const at::Tensor value = part.adapter->merged(index, result.defined() ? result : base);
    if (value.defined()) result = value;
  }
  return result;
}

bool Combination::merges_into_weight(const Site& site) const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [&](const Part& part) { return part.adapter->merges_into_weight(site); });
}

void Combination::prepare(std::size_t examples, const ExampleLoss& loss) {
  for (const auto& part : parts_) part.adapter->prepare(examples, loss);
}

std::vector<PeftTensor> Combination::prepared() const {
  std::vector<PeftTensor> result;
  for (const auto& part : parts_) {
    for (const auto& tensor : part.adapter->prepared())
      result.push_back({fmt::format("{}.{}", part.method->name, tensor.name), tensor.value});
  }
  return result;
}

void Combination::take_prepared(const std::vector<PeftTensor>& found) {
  for (const auto& part : parts_) {
    const std::string prefix = fmt::format("{}.", part.method->name);
    std::vector<PeftTensor> own;
    for (const auto& tensor : found) {
      if (tensor.name.starts_with(prefix)) own.push_back({tensor.name.substr(prefix.size()), tensor.value});
    }
    part.adapter->take_prepared(own);
  }
}

void Combination::begin_step(std::uint64_t seed) {
  for (const auto& part : parts_) part.adapter->begin_step(seed);
}

void Combination::set_training(bool training) {
  for (const auto& part : parts_) part.adapter->set_training(training);
}

}  // namespace graft
