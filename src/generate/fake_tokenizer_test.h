// A tokenizer for tests: one token a byte; 256 is </s>.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace graft {

class ByteTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool) const override {
    std::vector<TokenId> ids;
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  }

  // As the reference does it: U+FFFD once for an unfinished character.
  std::string decode(std::span<const TokenId> ids, bool) const override {
    std::string bytes;
    for (const auto id : ids) {
      if (id < 256) bytes += static_cast<char>(id);
    }
    std::string text;
    for (std::size_t at = 0; at < bytes.size();) {
      const auto lead = static_cast<unsigned char>(bytes[at]);
      const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
      text += at + length <= bytes.size() ? bytes.substr(at, length) : "\xEF\xBF\xBD";
      at += length;
    }
    return text;
  }

  std::int64_t vocab_size() const override { return 257; }
  std::string token(TokenId id) const override { return std::string(1, static_cast<char>(id)); }
  std::optional<TokenId> id(std::string_view) const override { return std::nullopt; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  std::optional<TokenId> eos() const override { return 256; }
  std::optional<TokenId> pad() const override { return std::nullopt; }
  std::optional<TokenId> unk() const override { return std::nullopt; }
  const std::string& chat_template() const override { return empty_; }
  std::string kind() const override { return "bytes"; }
  std::string hash() const override { return "0"; }

 private:
  std::string empty_;
};

}  // namespace graft
