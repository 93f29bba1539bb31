#include "text/jinja_eval.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "text/jinja_sequences.h"

namespace graft::text::jinja {
namespace {

// Statements and expressions within each other, over all macros that are open: what the stack has room for.
constexpr int kMaxWithin = 1600;

using Scope = std::map<std::string_view, Value>;
enum class Flow { Normal, Break, Continue };

class Evaluator {
 public:
  Evaluator(const Entries& variables, Arena& arena, Printed printed) : arena_(arena), printed_(printed) {
    scopes_.emplace_back();
    for (const auto& [name, value] : variables) scopes_[0][name] = value;
  }

  Flow run(const Block& block, TextBuilder& out) {
    for (const Statement& statement : block) {
      const Flow flow = run(statement, out);
      if (flow != Flow::Normal) return flow;
    }
    return Flow::Normal;
  }

 private:
  // One level deeper, for as long as it lives.
  class Within {
   public:
    explicit Within(int& depth) : depth_(depth) {
      if (++depth_ > kMaxWithin)
        fail(Category::ResourceExhausted, "chat template",
             "stopped {} statements and expressions deep; does a macro call itself?", kMaxWithin);
    }
    ~Within() { --depth_; }
    Within(const Within&) = delete;

   private:
    int& depth_;
  };

  void print(const Value& value, TextBuilder& out) {
    if (printed_ == Printed::Defined && value.undefined()) missing(value, "the text needs it");
    write_str(value, out);
  }

  Flow run(const Statement& statement, TextBuilder& out) {
    using Kind = Statement::Kind;
    const Within within(depth_);
    arena_.step();
    switch (statement.kind) {
      case Kind::Text:
        out += statement.text;
        return Flow::Normal;
      case Kind::Print:
        print(evaluate(*statement.value), out);
        return Flow::Normal;
      case Kind::If:
        return run(evaluate(*statement.condition).truth() ? statement.body : statement.otherwise, out);
      case Kind::For:
        return run_for(statement, out);
      case Kind::Set:
        set(statement, evaluate(*statement.value));
        return Flow::Normal;
      case Kind::SetBlock:
        set(statement, rendered(statement.body));
        return Flow::Normal;
      case Kind::Macro:
        scopes_.back()[statement.text] = macro(statement);
        return Flow::Normal;
      case Kind::CallBlock:
        run_call(statement, out);
        return Flow::Normal;
      case Kind::FilterBlock:
        write_str(filter(*statement.value, rendered(statement.body)), out);
        return Flow::Normal;
      case Kind::Plain:
        return run(statement.body, out);
      case Kind::Break:
        return Flow::Break;
      case Kind::Continue:
        return Flow::Continue;
    }
    return Flow::Normal;
  }

  Value rendered(const Block& block) {
    TextBuilder text(arena_);
    scopes_.emplace_back();
    run(block, text);
    scopes_.pop_back();
    return text.keep();
  }

  void set(const Statement& statement, const Value& value) {
    if (!statement.text.empty()) {
      const Value space = lookup(statement.names[0]);
      if (space.dict() == nullptr) template_error(fmt::format("'{}' is no namespace", statement.names[0]));
      return put_entry(space, statement.text, value);
    }
    assign(statement.names, value);
  }

  void put_entry(const Value& dict, std::string_view key, const Value& value) {
    if (Value* found = find(dict, key, arena_)) {
      *found = value;
      return;
    }
    arena_.take(sizeof(Entries::value_type));
    dict.mutable_dict()->emplace_back(key, value);
  }

  void assign(const std::vector<std::string>& names, const Value& value) {
    if (names.size() == 1) {
      put_name(names[0], value);
      return;
    }
    const List& items = items_of(value, arena_);
    if (items.size() != names.size()) template_error(fmt::format("{} values for {} names", items.size(), names.size()));
    for (std::size_t index = 0; index < names.size(); ++index) put_name(names[index], items[index]);
  }

  void put_name(std::string_view name, const Value& value) {
    arena_.step(1 + name.size() / 64);
    scopes_.back()[name] = value;
  }

  Flow run_for(const Statement& statement, TextBuilder& out) {
    const Value iterable = evaluate(*statement.value);
    if (iterable.undefined()) missing(iterable, "a loop goes over it");
    scopes_.emplace_back();
    const List& items = chosen(statement, items_of(iterable, arena_));
    Loop& loop = arena_.loop(items);
    for (; loop.index < items.size(); ++loop.index) {
      arena_.step();
      scopes_.back().clear();
      scopes_.back()["loop"] = &loop;
      assign(statement.names, items[loop.index]);
      if (run(statement.body, out) == Flow::Break) break;
    }
    scopes_.pop_back();
    return items.empty() ? run(statement.otherwise, out) : Flow::Normal;
  }

  // Those that the loop's own condition lets pass.
  const List& chosen(const Statement& loop, const List& items) {
    if (loop.condition == nullptr) return items;
    ListBuilder kept(arena_);
    for (const Value& item : items) {
      assign(loop.names, item);
      if (evaluate(*loop.condition).truth()) kept.add(item);
    }
    return *kept.keep().list();
  }

  Value macro(const Statement& statement) {
    return arena_.function([this, &statement](const Arguments& arguments) { return call_macro(statement, arguments); });
  }

  Value call_macro(const Statement& statement, const Arguments& arguments) {
    const Within within(depth_);
    Scope scope;
    for (std::size_t index = 0; index < statement.names.size(); ++index) {
      Value value = arguments.at(index, statement.names[index]);
      if (value.undefined() && statement.defaults[index] != nullptr) value = evaluate(*statement.defaults[index]);
      scope[statement.names[index]] = value;
    }
    const Value caller = arguments.at(arguments.positional.size(), "caller");
    if (!caller.undefined()) scope["caller"] = caller;
    // A macro sees the template's own variables, not those of its caller.
    const std::size_t outer = std::exchange(innermost_macro_, scopes_.size());
    scopes_.push_back(std::move(scope));
    TextBuilder text(arena_);
    run(statement.body, text);
    scopes_.pop_back();
    innermost_macro_ = outer;
    return text.keep();
  }

  void run_call(const Statement& statement, TextBuilder& out) {
    const Value function = evaluate(*statement.value->children[0]);
    Arguments arguments = evaluate_arguments(*statement.value);
    arguments.named.emplace_back("caller", macro(statement));
    write_str(call(function, arguments, "call"), out);
  }

  Value lookup(std::string_view name) {
    arena_.step(name.size() / 64 + (scopes_.size() - innermost_macro_) / 8);
    for (std::size_t at = scopes_.size(); at-- > innermost_macro_;) {
      const auto found = scopes_[at].find(name);
      if (found != scopes_[at].end()) return found->second;
    }
    const auto found = scopes_[0].find(name);
    return found == scopes_[0].end() ? Value(Undefined{name}) : found->second;
  }

  Value evaluate(const Expression& expression) {
    using Kind = Expression::Kind;
    const Within within(depth_);
    arena_.step(1 + expression.text.size() / 64);  // a name is compared
    const auto child = [&](std::size_t index) { return evaluate(*expression.children[index]); };
    switch (expression.kind) {
      case Kind::Literal:
        return expression.literal;
      case Kind::String:
        return std::string_view(expression.text);
      case Kind::Name:
        return lookup(expression.text);
      case Kind::List:
        return list(expression);
      case Kind::Dict:
        return dict(expression);
      case Kind::Attribute:
        return attribute(child(0), expression.text);
      case Kind::Index:
        return index(child(0), child(1));
      case Kind::Slice:
        return slice(expression);
      case Kind::Call:
        return call(child(0), evaluate_arguments(expression), expression.children[0]->text);
      case Kind::Filter:
        return filter(expression, child(0));
      case Kind::Test:
        return apply_test(expression.text, child(0), evaluate_arguments(expression)) != expression.negated;
      case Kind::Unary:
        return unary(expression.text, child(0));
      case Kind::Binary:
        return binary(expression);
      case Kind::Conditional:
        if (child(1).truth()) return child(0);
        return expression.children[2] == nullptr ? Value(Undefined{"the else of an inline if"}) : child(2);
    }
    return {};
  }

  Value list(const Expression& expression) {
    ListBuilder items(arena_);
    for (const ExpressionPtr& item : expression.children) items.add(evaluate(*item));
    return items.keep();
  }

  Value dict(const Expression& expression) {
    const Value made = arena_.dict({});
    for (std::size_t index = 0; index < expression.children.size(); index += 2) {
      const std::string_view key = str(evaluate(*expression.children[index]), arena_);
      put_entry(made, key, evaluate(*expression.children[index + 1]));
    }
    return made;
  }

  Value filter(const Expression& expression, const Value& value) {
    return apply_filter(expression.text, value, evaluate_arguments(expression));
  }

  Arguments evaluate_arguments(const Expression& call) {
    Arguments arguments{arena_};
    for (const auto& [name, value] : call.arguments) {
      if (name.empty()) {
        arguments.positional.push_back(evaluate(*value));
      } else {
        arguments.named.emplace_back(name, evaluate(*value));
      }
    }
    return arguments;
  }

  static Value call(const Value& function, const Arguments& arguments, const std::string& name) {
    if (function.function() == nullptr)
      template_error(fmt::format("'{}' cannot be called: it is {}", name, function.type()));
    return (*function.function())(arguments);
  }

  Value attribute(const Value& value, std::string_view name) {
    if (value.undefined()) missing(value, fmt::format("'.{}' was asked of it", name));
    if (value.loop() != nullptr) return of_loop(*value.loop(), name);
    const Value method = method_of(value, name, arena_);
    if (!method.undefined()) return method;
    if (const Value* found = find(value, name, arena_)) return *found;
    return Undefined{name};
  }

  Value of_loop(const Loop& loop, std::string_view name) {
    const auto count = static_cast<std::int64_t>(loop.items.size());
    const auto at = static_cast<std::int64_t>(loop.index);
    if (name == "index") return at + 1;
    if (name == "index0") return at;
    if (name == "revindex") return count - at;
    if (name == "revindex0") return count - at - 1;
    if (name == "first") return at == 0;
    if (name == "last") return at + 1 == count;
    if (name == "length") return count;
    if (name == "previtem" && at > 0) return loop.items[loop.index - 1];
    if (name == "nextitem" && at + 1 < count) return loop.items[loop.index + 1];
    if (name != "cycle") return Undefined{name};
    return arena_.function([at = loop.index](const Arguments& arguments) {
      if (arguments.positional.empty()) template_error("cycle needs values");
      return arguments.positional[at % arguments.positional.size()];
    });
  }

  Value index(const Value& value, const Value& key) {
    if (value.undefined()) missing(value, "an index was asked of it");
    if (const auto* name = key.string()) {
      if (const Value* found = find(value, *name, arena_)) return *found;
      return attribute(value, *name);
    }
    if (value.list() == nullptr && value.string() == nullptr) return Undefined{"an index"};
    return item_at(value, key.integer("an index"), arena_);
  }

  Value slice(const Expression& expression) {
    const Value value = evaluate(*expression.children[0]);
    const auto part = [&](std::size_t child) -> std::optional<std::int64_t> {
      if (expression.children[child] == nullptr) return std::nullopt;
      const Value bound = evaluate(*expression.children[child]);
      if (bound.none()) return std::nullopt;
      return bound.integer("a slice");
    };
    return sliced(value, {part(1), part(2), part(3)}, arena_);
  }

  static Value unary(const std::string& sign, const Value& value) {
    if (sign == "not") return !value.truth();
    if (value.get<double>() != nullptr) return sign == "-" ? -value.real() : value.real();
    const std::int64_t integer = value.integer("a sign");
    return sign == "-" ? static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(integer)) : integer;
  }

  Value binary(const Expression& expression) {
    const std::string& name = expression.text;
    const Value left = evaluate(*expression.children[0]);
    if (name == "and") return left.truth() ? evaluate(*expression.children[1]) : left;
    if (name == "or") return left.truth() ? left : evaluate(*expression.children[1]);
    const Value right = evaluate(*expression.children[1]);
    if (name == "==") return equal(left, right, arena_);
    if (name == "!=") return !equal(left, right, arena_);
    if (name == "<") return compare(left, right, arena_) < 0;
    if (name == "<=") return compare(left, right, arena_) <= 0;
    if (name == ">") return compare(left, right, arena_) > 0;
    if (name == ">=") return compare(left, right, arena_) >= 0;
    if (name == "in") return contains(right, left, arena_);
    if (name == "not in") return !contains(right, left, arena_);
    if (name == "~") return concatenated(left, right);
    return arithmetic(name, left, right, arena_);
  }

  Value concatenated(const Value& left, const Value& right) {
    TextBuilder out(arena_);
    write_str(left, out);
    write_str(right, out);
    return out.keep();
  }

  Arena& arena_;
  Printed printed_;
  std::vector<Scope> scopes_;
  int depth_ = 0;
  std::size_t innermost_macro_ = 1;  ///< the scope it begins with; those from 1 to there are out of sight
};

}  // namespace

std::string render(const Block& block, const Entries& variables, Arena& arena, Printed printed) {
  TextBuilder out(arena);
  Evaluator(variables, arena, printed).run(block, out);
  return out.take();
}

}  // namespace graft::text::jinja
