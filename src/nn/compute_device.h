// Where models compute.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <string>

namespace graft {

/// GPUs as LibTorch has them.
struct Gpus {
  bool supported = false;  ///< it is built with CUDA
  std::size_t count = 0;   ///< that it sees
};

Gpus visible_gpus();

/// The device of a name: "cpu"; "cuda", the first GPU; "cuda:N", the one of that number, from 0; "auto", the first GPU
/// where there is one, else the CPU. Throws InvalidArgument for another name, and Unsupported for a GPU that `gpus` has
/// not: built without CUDA, none in sight, or fewer than that.
at::Device device_named(const std::string& name, const Gpus& gpus);

/// Makes compute_device() the device of that name for the rest of the process, as a number of threads is; to be called
/// before a model is loaded. Throws as device_named; then nothing changes.
void choose_device(const std::string& name, const Gpus& gpus = visible_gpus());

/// The device that every verb computes on: the chosen one; until then that of "auto".
at::Device compute_device();

/// For work that the CPU alone can do, whatever "auto" is: throws Unsupported where a GPU was chosen by its name.
/// `work` begins the sentence: "a GGUF file is merged".
void refuse_chosen_gpu(const std::string& work);

}  // namespace graft
