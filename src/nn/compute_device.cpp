#include "nn/compute_device.h"

#include <ATen/Context.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/error.h"

namespace graft {
namespace {

constexpr std::string_view kNumberedGpu = "cuda:";

// None: that of "auto".
std::optional<at::Device> chosen_device;

// Of "cuda:1"; nothing of any other name.
std::optional<std::size_t> gpu_number(std::string_view name) {
  if (!name.starts_with(kNumberedGpu)) return std::nullopt;
  const std::string_view digits = name.substr(kNumberedGpu.size());
  const char* const end = digits.data() + digits.size();
  std::size_t number = 0;
  const auto read = std::from_chars(digits.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

}  // namespace

Gpus visible_gpus() {
  return {at::hasCUDA() || at::Context::hasCUDART(), at::getNumGPUs()};
}

at::Device device_named(const std::string& name, const Gpus& gpus) {
  if (name == "auto") return gpus.count > 0 ? at::kCUDA : at::kCPU;
  if (name == "cpu") return at::kCPU;
  const auto number = gpu_number(name);
  if (name != "cuda" && !number)
    fail(Category::InvalidArgument, "--device", "'{}' is none of auto, cpu, cuda, cuda:N (N counts GPUs from 0)", name);
  const std::string context = "--device " + name;
  if (!gpus.supported)
    fail(Category::Unsupported, context,
         "this graft's LibTorch is built without CUDA; build against one that has it (CMAKE_PREFIX_PATH), or choose "
         "cpu");
  if (gpus.count == 0)
    fail(Category::Unsupported, context,
         "LibTorch, which is built with CUDA, sees no GPU here (does nvidia-smi?); choose cpu");
  if (!number) return at::kCUDA;
  if (*number >= gpus.count)
    fail(Category::Unsupported, context, "the last of the GPUs here is cuda:{}; choose up to that one, or cpu",
         gpus.count - 1);
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(*number));
}

void choose_device(const std::string& name, const Gpus& gpus) {
  const at::Device device = device_named(name, gpus);
  if (name == "auto") {
    chosen_device.reset();
  } else {
    chosen_device = device;
  }
}

at::Device compute_device() {
  return chosen_device ? *chosen_device : device_named("auto", visible_gpus());
}

void refuse_chosen_gpu(const std::string& work) {
  if (!chosen_device || chosen_device->is_cpu()) return;
  fail(Category::Unsupported, "--device " + chosen_device->str(), "{} on the CPU; leave the option out, or choose cpu",
       work);
}

}  // namespace graft
