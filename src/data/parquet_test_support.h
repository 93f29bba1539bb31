// The Parquet files of tests/parquet (make.py there wrote them), and tests that need a build that reads such.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "data/parquet.h"

namespace graft {

inline std::filesystem::path parquet_file(const std::string& name) {
  return std::filesystem::path(GRAFT_SOURCE_DIR) / "tests" / "parquet" / name;
}

inline constexpr const char* kNoParquet = "this build reads no Parquet files; ./setup brings pyarrow for them";

}  // namespace graft
