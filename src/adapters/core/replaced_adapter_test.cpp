// An adapter that takes an older one's place: both of its files, or neither.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "adapters/core/combination.h"
#include "adapters/core/peft.h"
#include "arch/core/fingerprint_test_support.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

TEST(ReplacedAdapter, StaysWhereTheSecondFileOfTheNewOneCannotBeWritten) {
  const testing::Folder folder;
  const auto base = testing::one_layer(folder);
  const fs::path place = folder.path() / "run/adapter";
  const auto saved = [&](const char* method) {
    Rng rng(1);
    return MethodChoice(method).create(*base, nlohmann::json::object(), rng);
  };
  const auto written = [&] {
    return read_file(place / "adapter_model.safetensors") + read_file(place / "adapter_config.json");
  };
  save_adapter(place, *saved("lora"), *base, {});
  const std::string before = written();
  {
    AtomicFolder whole(place, AtomicFolder::Occupied::Replaced);
    make_folder(whole.path() / "adapter_config.json/in the way");
    testing::expect_error(Category::Io, "adapter_config.json",
                          [&] { save_adapter(whole.path(), *saved("ia3"), *base, {}); });
    EXPECT_TRUE(fs::exists(whole.path() / "adapter_model.safetensors")) << "the first was written";
  }
  EXPECT_EQ(written(), before);
  EXPECT_EQ(load_adapter(place, *base).method, "lora");
  for (const auto& entry : fs::directory_iterator(place.parent_path())) EXPECT_EQ(entry.path(), place);
  {
    AtomicFolder whole(place, AtomicFolder::Occupied::Replaced);
    save_adapter(whole.path(), *saved("ia3"), *base, {});
    whole.commit();
  }
  EXPECT_EQ(load_adapter(place, *base).method, "ia3");
  for (const auto& entry : fs::directory_iterator(place.parent_path())) EXPECT_EQ(entry.path(), place);
}

}  // namespace
}  // namespace graft
