#include "cli/core/writers.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/error_test_support.h"
#include "base/file.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string writers_refused(const std::vector<std::string>& given) {
  return error_of([&] { Writers(given, false); });
}

TEST(Writers, WithoutAdaptersTheBaseWrites) {
  const Writers writers({}, false);
  EXPECT_THAT(writers.slots(), ElementsAre(-1));
  EXPECT_THAT(writers.names(), ElementsAre("base"));
  EXPECT_THAT(Writers({}, true).slots(), ElementsAre(-1)) << "once";
}

TEST(Writers, EveryAdapterWritesWhereNobodyIsNamed) {
  EXPECT_THAT(Writers({"runs/a"}, false).slots(), ElementsAre(0));
  const Writers writers({"polite=runs/a", "runs/b"}, true);
  EXPECT_THAT(writers.slots(), ElementsAre(-1, 0, 1));
  EXPECT_THAT(writers.names(), ElementsAre("polite", "runs/b", "base"));
  EXPECT_EQ(writers.adapters()[0].path, "runs/a");
  EXPECT_EQ(writers.adapters()[1].path, "runs/b");
}

TEST(Writers, AreFoundByName) {
  const Writers writers({"polite=runs/a", "runs/b"}, false);
  EXPECT_EQ(writers.slot_of("polite", "here"), 0);
  EXPECT_EQ(writers.slot_of("runs/b", "here"), 1);
  EXPECT_EQ(writers.slot_of("base", "here"), -1);
  EXPECT_EQ(writers.name_of(1), "runs/b");
  EXPECT_EQ(writers.name_of(-1), "base");
  EXPECT_THAT(error_of([&] { writers.slot_of("polit", "here"); }),
              HasSubstr("here: 'polit' is none of the adapters (did you mean 'polite'?)"));
}

TEST(Writers, APathWithAnEqualsSignStaysWhole) {
  EXPECT_EQ(Writers({"runs/lr=0.1/adapter"}, false).adapters()[0].path, "runs/lr=0.1/adapter");
  EXPECT_EQ(Writers({"one=runs/lr=0.1/adapter"}, false).adapters()[0].path, "runs/lr=0.1/adapter");
  const auto here = std::filesystem::current_path();
  const std::string file = "graft-writer-" + std::to_string(::getpid()) + "=1";
  write_file(here / file, "");
  EXPECT_EQ(Writers({file}, false).adapters()[0].path, file);
  std::filesystem::remove(here / file);
}

TEST(Writers, SlipsAreTold) {
  EXPECT_THAT(writers_refused({"a=x", "a=y"}), HasSubstr("--adapter a=y: 'a' is named twice"));
  EXPECT_THAT(writers_refused({"x", "x"}), HasSubstr("'x' is named twice"));
  EXPECT_THAT(writers_refused({"base=x"}), HasSubstr("'base' is the model without an adapter"));
  EXPECT_THAT(writers_refused({"=x"}), HasSubstr("needs a name before the ="));
  EXPECT_THAT(writers_refused({"a="}), HasSubstr("a path behind it"));
  EXPECT_THAT(writers_refused({""}), HasSubstr("--adapter: is empty"));
}

}  // namespace
}  // namespace graft
