#include "arch/core/fingerprint_cache.h"

#include <fmt/format.h>

#include <sstream>

#include "arch/core/fingerprint.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_identity.h"
#include "base/hash.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr int kSampledVersion = 2;

// Empty where the model does not come from files.
fs::path place_of(const Model& model, const fs::path& folder) {
  const ParameterTable& table = model.parameters();
  if (table.files().empty()) return {};
  Sha256 key;
  key.update(fmt::format("{} {}\n", kFingerprintVersion, static_cast<int>(table.format())));
  for (const auto& file : table.files()) {
    const std::string identity = file_identity(file);
    if (identity.empty()) return {};
    key.update(identity);
  }
  key.update(model.fingerprint(kSampledVersion));
  return folder / key.finish();
}

// "name shape" of every line behind the first.
std::string tensors_of(const std::string& fingerprint) {
  std::istringstream in(fingerprint);
  std::string line, tensors;
  std::getline(in, line);
  while (std::getline(in, line)) tensors += line.substr(0, line.rfind(' ')) + "\n";
  return tensors;
}

// Whole, and not somebody else's file.
bool tells_of(const std::string& fingerprint, const Model& model) {
  return fingerprint.starts_with(fmt::format("fingerprint {}\n", kFingerprintVersion)) && fingerprint.ends_with("\n") &&
         tensors_of(fingerprint) == tensors_of(model.fingerprint(kSampledVersion));
}

}  // namespace

std::string kept_fingerprint(const Model& model, const fs::path& folder) {
  const fs::path place = place_of(model, folder);
  if (place.empty()) return base_fingerprint(model);
  try {
    const std::string kept = read_file(place);
    if (tells_of(kept, model)) return kept;
  } catch (const Error&) {
    // Not there, or not ours to read.
  }
  const std::string fresh = base_fingerprint(model);
  try {
    write_file(place, fresh);
  } catch (const Error&) {
    // The next process reads everything again.
  }
  return fresh;
}

}  // namespace graft
