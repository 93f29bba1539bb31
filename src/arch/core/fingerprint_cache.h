// Fingerprints of whole weights, kept for the next process.
#pragma once

#include <filesystem>
#include <string>

#include "arch/core/model.h"

namespace graft {

/// base_fingerprint() of the latest version, which reads every value, from `folder` if it was read before, else read
/// now and kept there. It is known again by the files that the weights come from (path, device, inode, size, times of
/// the last change), by how they are kept in memory, and by the fingerprint of version 2, which samples them: what goes
/// unnoticed is a file that was changed where that does not look, in place, and had its times put back (those of the
/// inode too, which no program sets). Where nothing can be kept, it is only read.
std::string kept_fingerprint(const Model& model, const std::filesystem::path& folder);

}  // namespace graft
