// One file's documents, for DocumentReader.
#pragma once

#include "base/file.h"
#include "corpus/documents.h"
#include "data/reader.h"

namespace graft {

class DocumentReader::Source {
 public:
  virtual ~Source() = default;
  /// Fills all of a piece but the file of its place.
  virtual bool next(Piece& piece) = 0;
  /// Bytes of the file up to the end of the last piece.
  virtual std::uint64_t position() const = 0;
};

/// Throws as the constructors of FileStream, TableReader and ParquetReader do.
std::unique_ptr<DocumentReader::Source> open_source(const std::filesystem::path& file, const std::string& format,
                                                    const DocumentSettings& settings);

}  // namespace graft
