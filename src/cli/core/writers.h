// Who writes the texts of `graft generate`: adapters of one model, side by side in one batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/peft.h"
#include "convert/merged_weights.h"

namespace graft {

/// The model without an adapter, wherever a writer is named.
inline constexpr const char* kBaseWriter = "base";

struct NamedAdapter {
  std::string name;
  std::string path;
};

/// The names of the writers, before anything is loaded. An adapter's slot is its place in adapters(), the base model's
/// is -1.
class Writers {
 public:
  /// `given` is what --adapter says, once for each: NAME=PATH, or PATH alone, which is then its name too. A path that
  /// exists is taken whole. Throws InvalidArgument for an empty name or path, the name "base" and a name given twice.
  Writers(const std::vector<std::string>& given, bool with_base);

  const std::vector<NamedAdapter>& adapters() const { return adapters_; }
  /// Of a prompt that names nobody: every adapter in order, behind the base model where it was asked for; without any
  /// adapter the base model alone.
  const std::vector<std::int32_t>& slots() const { return slots_; }
  /// Throws InvalidArgument with the nearest name; `where` is what named it.
  std::int32_t slot_of(const std::string& name, const std::string& where) const;
  std::string name_of(std::int32_t slot) const;
  /// Of all that can be named: the adapters in order, and "base".
  std::vector<std::string> names() const;

 private:
  std::vector<NamedAdapter> adapters_;
  std::vector<std::int32_t> slots_;
};

/// The adapters of the writers, loaded. Refers to the model, and must outlive the forward passes.
class LoadedWriters {
 public:
  /// Tells of each (tell_placed). `with_base`: the base model may have to write beside them. Throws as load_adapter,
  /// and Unsupported where one of several changes all of the base's weights.
  LoadedWriters(const Model& model, const Tokenizer& tokenizer, const Writers& writers, bool with_base);
  LoadedWriters(const LoadedWriters&) = delete;

  /// One for each of Writers::adapters(), in their order; behind an only one that the base writes beside an empty slot,
  /// which keeps the adapter from taking the base's place in passes that it has to itself.
  std::vector<const SiteHooks*> slots() const;
  /// Throws Unsupported where the only adapter changes all of the base's weights, so that `where` cannot have the base
  /// in the adapter's batch.
  void refuse_missing_base(const std::string& where) const;

 private:
  std::vector<LoadedAdapter> adapters_;
  std::optional<FrozenAdapter> frozen_;  // the only one, at the least cost; not beside the base
};

}  // namespace graft
