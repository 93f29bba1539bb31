#include "text/jinja_eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace graft::text::jinja {
namespace {

// Far above what a real conversation needs, far below what hurts.
constexpr std::size_t kMaxSteps = 2'000'000;
constexpr int kMaxCalls = 64;

using Scope = std::map<std::string, Value>;
enum class Flow { Normal, Break, Continue };

class Evaluator {
 public:
  Evaluator(Entries variables, Printed printed) : printed_(printed) {
    scopes_.emplace_back();
    for (auto& [name, value] : variables) scopes_[0][name] = std::move(value);
  }

  Flow run(const Block& block, std::string& out) {
    for (const Statement& statement : block) {
      const Flow flow = run(statement, out);
      if (flow != Flow::Normal) return flow;
    }
    return Flow::Normal;
  }

 private:
  void step() {
    if (++steps_ > kMaxSteps)
      fail(Category::ResourceExhausted, "chat template", "stopped after {} steps; does a loop multiply itself?",
           kMaxSteps);
  }

  void put(std::string_view text, std::string& out) {
    written_ += text.size();
    if (written_ > kMaxOutput)
      fail(Category::ResourceExhausted, "chat template", "stopped after {} bytes of output", kMaxOutput);
    out.append(text);
  }

  void print(const Value& value, std::string& out) {
    if (printed_ == Printed::Defined && value.undefined()) missing(value, "the text needs it");
    put(value.str(), out);
  }

  Flow run(const Statement& statement, std::string& out) {
    using Kind = Statement::Kind;
    step();
    switch (statement.kind) {
      case Kind::Text:
        put(statement.text, out);
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
        put(filter(*statement.value, rendered(statement.body)).str(), out);
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
    std::string text;
    scopes_.emplace_back();
    run(block, text);
    scopes_.pop_back();
    return text;
  }

  void set(const Statement& statement, Value value) {
    if (!statement.text.empty()) {
      const Value space = lookup(statement.names[0]);
      if (space.dict() == nullptr) template_error(fmt::format("'{}' is no namespace", statement.names[0]));
      return put_entry(*space.shared_dict(), statement.text, std::move(value));
    }
    assign(statement.names, std::move(value));
  }

  static void put_entry(Entries& entries, const std::string& key, Value value) {
    const auto found = std::ranges::find_if(entries, [&](const auto& entry) { return entry.first == key; });
    if (found == entries.end()) {
      entries.emplace_back(key, std::move(value));
    } else {
      found->second = std::move(value);
    }
  }

  void assign(const std::vector<std::string>& names, Value value) {
    if (names.size() == 1) {
      scopes_.back()[names[0]] = std::move(value);
      return;
    }
    const List items = items_of(value);
    if (items.size() != names.size()) template_error(fmt::format("{} values for {} names", items.size(), names.size()));
    for (std::size_t index = 0; index < names.size(); ++index) scopes_.back()[names[index]] = items[index];
  }

  Flow run_for(const Statement& statement, std::string& out) {
    const Value iterable = evaluate(*statement.value);
    if (iterable.undefined()) missing(iterable, "a loop goes over it");
    List items = items_of(iterable);
    scopes_.emplace_back();
    if (statement.condition != nullptr) {
      List kept;
      for (Value& item : items) {
        assign(statement.names, item);
        if (evaluate(*statement.condition).truth()) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    for (std::size_t index = 0; index < items.size(); ++index) {
      step();
      scopes_.back().clear();
      scopes_.back()["loop"] = loop(items, index);
      assign(statement.names, items[index]);
      if (run(statement.body, out) == Flow::Break) break;
    }
    scopes_.pop_back();
    return items.empty() ? run(statement.otherwise, out) : Flow::Normal;
  }

  static Value loop(const List& items, std::size_t index) {
    const auto count = static_cast<std::int64_t>(items.size());
    const auto at = static_cast<std::int64_t>(index);
    Entries entries = {{"index", at + 1},        {"index0", at},
                       {"revindex", count - at}, {"revindex0", count - at - 1},
                       {"first", at == 0},       {"last", at + 1 == count},
                       {"length", count}};
    if (index > 0) entries.emplace_back("previtem", items[index - 1]);
    if (index + 1 < items.size()) entries.emplace_back("nextitem", items[index + 1]);
    entries.emplace_back("cycle", Value::function([index](const Arguments& arguments) {
                           if (arguments.positional.empty()) template_error("cycle needs values");
                           return arguments.positional[index % arguments.positional.size()];
                         }));
    return Value::dict(std::move(entries));
  }

  Value macro(const Statement& statement) {
    return Value::function([this, &statement](const Arguments& arguments) { return call_macro(statement, arguments); });
  }

  Value call_macro(const Statement& statement, const Arguments& arguments) {
    if (++calls_ > kMaxCalls)
      fail(Category::ResourceExhausted, "chat template", "macros call each other more than {} deep", kMaxCalls);
    Scope scope;
    for (std::size_t index = 0; index < statement.names.size(); ++index) {
      Value value = arguments.at(index, statement.names[index].c_str());
      if (value.undefined() && statement.defaults[index] != nullptr) value = evaluate(*statement.defaults[index]);
      scope[statement.names[index]] = std::move(value);
    }
    const Value caller = arguments.at(arguments.positional.size(), "caller");
    if (!caller.undefined()) scope["caller"] = caller;
    // A macro sees the template's own variables, not those of its caller.
    std::vector<Scope> outer(std::make_move_iterator(scopes_.begin() + 1), std::make_move_iterator(scopes_.end()));
    scopes_.resize(1);
    scopes_.push_back(std::move(scope));
    std::string text;
    run(statement.body, text);
    scopes_.resize(1);
    std::ranges::move(outer, std::back_inserter(scopes_));
    --calls_;
    return text;
  }

  void run_call(const Statement& statement, std::string& out) {
    const Value function = evaluate(*statement.value->children[0]);
    Arguments arguments = evaluate_arguments(*statement.value);
    arguments.named.emplace_back("caller", macro(statement));
    put(call(function, arguments, "call").str(), out);
  }

  Value lookup(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->find(name);
      if (found != scope->end()) return found->second;
    }
    return Undefined{name};
  }

  Value evaluate(const Expression& expression) {
    using Kind = Expression::Kind;
    step();
    const auto child = [&](std::size_t index) { return evaluate(*expression.children[index]); };
    switch (expression.kind) {
      case Kind::Literal:
        return expression.literal;
      case Kind::Name:
        return lookup(expression.text);
      case Kind::List: {
        List items;
        for (const ExpressionPtr& item : expression.children) items.push_back(evaluate(*item));
        return Value::list(std::move(items));
      }
      case Kind::Dict: {
        Entries entries;
        for (std::size_t index = 0; index < expression.children.size(); index += 2)
          put_entry(entries, child(index).str(), child(index + 1));
        return Value::dict(std::move(entries));
      }
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
      case Kind::Conditional: {
        if (child(1).truth()) return child(0);
        return expression.children[2] == nullptr ? Value(Undefined{"the else of an inline if"}) : child(2);
      }
    }
    return {};
  }

  Value filter(const Expression& expression, const Value& value) {
    return apply_filter(expression.text, value, evaluate_arguments(expression));
  }

  Arguments evaluate_arguments(const Expression& call) {
    Arguments arguments;
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

  static Value attribute(const Value& value, const std::string& name) {
    if (value.undefined()) missing(value, fmt::format("'.{}' was asked of it", name).c_str());
    Value method = method_of(value, name);
    if (!method.undefined()) return method;
    if (const Value* found = value.find(name)) return *found;
    return Undefined{name};
  }

  static Value index(const Value& value, const Value& key) {
    if (value.undefined()) missing(value, "an index was asked of it");
    if (const auto* name = key.string()) {
      if (const Value* found = value.find(*name)) return *found;
      Value method = method_of(value, *name);
      return method.undefined() ? Value(Undefined{*name}) : method;
    }
    if (value.list() == nullptr && value.string() == nullptr) return Undefined{"an index"};
    const List items = items_of(value);
    std::int64_t at = key.integer("an index");
    if (at < 0) at += static_cast<std::int64_t>(items.size());
    if (at < 0 || at >= static_cast<std::int64_t>(items.size())) return Undefined{"an index behind the end"};
    return items[static_cast<std::size_t>(at)];
  }

  // Python's slices.
  Value slice(const Expression& expression) {
    const Value value = evaluate(*expression.children[0]);
    if (value.list() == nullptr && value.string() == nullptr)
      template_error(fmt::format("{} cannot be sliced", value.type()));
    const List items = items_of(value);
    const auto size = static_cast<std::int64_t>(items.size());
    std::optional<std::int64_t> parts[3];
    for (std::size_t part = 0; part < 3; ++part) {
      const ExpressionPtr& given = expression.children[part + 1];
      if (given == nullptr) continue;
      const Value bound = evaluate(*given);
      if (!bound.none()) parts[part] = bound.integer("a slice");
    }
    const std::int64_t stride = parts[2].value_or(1);
    if (stride == 0) template_error("a slice of step 0");
    const std::int64_t low = stride > 0 ? 0 : -1;
    const std::int64_t high = stride > 0 ? size : size - 1;
    const auto bound = [&](std::optional<std::int64_t> given, std::int64_t otherwise) {
      if (!given.has_value()) return otherwise;
      return std::clamp(*given < 0 ? std::max<std::int64_t>(*given, -size - 1) + size : *given, low, high);
    };
    const std::int64_t begin = bound(parts[0], stride > 0 ? 0 : size - 1);
    const std::int64_t end = bound(parts[1], stride > 0 ? size : -1);
    List taken;
    for (std::int64_t at = begin; stride > 0 ? at < end : at > end;) {
      taken.push_back(items[static_cast<std::size_t>(at)]);
      if (std::abs(stride) > size) break;
      at += stride;
    }
    if (value.list() != nullptr) return Value::list(std::move(taken));
    std::string text;
    for (const Value& character : taken) text += *character.string();
    return text;
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
    if (name == "==") return equal(left, right);
    if (name == "!=") return !equal(left, right);
    if (name == "<") return compare(left, right) < 0;
    if (name == "<=") return compare(left, right) <= 0;
    if (name == ">") return compare(left, right) > 0;
    if (name == ">=") return compare(left, right) >= 0;
    if (name == "in") return contains(right, left);
    if (name == "not in") return !contains(right, left);
    if (name == "~") return limited(left.str() + right.str());
    return arithmetic(name, left, right);
  }

  Printed printed_;
  std::vector<Scope> scopes_;
  std::size_t steps_ = 0;
  std::size_t written_ = 0;
  int calls_ = 0;
};

}  // namespace

std::string render(const Block& block, Entries variables, Printed printed) {
  std::string out;
  Evaluator evaluator(std::move(variables), printed);
  evaluator.run(block, out);
  return out;
}

}  // namespace graft::text::jinja
