// Reads Parquet files with Apache Arrow. The one symbol that is looked up is at the end.
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/result.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "data/parquet_module.h"
#include "parquet_module/json_rows.h"

namespace graft {
namespace {

// Of the values of as many rows, and of the pages they are on, are in memory at a time.
constexpr std::int64_t kRowsOfBatch = 256;

template <typename T>
T good(arrow::Result<T> result) {
  if (result.status().IsOutOfMemory()) throw std::bad_alloc();
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).ValueUnsafe();
}

bool is_bytes(const arrow::DataType& type) {
  return type.id() == arrow::Type::BINARY || type.id() == arrow::Type::LARGE_BINARY ||
         type.id() == arrow::Type::BINARY_VIEW || type.id() == arrow::Type::FIXED_SIZE_BINARY;
}

// Pictures and sounds are not even read: rows have no place for bytes.
void add_columns_of_text(const std::vector<parquet::arrow::SchemaField>& fields, std::vector<int>& columns) {
  for (const auto& field : fields) {
    if (field.is_leaf() && !is_bytes(*field.field->type())) columns.push_back(field.column_index);
    add_columns_of_text(field.children, columns);
  }
}

class ParquetFile {
 public:
  explicit ParquetFile(const char* path) {
    parquet::ReaderProperties pages;
    pages.enable_buffered_stream();  // a column's pages one after the other, not all of a row group's
    parquet::ArrowReaderProperties rows(/*use_threads=*/false);
    rows.set_batch_size(kRowsOfBatch);
    rows.set_pre_buffer(false);
    file_ = good(parquet::arrow::FileReader::Make(
        arrow::default_memory_pool(), parquet::ParquetFileReader::OpenFile(path, /*memory_map=*/false, pages), rows));
    std::vector<int> columns, groups(static_cast<std::size_t>(file_->num_row_groups()));
    add_columns_of_text(file_->manifest().schema_fields, columns);
    if (columns.empty()) throw UnsupportedColumn("has no column but bytes");
    std::iota(groups.begin(), groups.end(), 0);
    batches_ = good(file_->GetRecordBatchReader(groups, columns));
  }

  std::int64_t rows() const { return metadata().num_rows(); }

  bool next(std::string& json) {
    while (batch_ == nullptr || at_ == batch_->num_rows()) {
      batch_ = good(batches_->Next());
      at_ = 0;
      if (batch_ == nullptr) return false;
    }
    json = "{";
    for (int i = 0; i < batch_->num_columns(); ++i) {
      if (i > 0) json += ',';
      append_json(batch_->column_name(i), json);
      json += ':';
      append_json(*batch_->column(i), at_, json);
    }
    json += '}';
    ++at_;
    return true;
  }

  std::string note(const char* key) const {
    const auto& notes = metadata().key_value_metadata();
    return notes != nullptr && notes->Contains(key) ? good(notes->Get(key)) : "";
  }

 private:
  const parquet::FileMetaData& metadata() const { return *file_->parquet_reader()->metadata(); }

  std::unique_ptr<parquet::arrow::FileReader> file_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::int64_t at_ = 0;
};

// What a file says is shown in a terminal: one line of it, without control characters.
std::string one_line_of(std::string_view said) {
  constexpr std::size_t kMostBytes = 300;
  std::string line(said.substr(0, kMostBytes));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F) c = ' ';
  }
  return line;
}

// Arrow throws, and so may any allocation; the other side knows none of its exceptions.
template <typename Work>
ParquetAnswer answered(std::string& complaint, const Work& work) {
  try {
    return work();
  } catch (const UnsupportedColumn& error) {
    complaint = one_line_of(error.what());
    return ParquetAnswer::Unsupported;
  } catch (const std::bad_alloc&) {
    complaint = "there is no memory for its rows";
    return ParquetAnswer::NoMemory;
  } catch (const std::exception& error) {
    complaint = one_line_of(error.what());
    return ParquetAnswer::Damaged;
  }
}

void* open_file(const char* path, std::int64_t& rows, ParquetAnswer& answer, std::string& complaint) {
  std::unique_ptr<ParquetFile> file;
  answer = answered(complaint, [&] {
    file = std::make_unique<ParquetFile>(path);
    rows = file->rows();
    return ParquetAnswer::Good;
  });
  return answer == ParquetAnswer::Good ? file.release() : nullptr;
}

ParquetAnswer next_row(void* file, std::string& text) {
  return answered(
      text, [&] { return static_cast<ParquetFile*>(file)->next(text) ? ParquetAnswer::Good : ParquetAnswer::End; });
}

std::string note_of(void* file, const char* key) {
  std::string note, ignored;
  answered(ignored, [&] {
    note = static_cast<const ParquetFile*>(file)->note(key);
    return ParquetAnswer::Good;
  });
  return note;
}

void close_file(void* file) {
  delete static_cast<ParquetFile*>(file);
}

}  // namespace
}  // namespace graft

extern "C" {
extern __attribute__((visibility("default"))) const graft::ParquetModule graft_parquet_module;
const graft::ParquetModule graft_parquet_module = {graft::open_file, graft::next_row, graft::note_of,
                                                   graft::close_file};
}
