// Documents of any number of files, one after the other, whatever the size of the files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"

namespace graft {

struct DocumentSettings {
  std::string field = "text";         ///< of .jsonl, .csv, .tsv and .parquet: where the text is; "a.b" is b of a
  std::string format;                 ///< txt, jsonl, csv, tsv or parquet; empty: as a file's name says
  bool paragraphs = false;            ///< a .txt file has a document between blank lines, and is not one itself
  std::size_t chunk_bytes = 1 << 20;  ///< that are read at a time, at least
};

/// Where a document is.
struct Place {
  std::uint32_t file = 0;  ///< DocumentReader::files()
  std::int64_t line = 0;   ///< from 1, of .parquet the row; 0: the document is the whole file
};

/// A part of a document that ends between two words. A .txt file that is one document comes in several, everything else
/// in one.
struct Piece {
  std::string_view text;  ///< valid UTF-8 (what is not has become U+FFFD), until the next one is read
  Place place;            ///< of the document
  bool first = true;
  bool last = true;
};

struct Document {
  std::string text;
  Place place;
};

/// Reads .txt, .jsonl, .csv, .tsv and .parquet. Memory is bounded by `chunk_bytes` and by the longest document, of a
/// .txt file that is one document by its longest word. Not thread-safe.
class DocumentReader {
 public:
  /// `paths` are files, folders (all their files of these formats, in the order of their names) or "-", which is
  /// standard input. `verb` names the progress line; empty: none. Throws NotFound (no such file, a folder without any),
  /// InvalidArgument (no file, a name that tells no format, a compressed file), Io (a folder that cannot be read).
  DocumentReader(const std::vector<std::string>& paths, DocumentSettings settings = {}, const std::string& verb = "");
  ~DocumentReader();
  DocumentReader(const DocumentReader&) = delete;

  /// False behind the last one. Throws as the readers of data/reader.h do, with file and line; InvalidArgument (a row
  /// without the field, a file without any document); Cancelled after Ctrl-C.
  bool next(Piece& piece);
  /// The same, whole. Not between the pieces of a document.
  bool next(Document& document);

  /// "corpus.jsonl:17", "a.txt"
  std::string where(const Place& place) const;
  const std::vector<std::filesystem::path>& files() const { return files_; }
  /// Documents that were begun, and bytes up to the end of the last piece, so far.
  std::int64_t documents() const { return documents_; }
  /// Of these, documents that hold U+FFFD: bytes that are not UTF-8, perhaps because all are in another encoding.
  std::int64_t garbled() const { return garbled_; }
  std::uint64_t bytes() const;
  /// Of all files; 0 where one of them is a pipe.
  std::uint64_t total_bytes() const { return total_bytes_; }

  /// The documents of one file, by its format.
  class Source;

 private:
  bool open_next();
  void show_progress();

  DocumentSettings settings_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::string> formats_;
  std::size_t opened_ = 0;  // files, of which the last is source_
  std::unique_ptr<Source> source_;
  std::uint64_t bytes_before_ = 0, total_bytes_ = 0;
  std::int64_t documents_ = 0, garbled_ = 0;
  bool document_is_garbled_ = false;
  std::unique_ptr<Progress> progress_;
  std::int64_t shown_ = -1;  // megabytes
};

/// A document as a line of a .jsonl file, its end included; with the name of its source, where it has one.
std::string document_line(const std::string& field, const std::string& text, const std::string& source = "");

/// Throws InvalidArgument where a file is a pipe, which cannot be read twice.
void refuse_pipes(const DocumentReader& reader);

}  // namespace graft
