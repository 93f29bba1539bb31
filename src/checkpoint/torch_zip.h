// Reading the zip archives that torch.save writes (docs/formats/pytorch.md).
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "checkpoint/source.h"

namespace graft {

/// Opens a .bin/.pt/.pth file: a dictionary of tensors, or one that holds such a dictionary under "state_dict", "model"
/// or the like and no tensor itself. Contiguous tensors are read in place, others are copied into row-major order when
/// asked for. The checksum of a storage is verified the first time its bytes are asked for. Throws NotFound, Io,
/// Corruption, Unsupported (the old format without zip, compressed archives, pickles that name anything but tensors).
std::unique_ptr<TensorSource> open_torch_zip(const std::filesystem::path& path);

/// True where a file begins as a pickle of protocol 2 to 5 does that is in no zip (`pickle.dump`, torch.save before
/// 1.6). The length of a safetensors header may begin so too: ask behind that.
bool is_bare_pickle(std::string_view bytes);

}  // namespace graft
