// Rows of Parquet files. What reads them is a module that is loaded when the first of them is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/task.h"
#include "data/text_lines.h"

namespace graft {

/// The module of this build (data/parquet_module.h); empty where it was built without one.
const std::string& parquet_module_file();

/// True where this build reads Parquet files.
inline bool reads_parquet() {
  return !parquet_module_file().empty();
}

/// The rows of a file one after the other. Memory holds a few hundred of them, whatever the file's size. Movable, not
/// thread-safe.
class ParquetReader {
 public:
  /// Throws NotFound; Io (a folder, no permission); InvalidArgument (a pipe); Corruption (no Parquet file, or cut off);
  /// Unsupported (encrypted; no column but bytes; this build has no module, or it cannot be loaded).
  explicit ParquetReader(const std::filesystem::path& path, const std::string& module = parquet_module_file());
  ~ParquetReader();
  ParquetReader(ParquetReader&&) noexcept;

  /// The next row as a JSON object, until the one after it is read; false at the end. `where` counts rows from 1:
  /// "train.parquet:3". Columns of bytes (pictures, sounds) are left out; dates, times and decimals are strings; a
  /// number that is none is null. Throws Corruption (damaged), Unsupported (a type without a form in JSON),
  /// ResourceExhausted.
  bool next(RowLine& line);
  /// Rows that next() gave.
  std::int64_t row() const;
  /// Bytes of the file up to the last of them, as far as rows are of one size.
  std::uint64_t position() const;
  /// Names of the classes whose numbers from 0 are in the column, as Hugging Face's data sets note them in the file;
  /// none where nothing is noted.
  std::vector<std::string> class_names(const std::string& column) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// All rows, as read_jsonl() makes them of JSON. Throws as ParquetReader, and InvalidArgument (nested deeper than 16
/// levels).
std::vector<Row> read_parquet(const std::filesystem::path& path);

}  // namespace graft
