// What graft and the module that reads Parquet files (src/parquet_module) have in common. The module is loaded when the
// first such file is opened, as its libraries take longer to load than the rest of the program.
#pragma once

#include <cstdint>
#include <string>

namespace graft {

enum class ParquetAnswer { Good, End, Damaged, Unsupported, NoMemory };

/// Functions of the module. None of them throws; where one fails, its text is a complaint of one line.
struct ParquetModule {
  /// A handle of the file, null where it cannot be opened: `answer` says why. `rows` becomes the number of its rows.
  void* (*open)(const char* path, std::int64_t& rows, ParquetAnswer& answer, std::string& complaint);
  /// Good: `text` is the next row as a JSON object, in which strings have the bytes of the file, UTF-8 or not.
  ParquetAnswer (*next)(void* file, std::string& text);
  /// What the file says of itself under `key`; empty where it says nothing.
  std::string (*note)(void* file, const char* key);
  void (*close)(void* file);
};

/// The symbol of the module's ParquetModule.
inline constexpr const char* kParquetModuleSymbol = "graft_parquet_module";

}  // namespace graft
