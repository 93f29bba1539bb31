// Values as text: Python's str() and repr(), and JSON.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "text/jinja_arena.h"
#include "text/jinja_strings.h"

namespace graft::text::jinja {
namespace {

std::string real_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::fabs(value);
  const bool plain = value == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(buffer, end);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void write_quoted(std::string_view text, TextBuilder& out) {
  const bool single = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = single ? '"' : '\'';
  out.add(1, quote);
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (static_cast<unsigned char>(c) < 32 || c == 127) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      if (c == '\\' || c == quote) out += "\\";
      out.add(1, c);
    }
  }
  out.add(1, quote);
}

void write_within(const Value& value, int depth, TextBuilder& out) {
  check_depth(depth);
  out.arena().step();
  const char* comma = "";
  if (const auto* text = value.string()) {
    write_quoted(*text, out);
  } else if (const auto* list = value.list()) {
    out += "[";
    for (const Value& item : *list) {
      out += std::exchange(comma, ", ");
      write_within(item, depth + 1, out);
    }
    out += "]";
  } else if (const auto* dict = value.dict()) {
    out += "{";
    for (const auto& [key, item] : *dict) {
      out += std::exchange(comma, ", ");
      write_quoted(key, out);
      out += ": ";
      write_within(item, depth + 1, out);
    }
    out += "}";
  } else if (value.undefined()) {
    out += "Undefined";
  } else {
    write_str(value, out);
  }
}

void write_json_text(std::string_view text, TextBuilder& out) {
  static constexpr std::string_view kPlain = "\b\f\n\r\t\"\\";
  static constexpr std::string_view kShort = "bfnrt\"\\";
  out += "\"";
  for (const char c : well_formed(text, out.arena())) {
    const std::size_t known = kPlain.find(c);
    if (known != std::string_view::npos) {
      out += "\\";
      out.add(1, kShort[known]);
    } else if (static_cast<unsigned char>(c) < 32) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out.add(1, c);
    }
  }
  out += "\"";
}

class JsonWriter {
 public:
  JsonWriter(int indent, TextBuilder& out) : indent_(indent), out_(out) {}

  void write(const Value& value, int depth) {
    check_depth(depth);
    out_.arena().step();
    bool first = true;
    if (const auto* list = value.list()) {
      out_ += "[";
      for (const Value& item : *list) {
        begin_item(std::exchange(first, false), depth + 1);
        write(item, depth + 1);
      }
      end(first, depth, "]");
    } else if (const auto* dict = value.dict()) {
      out_ += "{";
      for (const auto& [key, item] : *dict) {
        begin_item(std::exchange(first, false), depth + 1);
        write_json_text(key, out_);
        out_ += ": ";
        write(item, depth + 1);
      }
      end(first, depth, "}");
    } else {
      write_scalar(value);
    }
  }

 private:
  void begin_item(bool first, int depth) {
    if (!first) out_ += indent_ >= 0 ? "," : ", ";
    break_line(depth);
  }

  void end(bool empty, int depth, std::string_view bracket) {
    if (!empty) break_line(depth);
    out_ += bracket;
  }

  void break_line(int depth) {
    if (indent_ < 0) return;
    out_ += "\n";
    out_.add(static_cast<std::size_t>(indent_) * static_cast<std::size_t>(depth), ' ');
  }

  void write_scalar(const Value& value) {
    if (const auto* text = value.string()) {
      write_json_text(*text, out_);
    } else if (const auto* truth = value.get<bool>()) {
      out_ += *truth ? "true" : "false";
    } else if (value.none()) {
      out_ += "null";
    } else if (value.number()) {
      write_str(value, out_);
    } else {
      template_error(fmt::format("a value of type {} is not JSON", value.type()));
    }
  }

  int indent_;
  TextBuilder& out_;
};

}  // namespace

void write_str(const Value& value, TextBuilder& out) {
  if (value.undefined()) return;
  if (value.none()) {
    out += "None";
  } else if (const auto* truth = value.get<bool>()) {
    out += *truth ? "True" : "False";
  } else if (const auto* integer = value.get<std::int64_t>()) {
    out += std::to_string(*integer);
  } else if (const auto* real = value.get<double>()) {
    out += real_repr(*real);
  } else if (const auto* text = value.string()) {
    out += *text;
  } else if (value.function() != nullptr || value.loop() != nullptr) {
    out += fmt::format("<{}>", value.type());
  } else {
    write_repr(value, out);
  }
}

std::string_view str(const Value& value, Arena& arena) {
  if (value.string() != nullptr) return *value.string();
  TextBuilder out(arena);
  write_str(value, out);
  return out.keep();
}

void write_repr(const Value& value, TextBuilder& out) {
  write_within(value, 0, out);
}

void write_json(const Value& value, int indent, TextBuilder& out) {
  JsonWriter(indent, out).write(value, 0);
}

}  // namespace graft::text::jinja
