// What one rendering makes, and the limits to it: a template comes with a model or a task, from anybody.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace graft::text::jinja {

/// Keeps every text, list and dict of one rendering until its end, and counts them. Whoever makes a value, goes over
/// one or runs a part of the template says so here, before the memory or the time is spent. One thread.
class Arena {
 public:
  /// Far above what a real conversation needs (a thousand messages of a thousand letters take at most 70,000 steps and
  /// 5 MB in the templates of the tests), far below what hurts: a second, and a few times these bytes of memory.
  static constexpr std::size_t kMaxSteps = 2'000'000;
  static constexpr std::size_t kMaxBytes = 64u << 20;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Counts work: an expression, an item, a comparison. Throws ResourceExhausted behind kMaxSteps.
  void step(std::size_t count = 1) {
    steps_ += count;
    if (steps_ > kMaxSteps) out_of_steps();
  }
  /// Counts the work of going over so many bytes of a text once.
  void read(std::size_t bytes) { step(bytes / 256); }
  /// Counts bytes that are about to be made. Throws ResourceExhausted behind kMaxBytes.
  void take(std::size_t bytes) {
    bytes_ += bytes;
    if (bytes_ > kMaxBytes) out_of_bytes();
  }
  std::size_t steps() const { return steps_; }
  std::size_t bytes() const { return bytes_; }

  Value function(Function function);
  Value dict(Entries entries);
  /// The state of a for loop over `items`, which its owner moves on.
  Loop& loop(const List& items);
  /// The value of `json`, which must outlive the arena. What a template is given does not count. Throws InvalidArgument
  /// (nested too deep).
  Value of_json(const nlohmann::ordered_json& json) { return of_json(json, 0); }

 private:
  friend class TextBuilder;
  friend class ListBuilder;
  Value of_json(const nlohmann::ordered_json& json, int depth);
  [[noreturn]] static void out_of_steps();
  [[noreturn]] static void out_of_bytes();

  std::size_t steps_ = 0;
  std::size_t bytes_ = 0;
  // Their elements stay where they are.
  std::deque<std::string> texts_;
  std::deque<List> lists_;
  std::deque<Entries> dicts_;
  std::deque<Function> functions_;
  std::deque<Loop> loops_;
};

/// A text in the making. What is added counts before it is held.
class TextBuilder {
 public:
  explicit TextBuilder(Arena& arena) : arena_(arena) {}
  TextBuilder& operator+=(std::string_view more) {
    arena_.take(more.size());
    text_ += more;
    return *this;
  }
  void add(std::size_t count, char c) {
    arena_.take(count);
    text_.append(count, c);
  }
  void add_code_point(char32_t point);
  Arena& arena() const { return arena_; }
  std::string take() { return std::move(text_); }
  /// The text as a value; the builder is empty then.
  std::string_view keep();

 private:
  Arena& arena_;
  std::string text_;
};

/// A list in the making, likewise.
class ListBuilder {
 public:
  explicit ListBuilder(Arena& arena) : arena_(arena) {}
  void add(const Value& value) {
    arena_.take(sizeof(Value));
    items_.push_back(value);
  }
  void add(const List& items);
  List& items() { return items_; }
  /// The list as a value; the builder is empty then.
  Value keep();

 private:
  Arena& arena_;
  List items_;
};

}  // namespace graft::text::jinja
