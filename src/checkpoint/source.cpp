#include "checkpoint/source.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "base/suggest.h"

namespace graft {
namespace {

struct DTypeTraits {
  const char* name;
  std::int64_t elements;
  std::int64_t bytes;
};

// In the order of the enumeration.
constexpr std::array<DTypeTraits, 26> kTraits{
    {{"F64", 1, 8},      {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},    {"F8_E4M3", 1, 1},
     {"F8_E5M2", 1, 1},  {"I64", 1, 8},      {"I32", 1, 4},      {"I16", 1, 2},     {"I8", 1, 1},
     {"U64", 1, 8},      {"U32", 1, 4},      {"U16", 1, 2},      {"U8", 1, 1},      {"BOOL", 1, 1},
     {"Q8_0", 32, 34},   {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},  {"Q5_1", 32, 24},
     {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"Q2_K", 256, 84}, {"Q3_K", 256, 110},
     {"IQ4_NL", 32, 18}}};

const DTypeTraits& traits(DType dtype) {
  return kTraits.at(static_cast<std::size_t>(dtype));
}

using NameIndex = std::unordered_map<std::string_view, std::size_t>;

}  // namespace

const char* name(DType dtype) {
  return traits(dtype).name;
}
std::int64_t block_elements(DType dtype) {
  return traits(dtype).elements;
}
std::int64_t block_bytes(DType dtype) {
  return traits(dtype).bytes;
}
bool is_quantised(DType dtype) {
  return traits(dtype).elements > 1;
}

std::int64_t TensorInfo::elements() const {
  std::int64_t product = 1;
  for (std::int64_t size : shape) product *= size;
  return product;
}

const TensorInfo* TensorSource::find(std::string_view name) const {
  // Built on the first question; two threads that ask at once build it twice and keep either.
  std::shared_ptr<const void> index = std::atomic_load(&index_);
  if (!index) {
    auto built = std::make_shared<NameIndex>();
    for (std::size_t i = 0; i < tensors().size(); ++i) built->emplace(tensors()[i].name, i);
    index = std::move(built);
    std::atomic_store(&index_, index);
  }
  const auto& names = *static_cast<const NameIndex*>(index.get());
  const auto found = names.find(name);
  return found == names.end() ? nullptr : &tensors()[found->second];
}

const TensorInfo& TensorSource::at(std::string_view name) const {
  if (const TensorInfo* info = find(name)) return *info;
  std::vector<std::string> known;
  for (const TensorInfo& info : tensors()) known.push_back(info.name);
  const std::string where = files().empty() ? "checkpoint" : files().front().string();
  const std::string near = nearest(name, known);
  fail(Category::NotFound, where, "holds no tensor '{}'{}; fetch the model again, or give its own config.json", name,
       near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near));
}

void ContentHash::add(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
                      std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  // JSON escapes the name, so that no name can imitate the fields behind it.
  lines_.push_back(fmt::format("{} {} [{}] {}", json_text(nlohmann::json(name)), graft::name(dtype),
                               fmt::join(shape, ","), hash.finish()));
}

std::string ContentHash::finish() {
  std::sort(lines_.begin(), lines_.end());
  return sha256(fmt::format("{}\n", fmt::join(lines_, "\n")));
}

std::string content_hash(const TensorSource& source) {
  ContentHash hash;
  for (const TensorInfo& info : source.tensors()) {
    hash.add(info.name, info.dtype, info.shape, source.bytes(info));
    source.release(info);
  }
  return hash.finish();
}

}  // namespace graft
