// What the tests of this room share: a tokenizer of words, throw-away folders, errors as text.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/error_test_support.h"
#include "base/file.h"
#include "data/task.h"

namespace graft {

/// A token is one byte; decode is its inverse. Enough to see what is cut where.
class ByteTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool = false) const override {
    std::vector<TokenId> ids;
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  }
  std::string decode(std::span<const TokenId> ids, bool = true) const override {
    std::string text;
    for (const TokenId id : ids) text += static_cast<char>(id);
    return text;
  }
  std::int64_t vocab_size() const override { return 256; }
  std::string token(TokenId id) const override { return std::string(1, static_cast<char>(id)); }
  std::optional<TokenId> id(std::string_view token) const override { return token.empty() ? 0 : token[0]; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  std::optional<TokenId> eos() const override { return std::nullopt; }
  std::optional<TokenId> pad() const override { return std::nullopt; }
  std::optional<TokenId> unk() const override { return std::nullopt; }
  const std::string& chat_template() const override { return none_; }
  std::string kind() const override { return "bytes"; }
  std::string hash() const override { return ""; }

 private:
  std::string none_;
};

/// The field "text" of each row, in order.
inline std::vector<std::string> texts(const std::vector<Row>& rows) {
  std::vector<std::string> all;
  for (const auto& row : rows) all.push_back(row.fields.at("text"));
  return all;
}

inline std::set<std::string> distinct(const std::vector<Row>& rows) {
  const auto all = texts(rows);
  return {all.begin(), all.end()};
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "graft-data-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;

  std::filesystem::path file(const std::string& name, std::string_view text) const {
    write_file(path_ / name, text);
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The folder of published data sets that the tests may use, empty where it is absent.
inline std::filesystem::path published_data() {
  const char* given = std::getenv("GRAFT_DATA");
  const std::filesystem::path folder = given != nullptr ? given : std::string(GRAFT_SOURCE_DIR) + "/../shared/data";
  std::error_code ignored;
  return std::filesystem::is_directory(folder, ignored) ? folder : std::filesystem::path();
}

}  // namespace graft
