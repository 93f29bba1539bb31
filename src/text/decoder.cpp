#include "text/decoder.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

std::string lossy(const std::string& bytes) {
  std::string storage;
  return std::string(valid_utf8(bytes, storage));
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
  }
  return out.append(text.substr(done));
}

// The byte of "<0x41>".
std::optional<char> byte_of_token(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0 ? c - '0' : std::tolower(c) - 'a' + 10;
  };
  if (std::isxdigit(static_cast<unsigned char>(token[3])) == 0 ||
      std::isxdigit(static_cast<unsigned char>(token[4])) == 0)
    return std::nullopt;
  return static_cast<char>(digit(token[3]) * 16 + digit(token[4]));
}

class ByteLevel : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) bytes += bytes_of_alphabet(token).value_or(token);
    tokens.assign(1, lossy(bytes));
  }
};

class MetaspaceDecoder : public Decoder {
 public:
  MetaspaceDecoder(std::string marker, bool prefixed) : marker_(std::move(marker)), prefixed_(prefixed) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t index = 0; index < tokens.size(); ++index) {
      tokens[index] = replaced(tokens[index], marker_, index == 0 && prefixed_ ? "" : " ");
    }
  }

 private:
  std::string marker_;
  bool prefixed_;
};

class ReplaceDecoder : public Decoder {
 public:
  explicit ReplaceDecoder(std::unique_ptr<Normalizer> replace) : replace_(std::move(replace)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string out;
      replace_->apply(token, out);
      token = std::move(out);
    }
  }

 private:
  std::unique_ptr<Normalizer> replace_;
};

// A run of byte tokens is one text, or as many U+FFFD as bytes where it is not UTF-8.
class ByteFallback : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      std::string storage;
      if (valid_utf8(bytes, storage).data() == bytes.data()) {
        if (!bytes.empty()) out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), std::string(kReplacement));
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of_token(token)) {
        bytes.push_back(*byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override { tokens.assign(1, joined(tokens)); }
};

class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, std::int64_t start, std::int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (std::int64_t count = 0; count < start_ && rest.starts_with(content_); ++count)
        rest.remove_prefix(content_.size());
      for (std::int64_t count = 0; count < stop_ && rest.ends_with(content_); ++count)
        rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  std::int64_t start_, stop_;
};

class WordEnd : public Decoder {
 public:
  explicit WordEnd(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t index = 0; index < tokens.size(); ++index) {
      tokens[index] = replaced(tokens[index], suffix_, index + 1 == tokens.size() ? "" : " ");
    }
  }

 private:
  std::string suffix_;
};

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) step->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

class SentencePiece : public Decoder {
 public:
  explicit SentencePiece(SentencePieceDecoding options) : options_(std::move(options)) {}
  void apply(std::vector<std::string>& tokens) const override {
    std::string text;
    std::string bytes;
    bool at_start = options_.strip_first_space;
    for (const std::string& token : tokens) {
      if (const auto byte = byte_of_token(token)) {
        bytes.push_back(*byte);
        at_start = false;
        continue;
      }
      put_bytes(bytes, text);
      if (token == options_.unk_piece) {
        text += options_.unk_surface;
        at_start = false;
        continue;
      }
      std::string_view piece = token;
      const bool stripped = at_start && piece.starts_with(kMarker);
      if (stripped) piece.remove_prefix(kMarker.size());
      text += replaced(piece, kMarker, " ");
      if (!text.empty() || (stripped && !options_.strip_all_leading)) at_start = false;
    }
    put_bytes(bytes, text);
    tokens.assign(1, text);
  }

 private:
  // SentencePiece gives every byte that begins no character a U+FFFD of its own.
  static void put_bytes(std::string& bytes, std::string& text) {
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t length = std::min(utf8_length(static_cast<unsigned char>(bytes[at])), bytes.size() - at);
      const std::string character = bytes.substr(at, length);
      std::string storage;
      const bool valid = valid_utf8(character, storage).data() == character.data();
      text += valid ? character : std::string(kReplacement);
      at += valid ? length : 1;
    }
    bytes.clear();
  }

  SentencePieceDecoding options_;
};

constexpr int kMaxDecoderDepth = 16;

std::unique_ptr<Decoder> make_decoder_part(const Json& component, const std::string& context, int depth) {
  const std::string type = type_of(component, context);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Replace") return std::make_unique<ReplaceDecoder>(make_normalizer(component, context));
  if (type == "BPEDecoder") return std::make_unique<WordEnd>(string_field(component, "suffix", context, "</w>"));
  if (type == "Metaspace") {
    const std::string marker = string_field(component, "replacement", context, std::string(kMarker).c_str());
    const bool legacy = bool_field(component, "add_prefix_space", context, true);
    if (marker.empty()) fail(Category::Corruption, context, "field 'replacement' must be one character");
    return std::make_unique<MetaspaceDecoder>(
        marker, string_field(component, "prepend_scheme", context, legacy ? "always" : "never") != "never");
  }
  if (type == "Strip") {
    const std::string content = string_field(component, "content", context);
    if (content.empty()) fail(Category::Corruption, context, "field 'content' must be one character");
    return std::make_unique<StripDecoder>(content, integer_field(component, "start", context),
                                          integer_field(component, "stop", context));
  }
  if (type == "Sequence") {
    if (depth >= kMaxDecoderDepth)
      fail(Category::Corruption, context, "sequences are nested more than {} deep", kMaxDecoderDepth);
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const Json& step : array_field(component, "decoders", context))
      steps.push_back(make_decoder_part(step, context, depth + 1));
    return std::make_unique<DecoderSequence>(std::move(steps));
  }
  fail(Category::Unsupported, context,
       "the decoder '{}' is not supported (known: ByteLevel Metaspace Replace ByteFallback Fuse Strip BPEDecoder "
       "Sequence)",
       type);
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const Json& component, const std::string& context) {
  return make_decoder_part(component, context, 0);
}

std::unique_ptr<Decoder> make_sentencepiece_decoder(SentencePieceDecoding options) {
  return std::make_unique<SentencePiece>(std::move(options));
}

}  // namespace graft::text
