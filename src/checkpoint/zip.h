// The part of the zip format that PyTorch's checkpoints use: stored entries, found through the central directory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace graft {

struct ZipEntry {
  std::string name;
  std::uint32_t crc32 = 0;
  std::uint64_t offset = 0;  ///< of the first data byte
  std::uint64_t bytes = 0;
};

/// Entries of a zip or zip64 archive. `where` names the file in errors. Throws Corruption (no or damaged directory, an
/// entry outside the file, overlapping or repeated entries) and Unsupported (compressed, encrypted or split archives).
std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& where);

/// Throws Corruption when the bytes of an entry do not have its CRC-32.
void check_crc(std::span<const std::byte> archive, const ZipEntry& entry, const std::string& where);

}  // namespace graft
