#include "convert/export.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/gguf.h"
#include "config/gguf_export.h"
#include "convert/model_folder.h"
#include "convert/model_passages.h"
#include "convert/stored_type.h"
#include "text/gguf_tokenizer.h"

namespace graft {
namespace {

using nlohmann::json;

// llama.cpp's numbers of general.file_type: what most of a file is in.
std::uint32_t file_type(DType type) {
  static const std::map<DType, std::uint32_t> numbers = {
      {DType::F32, 0},  {DType::F16, 1},   {DType::Q4_0, 2},  {DType::Q4_1, 3},  {DType::Q8_0, 7}, {DType::Q5_0, 8},
      {DType::Q5_1, 9}, {DType::Q4_K, 14}, {DType::Q5_K, 16}, {DType::Q6_K, 18}, {DType::BF16, 32}};
  return numbers.at(type);
}

json type_keys(DType type) {
  return {{"general.file_type", file_type(type)}, {"general.quantization_version", 2u}};
}

// Chooses the types of a GGUF file and tells where they are not what was asked for.
class TypeChoice {
 public:
  TypeChoice(DType wanted, const std::vector<Passage>& passages) : wanted_(wanted) {
    tied_ = std::ranges::none_of(passages, [](const Passage& passage) { return passage.to.name == "output.weight"; });
  }

  void choose(Passage& passage) {
    const std::int64_t row = passage.to.shape.back();
    const bool head = passage.to.name == "output.weight" || (tied_ && passage.to.name == "token_embd.weight");
    const bool raised = head && is_quantised(wanted_) && wanted_ != DType::Q8_0 && wanted_ != DType::Q6_K;
    passage.to.dtype = whole_blocks(raised ? DType::Q6_K : wanted_, row);
    if (raised) {
      head_ = fmt::format("{} is in {}, as llama.cpp keeps the head", passage.to.name, name(passage.to.dtype));
    } else if (passage.to.dtype != wanted_) {
      others_[passage.to.dtype].push_back(passage.to.name);
    }
    again_ = again_ || (is_quantised(passage.from->dtype) && passage.from->dtype != passage.to.dtype);
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    if (!head_.empty()) notes.push_back(head_);
    for (const auto& [type, names] : others_) {
      notes.push_back(fmt::format("rows that are no whole blocks of {} are in {}: {}{}", name(wanted_), name(type),
                                  names.front(),
                                  names.size() > 1 ? fmt::format(" and {} more", names.size() - 1) : ""));
    }
    if (again_) notes.push_back("blocks were rounded anew, which adds to their error; convert the original if you can");
    return notes;
  }

 private:
  DType wanted_;
  bool tied_ = false, again_ = false;
  std::string head_;
  std::map<DType, std::vector<std::string>> others_;
};

std::vector<TensorPlan> plans_of(const std::vector<Passage>& passages) {
  std::vector<TensorPlan> plan;
  for (const Passage& passage : passages) plan.push_back(passage.to);
  return plan;
}

void count_types(const std::vector<TensorPlan>& plan, ExportReport& report) {
  std::map<DType, std::size_t> counts;
  for (const TensorPlan& tensor : plan) ++counts[tensor.dtype];
  for (const auto& [type, count] : counts)
    report.types += fmt::format("{}{} ({})", report.types.empty() ? "" : ", ", name(type), count);
  report.tensors = plan.size();
  report.bytes = bytes_of(plan);
}

// One tensor after the other; `write` is given its bytes.
template <typename Write>
void carry(const TensorSource& source, const std::vector<Passage>& passages, RoundingError& error, const Write& write) {
  for (const Passage& passage : passages) {
    if (passage.unchanged()) {
      write(source.bytes(*passage.from));
    } else {
      const auto bytes = passed(source, passage, error);
      write(std::span<const std::byte>(bytes));
    }
    source.release(*passage.from);
  }
}

// Returns why there is none.
std::string add_tokenizer(const ModelFiles& files, json& metadata, std::vector<std::string>& notes) {
  try {
    metadata.update(gguf_tokenizer(files.path, files.config.vocab_size, notes));
    add_end_of_turn(files.config, metadata);
    return "";
  } catch (const Error& error) {
    if (error.category() != Category::NotFound) throw;
    return files.path.string() + " holds none";
  }
}

std::string name_of_model(const std::filesystem::path& folder) {
  const std::string last = folder.filename().string();
  return last.empty() || last == "." ? folder.parent_path().filename().string() : last;
}

ExportReport folder_to_gguf(const ModelFiles& files, const std::filesystem::path& output,
                            const std::optional<DType>& wanted) {
  ExportReport report;
  json metadata = gguf_model_metadata(files.config, files.path.string());
  if (const std::string called = name_of_model(files.path); !called.empty()) metadata["general.name"] = called;
  report.no_tokenizer = add_tokenizer(files, metadata, report.notes);
  std::vector<Passage> passages = model_passages(files);
  for (Passage& passage : passages) passage.to.dtype = folder_type(passage.from->dtype);
  const DType most = wanted.value_or(main_dtype(plans_of(passages)));
  TypeChoice choice(most, passages);
  for (Passage& passage : passages) {
    if (keeps_precision(passage.to)) {
      passage.to.dtype = DType::F32;
    } else if (wanted) {
      choice.choose(passage);
    }
  }
  for (const auto& notes : {choice.notes(), gguf_notes(files.config)})
    report.notes.insert(report.notes.end(), notes.begin(), notes.end());
  metadata.update(type_keys(most));
  std::vector<TensorPlan> plan = plans_of(passages);
  const std::vector<RopeTensor> rotation = gguf_rope_tensors(files.config.rope);
  for (const RopeTensor& tensor : rotation)
    plan.push_back({tensor.name, DType::F32, {static_cast<std::int64_t>(tensor.divisors.size())}});
  const auto writer = write_gguf(output, plan, metadata);
  carry(*files.weights, passages, report.error, [&](std::span<const std::byte> bytes) { writer->write(bytes); });
  for (const RopeTensor& tensor : rotation) writer->write(std::as_bytes(std::span(tensor.divisors)));
  writer->finish();
  count_types(plan, report);
  return report;
}

// The same file in other types, or of several files one.
ExportReport gguf_to_gguf(const ModelFiles& files, const std::filesystem::path& output,
                          const std::optional<DType>& wanted) {
  ExportReport report;
  const std::filesystem::path first = files.weights->files().front();
  const auto source = open_gguf(first);
  std::vector<Passage> passages;
  for (const TensorInfo& info : source->tensors()) passages.push_back({&info, plan_of(info)});
  if (wanted) {
    TypeChoice choice(*wanted, passages);
    for (Passage& passage : passages) {
      if (!keeps_precision(passage.to)) choice.choose(passage);
    }
    report.notes = choice.notes();
  }
  const std::vector<TensorPlan> plan = plans_of(passages);
  const json keys = wanted ? type_keys(*wanted) : json::object();
  std::vector<std::string> replaced;
  for (const auto& [key, value] : keys.items()) replaced.push_back(key);
  const auto writer = write_gguf_copy(output, plan, gguf_metadata(first, replaced), keys);
  carry(*source, passages, report.error, [&](std::span<const std::byte> bytes) { writer->write(bytes); });
  writer->finish();
  count_types(plan, report);
  return report;
}

bool is_floating(DType type) {
  return is_quantised(type) || type == DType::F64 || type == DType::F32 || type == DType::F16 || type == DType::BF16 ||
         type == DType::F8_E4M3 || type == DType::F8_E5M2;
}

// Of a folder all that is there, by its own names.
std::vector<Passage> folder_passages(const ModelFiles& files) {
  std::vector<Passage> passages;
  for (const TensorInfo& info : files.weights->tensors()) passages.push_back({&info, plan_of(info)});
  return passages;
}

ExportReport to_folder(const ModelFiles& files, const std::filesystem::path& output, const std::string& dtype) {
  const bool gguf = files.weights->format() == "gguf";
  folder_config(files);  // a variant that it cannot say is told before anything is read
  const std::vector<Passage> all = gguf ? model_passages(files) : folder_passages(files);
  std::vector<const TensorInfo*> stored;
  for (const Passage& passage : all) stored.push_back(passage.from);
  std::vector<Passage> passages;
  for (const std::size_t i : file_by_file(stored)) {
    passages.push_back(all[i]);
    DType& type = passages.back().to.dtype;
    if (!is_floating(type)) continue;
    if (!dtype.empty()) {
      type = folder_type(dtype);
    } else if (is_quantised(type)) {
      type = folder_type(type);
    }
  }
  stored.clear();
  for (const Passage& passage : passages) stored.push_back(passage.from);
  ExportReport report;
  ModelFolder folder(files, output, plans_of(passages), stored);
  carry(*files.weights, passages, report.error, [&](std::span<const std::byte> bytes) { folder.write(bytes); });
  report.no_tokenizer = folder.finish();
  count_types(plans_of(passages), report);
  return report;
}

}  // namespace

ExportReport export_model(const std::filesystem::path& model, const std::filesystem::path& output,
                          const std::string& dtype) {
  if (output.extension() != ".gguf") {
    refuse_occupied(output);
    if (!dtype.empty()) folder_type(dtype);
    return to_folder(open_model_files(model), output, dtype);
  }
  if (std::filesystem::exists(output))
    fail(Category::InvalidArgument, output.string(), "is there already; choose another name");
  const auto wanted = dtype.empty() ? std::nullopt : std::optional(stored_type(dtype));
  const ModelFiles files = open_model_files(model);
  return files.weights->format() == "gguf" ? gguf_to_gguf(files, output, wanted)
                                           : folder_to_gguf(files, output, wanted);
}

}  // namespace graft
