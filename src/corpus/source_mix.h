// Documents of several sources by weight, each read again and again: the mixture of Brown et al. 2020 (GPT-3), section
// 2.2 and table 2.2.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "corpus/documents.h"

namespace graft {

struct MixSource {
  std::string name;
  std::vector<std::string> paths;  ///< DocumentReader's
  double weight = 1;               ///< its share is this over the sum of all
};

/// "books=books.jsonl:0.3", where the weight may be left out: 1. Throws InvalidArgument with what is wrong.
MixSource mix_source_of(const std::string& text);

class SourceMix {
 public:
  /// Throws InvalidArgument for no sources, a name twice, a weight that is not above 0, a pipe; as DocumentReader.
  SourceMix(std::vector<MixSource> sources, const DocumentSettings& settings);

  /// The next document of the source whose part is furthest behind its share; returns its number. A source that ends
  /// begins again. Nothing is drawn at random: documents come in the order of their files.
  std::size_t next(Document& document);
  /// Of all sources, in their order.
  std::vector<std::filesystem::path> files() const;
  const std::string& name(std::size_t source) const { return states_[source].source.name; }
  /// Tells how much of what is counted that document was: 1, or its tokens.
  void count(std::size_t source, std::int64_t amount);

  struct Part {
    std::string name;
    double share = 0;  ///< that it should have
    std::int64_t documents = 0;
    std::int64_t amount = 0;
    double epochs = 0;  ///< how often it was read, by bytes
  };
  std::vector<Part> parts() const;

 private:
  struct State {
    MixSource source;
    std::unique_ptr<DocumentReader> reader;
    std::int64_t documents = 0, amount = 0, passes = 0;
  };

  DocumentSettings settings_;
  std::vector<State> states_;
  double weights_ = 0;
};

}  // namespace graft
