#include "data/parquet.h"

#include <dlfcn.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/parquet_module.h"
#include "data/reader.h"
#include "text/unicode.h"

namespace graft {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMagicBytes = 4;

// Before Arrow sees it: what is no file is told as everywhere else, and a mistaken file by what it is.
void check_beginning(const fs::path& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored) && !fs::is_directory(path, ignored))
    fail(Category::InvalidArgument, path.string(), "is a pipe or a device; save the file first, Parquet is no stream");
  std::string beginning;
  for (FileStream stream(path); beginning.size() < kMagicBytes && stream.read(beginning, kMagicBytes);) {
  }
  const std::string magic = beginning.substr(0, kMagicBytes);
  if (magic == "PAR1") return;
  if (magic == "PARE") fail(Category::Unsupported, path.string(), "is encrypted; write it without encryption");
  fail(Category::Corruption, path.string(), "is no Parquet file, which begins with PAR1{}",
       magic == "vers" ? "; is it a pointer of Git LFS? fetch the file itself (git lfs pull)"
                       : "; fetch it again, or name it by its format");
}

// It is never unloaded: what it calls keeps threads and memory of its own.
const ParquetModule& loaded_module(const std::string& module, const fs::path& path) {
  if (module.empty()) {
    fail(Category::Unsupported, path.string(),
         "is a Parquet file, which this build of graft does not read; run ./setup, which fetches what that takes "
         "(pyarrow) and builds again, or write the file as JSON Lines");
  }
  void* const library = ::dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const symbol = library == nullptr ? nullptr : ::dlsym(library, kParquetModuleSymbol);
  if (symbol != nullptr) return *static_cast<const ParquetModule*>(symbol);
  const char* why = ::dlerror();
  fail(Category::Unsupported, path.string(),
       "is a Parquet file, and what reads those cannot be loaded ({}); run ./setup again", why == nullptr ? "" : why);
}

[[noreturn]] void fail_parquet(ParquetAnswer answer, const std::string& where, const std::string& complaint) {
  if (answer == ParquetAnswer::Unsupported) {
    fail(Category::Unsupported, where, "{}, for which rows have no place; write it as JSON Lines with another program",
         complaint);
  }
  if (answer == ParquetAnswer::NoMemory)
    fail(Category::ResourceExhausted, where, "{}; write it with smaller row groups", complaint);
  fail(Category::Corruption, where, "cannot be read as Parquet ({}); it is cut off or damaged, fetch it again",
       complaint);
}

}  // namespace

struct ParquetReader::State {
  State(fs::path file, const std::string& module)
      : path(std::move(file)), functions((check_beginning(path), loaded_module(module, path))) {
    ParquetAnswer answer = ParquetAnswer::Good;
    std::string complaint;
    handle = functions.open(path.c_str(), rows, answer, complaint);
    if (handle == nullptr) fail_parquet(answer, path.string(), complaint);
    bytes = fs::file_size(path);
  }
  ~State() { functions.close(handle); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  fs::path path;
  const ParquetModule& functions;
  void* handle = nullptr;
  std::int64_t rows = 0, row = 0;
  std::uint64_t bytes = 0;
  std::string json, valid;
};

const std::string& parquet_module_file() {
  static const std::string file = GRAFT_PARQUET_MODULE;
  return file;
}

ParquetReader::ParquetReader(const fs::path& path, const std::string& module)
    : state_(std::make_unique<State>(path, module)) {}

ParquetReader::~ParquetReader() = default;
ParquetReader::ParquetReader(ParquetReader&&) noexcept = default;

bool ParquetReader::next(RowLine& line) {
  State& s = *state_;
  const ParquetAnswer answer = s.functions.next(s.handle, s.json);
  if (answer == ParquetAnswer::End) return false;
  line.where = fmt::format("{}:{}", s.path.string(), s.row + 1);
  if (answer != ParquetAnswer::Good) fail_parquet(answer, line.where, s.json);
  ++s.row;
  line.text = text::valid_utf8(s.json, s.valid);
  line.garbled = line.text.data() != s.json.data();
  return true;
}

std::int64_t ParquetReader::row() const {
  return state_->row;
}

std::uint64_t ParquetReader::position() const {
  // Rows are what the file claims: a damaged one may have more.
  if (state_->row >= state_->rows) return state_->bytes;
  const double share = static_cast<double>(state_->row) / static_cast<double>(state_->rows);
  return static_cast<std::uint64_t>(share * static_cast<double>(state_->bytes));
}

std::vector<std::string> ParquetReader::class_names(const std::string& column) const {
  using nlohmann::json;
  const json notes = json::parse(state_->functions.note(state_->handle, "huggingface"), nullptr, false);
  const json* feature = &notes;
  for (const std::string& key : {std::string("info"), std::string("features"), column}) {
    if (!feature->is_object() || !feature->contains(key)) return {};
    feature = &feature->at(key);
  }
  if (!feature->is_object()) return {};
  const auto type = feature->find("_type"), known = feature->find("names");
  if (type == feature->end() || *type != "ClassLabel" || known == feature->end() || !known->is_array()) return {};
  std::vector<std::string> names;
  for (const json& name : *known) {
    if (!name.is_string()) return {};
    names.push_back(name.get<std::string>());
  }
  return names;
}

std::vector<Row> read_parquet(const fs::path& path) {
  ParquetReader reader(path);
  std::vector<Row> rows;
  for (RowLine line; reader.next(line);) {
    rows.push_back(jsonl_row(line.text, line.where));
    rows.back().garbled = line.garbled;
  }
  return rows;
}

}  // namespace graft
