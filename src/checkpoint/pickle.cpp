#include "checkpoint/pickle.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

using Kind = PickleValue::Kind;
using Ref = PickleValue*;

const std::map<std::string, DType, std::less<>> kStorages = {{"torch.DoubleStorage", DType::F64},
                                                             {"torch.FloatStorage", DType::F32},
                                                             {"torch.HalfStorage", DType::F16},
                                                             {"torch.BFloat16Storage", DType::BF16},
                                                             {"torch.LongStorage", DType::I64},
                                                             {"torch.IntStorage", DType::I32},
                                                             {"torch.ShortStorage", DType::I16},
                                                             {"torch.CharStorage", DType::I8},
                                                             {"torch.ByteStorage", DType::U8},
                                                             {"torch.BoolStorage", DType::Bool},
                                                             {"torch.storage.UntypedStorage", DType::U8},
                                                             {"torch.UntypedStorage", DType::U8}};

bool is_allowed(const std::string& global) {
  static const std::vector<std::string> names = {"torch._utils._rebuild_tensor_v2",
                                                 "torch._utils._rebuild_parameter",
                                                 "collections.OrderedDict",
                                                 "torch.Size",
                                                 "torch.float64",
                                                 "torch.float32",
                                                 "torch.float16",
                                                 "torch.bfloat16",
                                                 "torch.int64",
                                                 "torch.int32",
                                                 "torch.int16",
                                                 "torch.int8",
                                                 "torch.uint8",
                                                 "torch.bool",
                                                 "torch.float8_e4m3fn",
                                                 "torch.float8_e5m2"};
  return kStorages.contains(global) || std::find(names.begin(), names.end(), global) != names.end();
}

class Machine {
 public:
  Machine(std::string_view stream, const std::string& where) : stream_(stream), where_(where) {}

  Pickle run() {
    for (;;) {
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') break;
      step(opcode);
    }
    if (stack_.size() != 1) malformed("it does not end with one value");
    result_.top = stack_.back();
    return std::move(result_);
  }

 private:
  [[noreturn]] void malformed(const char* why) const {
    fail(Category::Corruption, where_, "pickle is damaged at byte {}: {}", position_, why);
  }

  std::string_view take(std::uint64_t count) {
    if (count > stream_.size() - position_) malformed("it ends too early");
    const std::string_view bytes = stream_.substr(position_, count);
    position_ += count;
    return bytes;
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view line() {
    const std::size_t end = stream_.find('\n', position_);
    if (end == std::string_view::npos) malformed("a name does not end");
    const std::string_view text = stream_.substr(position_, end - position_);
    position_ = end + 1;
    return text;
  }

  // Bounds the memory a few repeated bytes can ask for; real state dicts stay far below.
  void charge(std::size_t values) {
    constexpr std::size_t kMostValues = 1 << 22;
    charged_ += values;
    if (charged_ > kMostValues) fail(Category::Unsupported, where_, "pickle holds more than {} values", kMostValues);
  }

  Ref push(Kind kind) {
    charge(1);
    result_.nodes.emplace_back();
    result_.nodes.back().kind = kind;
    stack_.push_back(&result_.nodes.back());
    return stack_.back();
  }

  void push_int(std::int64_t value, Kind kind = Kind::Int) { push(kind)->integer = value; }

  Ref pop() {
    if (stack_.empty()) malformed("the stack is empty");
    const Ref top = stack_.back();
    stack_.pop_back();
    if (top->kind == Kind::Mark) malformed("a value was expected");
    return top;
  }

  Ref top() {
    if (stack_.empty() || stack_.back()->kind == Kind::Mark) malformed("the stack is empty");
    return stack_.back();
  }

  std::vector<Ref> pop_to_mark() {
    std::size_t at = stack_.size();
    while (at > 0 && stack_[at - 1]->kind != Kind::Mark) --at;
    if (at == 0) malformed("a mark is missing");
    std::vector<Ref> items(stack_.begin() + static_cast<std::ptrdiff_t>(at), stack_.end());
    stack_.resize(at - 1);
    return items;
  }

  void push_tuple(std::size_t count) {
    std::vector<Ref> items(count);
    for (std::size_t i = count; i > 0; --i) items[i - 1] = pop();
    push(Kind::Tuple)->items = std::move(items);
  }

  void push_text(std::uint64_t length) {
    const std::string_view text = take(length);
    push(Kind::String)->text = text;
  }

  void push_long() {
    const std::string_view digits = take(number<std::uint8_t>());
    if (digits.size() > 8) fail(Category::Unsupported, where_, "pickle holds an integer of more than 64 bits");
    std::uint64_t value = !digits.empty() && (digits.back() & 0x80) != 0 ? ~0ULL : 0;
    for (std::size_t i = digits.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(digits[i - 1]);
    push_int(static_cast<std::int64_t>(value));
  }

  // Big-endian, unlike everything else in a pickle.
  void push_float() {
    const std::string_view bytes = take(8);
    std::uint64_t bits = 0;
    for (char byte : bytes) bits = bits << 8 | static_cast<unsigned char>(byte);
    std::memcpy(&push(Kind::Float)->number, &bits, sizeof bits);
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string global = std::string(module) + "." + std::string(name);
    if (!is_allowed(global)) {
      fail(Category::Unsupported, where_,
           "pickle refers to '{}', which no plain state dict needs; nothing was executed. Do not trust this file, or "
           "re-save only "
           "its tensors (safetensors)",
           printable(global));
    }
    push(Kind::Global)->text = global;
  }

  void remember(std::uint64_t slot) { memo_[slot] = top(); }

  void recall(std::uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) malformed("it recalls a value that was never stored");
    stack_.push_back(found->second);
  }

  void set_items(const std::vector<Ref>& items) {
    const Ref dict = top();
    if (dict->kind != Kind::Dict || items.size() % 2 != 0)
      malformed("items are set on something that is no dictionary");
    for (std::size_t i = 0; i < items.size(); i += 2) dict->pairs.emplace_back(items[i], items[i + 1]);
  }

  void append(const std::vector<Ref>& items) {
    const Ref list = top();
    if (list->kind != Kind::List) malformed("items are appended to something that is no list");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }

  // ("storage", type, key, location, elements): the location (a device) does not matter here.
  void push_storage() {
    const Ref id = pop();
    if (id->kind != Kind::Tuple || id->items.size() < 5 || id->items[0]->text != "storage" ||
        id->items[1]->kind != Kind::Global || id->items[2]->kind != Kind::String || id->items[4]->kind != Kind::Int ||
        id->items[4]->integer < 0) {
      malformed("a persistent id is not that of a storage");
    }
    const auto type = kStorages.find(id->items[1]->text);
    if (type == kStorages.end()) malformed("a storage has no known type");
    const Ref storage = push(Kind::Storage);
    storage->text = id->items[2]->text;
    storage->dtype = type->second;
    storage->integer = id->items[4]->integer;
  }

  std::vector<std::int64_t> naturals(const PickleValue& tuple) const {
    constexpr std::size_t kMostDimensions = 64;
    if (tuple.kind != Kind::Tuple || tuple.items.size() > kMostDimensions)
      malformed("a tensor's shape is not a short tuple");
    std::vector<std::int64_t> values;
    for (const PickleValue* item : tuple.items) {
      if (item->kind != Kind::Int || item->integer < 0) malformed("a tensor's shape or stride is not a natural number");
      values.push_back(item->integer);
    }
    return values;
  }

  void rebuild_tensor(const std::vector<Ref>& arguments) {
    if (arguments.size() < 4 || arguments[0]->kind != Kind::Storage || arguments[1]->kind != Kind::Int ||
        arguments[1]->integer < 0) {
      malformed("a tensor is rebuilt from something that is no storage");
    }
    std::vector<std::int64_t> shape = naturals(*arguments[2]), strides = naturals(*arguments[3]);
    if (shape.size() != strides.size()) malformed("a tensor has more sizes than strides or fewer");
    const Ref tensor = push(Kind::Tensor);
    tensor->items = {arguments[0]};
    tensor->integer = arguments[1]->integer;
    tensor->shape = std::move(shape);
    tensor->strides = std::move(strides);
  }

  void make_dict(const std::vector<Ref>& arguments) {
    const Ref dict = push(Kind::Dict);
    if (arguments.empty()) return;
    if (arguments.size() != 1 || arguments[0]->kind != Kind::List)
      malformed("an OrderedDict is made from no list of pairs");
    charge(arguments[0]->items.size());
    for (const PickleValue* pair : arguments[0]->items) {
      if ((pair->kind != Kind::Tuple && pair->kind != Kind::List) || pair->items.size() != 2)
        malformed("a dictionary item is no pair");
      dict->pairs.emplace_back(pair->items[0], pair->items[1]);
    }
  }

  // "Calls" one of the allowed globals: each has its meaning here, none is looked up anywhere.
  void reduce() {
    const Ref arguments = pop(), callee = pop();
    if (callee->kind != Kind::Global || arguments->kind != Kind::Tuple)
      malformed("it calls something that is no global");
    const std::vector<Ref>& items = arguments->items;
    if (callee->text == "torch._utils._rebuild_tensor_v2") return rebuild_tensor(items);
    if (callee->text == "collections.OrderedDict") return make_dict(items);
    const bool one = !items.empty();
    if (callee->text == "torch._utils._rebuild_parameter" && one && items[0]->kind == Kind::Tensor)
      return stack_.push_back(items[0]);
    if (callee->text == "torch.Size" && one && items[0]->kind == Kind::Tuple) return stack_.push_back(items[0]);
    malformed("it calls a global with arguments that do not fit");
  }

  // A state dict carries module versions (_metadata) as attributes of its OrderedDict: of no use here.
  void build() {
    pop();
    if (top()->kind != Kind::Dict) malformed("it sets attributes of something that is no dictionary");
  }

  void step(unsigned char opcode) {
    switch (opcode) {
      case 0x80:
        check_protocol();
        return;
      case 0x95:
        number<std::uint64_t>();
        return;  // FRAME: a hint for buffered readers
      case '(':
        push(Kind::Mark);
        return;
      case '0':
        pop();
        return;
      case 'N':
        push(Kind::None);
        return;
      case 0x88:
        push_int(1, Kind::Bool);
        return;
      case 0x89:
        push_int(0, Kind::Bool);
        return;
      case 'J':
        push_int(number<std::int32_t>());
        return;
      case 'K':
        push_int(number<std::uint8_t>());
        return;
      case 'M':
        push_int(number<std::uint16_t>());
        return;
      case 0x8a:
        push_long();
        return;
      case 'G':
        push_float();
        return;
      case 'X':
        push_text(number<std::uint32_t>());
        return;
      case 0x8c:
        push_text(number<std::uint8_t>());
        return;
      case 0x8d:
        push_text(number<std::uint64_t>());
        return;
      case 'T':
        push_text(number<std::uint32_t>());
        return;
      case 'U':
        push_text(number<std::uint8_t>());
        return;
      default:
        step_container(opcode);
    }
  }

  void step_container(unsigned char opcode) {
    switch (opcode) {
      case '}':
        push(Kind::Dict);
        return;
      case ']':
        push(Kind::List);
        return;
      case ')':
        push(Kind::Tuple);
        return;
      case 't': {
        std::vector<Ref> items = pop_to_mark();
        push(Kind::Tuple)->items = std::move(items);
        return;
      }
      case 0x85:
        push_tuple(1);
        return;
      case 0x86:
        push_tuple(2);
        return;
      case 0x87:
        push_tuple(3);
        return;
      case 's': {
        const Ref value = pop(), key = pop();
        set_items({key, value});
        return;
      }
      case 'u':
        set_items(pop_to_mark());
        return;
      case 'a':
        append({pop()});
        return;
      case 'e':
        append(pop_to_mark());
        return;
      default:
        step_object(opcode);
    }
  }

  void step_object(unsigned char opcode) {
    switch (opcode) {
      case 'q':
        remember(number<std::uint8_t>());
        return;
      case 'r':
        remember(number<std::uint32_t>());
        return;
      case 0x94:
        remember(memo_.size());
        return;
      case 'h':
        recall(number<std::uint8_t>());
        return;
      case 'j':
        recall(number<std::uint32_t>());
        return;
      case 'c': {
        const std::string_view module = line();
        push_global(module, line());
        return;
      }
      case 0x93: {
        const Ref name = pop(), module = pop();
        push_global(module->text, name->text);
        return;
      }
      case 'R':
        reduce();
        return;
      case 'b':
        build();
        return;
      case 'Q':
        push_storage();
        return;
      default:
        fail(Category::Unsupported, where_,
             "pickle uses the opcode 0x{:02x} at byte {}, which no state dict needs; nothing was executed", opcode,
             position_ - 1);
    }
  }

  void check_protocol() {
    const auto version = number<std::uint8_t>();
    if (version < 2 || version > 5) fail(Category::Unsupported, where_, "pickle protocol {}; 2 to 5 are read", version);
  }

  std::string_view stream_;
  std::string where_;
  std::size_t position_ = 0;
  Pickle result_;
  std::vector<Ref> stack_;
  std::unordered_map<std::uint64_t, Ref> memo_;
  std::size_t charged_ = 0;
};

}  // namespace

Pickle read_pickle(std::string_view stream, const std::string& where) {
  return Machine(stream, where).run();
}

}  // namespace graft
