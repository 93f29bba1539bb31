#include "adapters/core/own_format.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "adapters/core/peft.h"
#include "arch/core/fingerprint_test_support.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using Json = nlohmann::json;
using testing::expect_error;
using testing::Folder;
using testing::one_layer;

// The adapter is made by what its file says, before its tensors are compared with it.
TEST(OwnFormat, AFileThatClaimsAnAdapterLargerThanItsBaseIsRefused) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  const Folder folder;
  const auto base = one_layer(folder);
  for (const auto& [method, option] :
       {std::pair{"adapter", "bottleneck"}, {"compacter", "rank"}, {"said", "dimension"}}) {
    SCOPED_TRACE(method);
    const auto place = folder.path() / method;
    Rng rng(0);
    save_adapter(place, *adapters::find(method).create(*base, Json::object(), rng), *base, {});
    Json config = Json::parse(read_file(place / "adapter_config.json"));
    EXPECT_EQ(load_adapter(place, *base).method, method);
    config["options"][option] = kHuge;
    write_file(place / "adapter_config.json", config.dump());
    expect_error(Category::InvalidArgument,
                 place.string() + ": adapter_config.json: method.options." + option + ": asks for an adapter of ",
                 [&] { load_adapter(place, *base); });
  }
}

}  // namespace
}  // namespace graft
