// A reader for the pickles inside PyTorch checkpoints that executes nothing (docs/formats/pytorch.md).
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// One value of a pickle. Nodes refer to each other by pointer; the Pickle owns them all.
struct PickleValue {
  enum class Kind { None, Bool, Int, Float, String, Tuple, List, Dict, Global, Storage, Tensor, Mark };
  using Ref = PickleValue*;

  Kind kind = Kind::None;
  std::int64_t integer = 0;                  ///< Int, Bool; Storage: elements; Tensor: offset in elements
  double number = 0;                         ///< Float
  std::string text;                          ///< String; Global: "module.name"; Storage: its key
  DType dtype = DType::F32;                  ///< Storage
  std::vector<Ref> items;                    ///< Tuple, List; Tensor: the storage
  std::vector<std::pair<Ref, Ref>> pairs;    ///< Dict, in order
  std::vector<std::int64_t> shape, strides;  ///< Tensor, in elements
};

struct Pickle {
  std::deque<PickleValue> nodes;
  PickleValue* top = nullptr;
};

/// Reads a pickle of protocol 2 to 5 with the opcodes and globals that state dicts need: rebuilt tensors and
/// parameters, OrderedDict, storages, sizes and dtypes. Calls nothing. Throws Unsupported naming the first global or
/// opcode that is not allowed (a pickle that would run os.system among them), Corruption for a malformed stream.
Pickle read_pickle(std::string_view stream, const std::string& where);

}  // namespace graft
