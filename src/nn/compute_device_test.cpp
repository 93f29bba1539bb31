#include "nn/compute_device.h"

#include <gtest/gtest.h>

#include "base/error_test_support.h"

namespace graft {
namespace {

constexpr Gpus kNoCuda{false, 0}, kNoGpu{true, 0}, kTwo{true, 2};

TEST(ComputeDevice, IsNamed) {
  for (const Gpus& gpus : {kNoCuda, kNoGpu, kTwo}) EXPECT_EQ(device_named("cpu", gpus), at::Device(at::kCPU));
  EXPECT_EQ(device_named("cuda", kTwo), at::Device(at::kCUDA));
  EXPECT_EQ(device_named("cuda:0", kTwo), at::Device(at::kCUDA, 0));
  EXPECT_EQ(device_named("cuda:1", kTwo), at::Device(at::kCUDA, 1));
}

TEST(ComputeDevice, OfAutoIsTheGpuWhereThereIsOne) {
  EXPECT_EQ(device_named("auto", kTwo), at::Device(at::kCUDA));
  EXPECT_EQ(device_named("auto", kNoGpu), at::Device(at::kCPU));
  EXPECT_EQ(device_named("auto", kNoCuda), at::Device(at::kCPU));
}

TEST(ComputeDevice, TellsWhichOfAllIsMissing) {
  const auto refused = [](const std::string& name, const Gpus& gpus) {
    return error_of([&] { device_named(name, gpus); });
  };
  for (const char* name : {"cuda", "cuda:0", "cuda:7"}) {
    EXPECT_EQ(refused(name, kNoCuda), std::string("Unsupported --device ") + name +
                                          ": this graft's LibTorch is built without CUDA; build against one that has "
                                          "it (CMAKE_PREFIX_PATH), or choose cpu");
    EXPECT_EQ(refused(name, kNoGpu), std::string("Unsupported --device ") + name +
                                         ": LibTorch, which is built with CUDA, sees no GPU here (does nvidia-smi?); "
                                         "choose cpu");
  }
  EXPECT_EQ(refused("cuda:2", kTwo),
            "Unsupported --device cuda:2: the last of the GPUs here is cuda:1; choose up to that one, or cpu");
  EXPECT_EQ(refused("cuda:256", kTwo).find("Unsupported --device cuda:256: "), 0u);  // no number wraps around
}

TEST(ComputeDevice, RefusesOtherNames) {
  for (const char* name : {"", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda:99999999999999999999"})
    EXPECT_EQ(error_of([&] { device_named(name, kTwo); }),
              std::string("InvalidArgument --device: '") + name +
                  "' is none of auto, cpu, cuda, cuda:N (N counts GPUs from 0)");
}

// What is chosen is of the process: every test leaves it as it was.
class ChosenDevice : public ::testing::Test {
 protected:
  ~ChosenDevice() override { choose_device("auto"); }
};

TEST_F(ChosenDevice, HoldsUntilAnotherIsChosen) {
  choose_device("cuda:1", kTwo);
  EXPECT_EQ(compute_device(), at::Device(at::kCUDA, 1));
  EXPECT_THROW(choose_device("cuda:2", kTwo), Error);
  EXPECT_EQ(compute_device(), at::Device(at::kCUDA, 1));
  choose_device("cpu", kTwo);
  EXPECT_EQ(compute_device(), at::Device(at::kCPU));
  choose_device("auto", kTwo);
  EXPECT_EQ(compute_device().is_cuda(), visible_gpus().count > 0);
}

TEST_F(ChosenDevice, IsRefusedForWorkOfTheCpuWhereItIsAGpu) {
  const auto refused = [] { return error_of([] { refuse_chosen_gpu("a GGUF file is merged"); }); };
  EXPECT_EQ(refused(), "nothing");
  choose_device("cpu", kTwo);
  EXPECT_EQ(refused(), "nothing");
  choose_device("cuda:1", kTwo);
  EXPECT_EQ(refused(),
            "Unsupported --device cuda:1: a GGUF file is merged on the CPU; leave the option out, or choose cpu");
}

}  // namespace
}  // namespace graft
