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

std::vector<const TensorInfo*> sources_of(const std::vector<Passage>& passages) {
  std::vector<const TensorInfo*> stored;
  for (const Passage& passage : passages) stored.push_back(passage.from);
  return stored;
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

}  // namespace

ModelExport::ModelExport(const std::filesystem::path& model, const std::filesystem::path& output,
                         const std::string& dtype)
    : output_(output) {
  if (!into_gguf()) {
    refuse_occupied(output);
    if (!dtype.empty()) folder_type(dtype);
    files_ = open_model_files(model);
    plan_folder(dtype);
  } else {
    if (std::filesystem::exists(output))
      fail(Category::InvalidArgument, output.string(), "is there already; choose another name");
    const auto wanted = dtype.empty() ? std::nullopt : std::optional(stored_type(dtype));
    files_ = open_model_files(model);
    if (files_.weights->format() == "gguf") {
      plan_gguf_of_gguf(wanted);
    } else {
      plan_gguf_of_folder(wanted);
    }
  }
  count_types();
}

bool ModelExport::into_gguf() const {
  return output_.extension() == ".gguf";
}

std::vector<TensorPlan> ModelExport::planned() const {
  std::vector<TensorPlan> plan = plans_of(passages_);
  for (const RopeTensor& tensor : rotation_)
    plan.push_back({tensor.name, DType::F32, {static_cast<std::int64_t>(tensor.divisors.size())}});
  return plan;
}

void ModelExport::plan_gguf_of_folder(const std::optional<DType>& wanted) {
  metadata_ = gguf_model_metadata(files_.config, files_.path.string());
  if (const std::string called = name_of_model(files_.path); !called.empty()) metadata_["general.name"] = called;
  report_.no_tokenizer = add_tokenizer(files_, metadata_, report_.notes);
  passages_ = model_passages(files_);
  for (Passage& passage : passages_) passage.to.dtype = folder_type(passage.from->dtype);
  const DType most = wanted.value_or(main_dtype(plans_of(passages_)));
  TypeChoice choice(most, passages_);
  for (Passage& passage : passages_) {
    if (keeps_precision(passage.to)) {
      passage.to.dtype = DType::F32;
    } else if (wanted) {
      choice.choose(passage);
    }
  }
  for (const auto& notes : {choice.notes(), gguf_notes(files_.config)})
    report_.notes.insert(report_.notes.end(), notes.begin(), notes.end());
  metadata_.update(type_keys(most));
  rotation_ = gguf_rope_tensors(files_.config.rope);
}

// The same file in other types, or of several files one.
void ModelExport::plan_gguf_of_gguf(const std::optional<DType>& wanted) {
  own_names_ = open_gguf(files_.weights->files().front());
  for (const TensorInfo& info : own_names_->tensors()) passages_.push_back({&info, plan_of(info)});
  metadata_ = json::object();
  if (!wanted) return;
  TypeChoice choice(*wanted, passages_);
  for (Passage& passage : passages_) {
    if (!keeps_precision(passage.to)) choice.choose(passage);
  }
  report_.notes = choice.notes();
  metadata_ = type_keys(*wanted);
}

void ModelExport::plan_folder(const std::string& dtype) {
  folder_config(files_);  // a variant that it cannot say is told before anything is read
  const std::vector<Passage> all =
      files_.weights->format() == "gguf" ? model_passages(files_) : folder_passages(files_);
  for (const std::size_t i : file_by_file(sources_of(all))) {
    passages_.push_back(all[i]);
    DType& type = passages_.back().to.dtype;
    if (!is_floating(type)) continue;
    if (!dtype.empty()) {
      type = folder_type(dtype);
    } else if (is_quantised(type)) {
      type = folder_type(type);
    }
  }
}

void ModelExport::count_types() {
  const std::vector<TensorPlan> plan = planned();
  std::map<DType, std::size_t> counts;
  for (const TensorPlan& tensor : plan) ++counts[tensor.dtype];
  for (const auto& [type, count] : counts)
    report_.types += fmt::format("{}{} ({})", report_.types.empty() ? "" : ", ", name(type), count);
  report_.tensors = plan.size();
  report_.bytes = bytes_of(plan);
}

// One tensor after the other; `write` is given its bytes.
template <typename Write>
void ModelExport::carry(const Write& write) {
  for (const Passage& passage : passages_) {
    if (passage.unchanged()) {
      write(source().bytes(*passage.from));
    } else {
      const auto bytes = passed(source(), passage, report_.error);
      write(std::span<const std::byte>(bytes));
    }
    source().release(*passage.from);
  }
}

void ModelExport::write_gguf_file() {
  std::vector<std::string> replaced;
  for (const auto& [key, value] : metadata_.items()) replaced.push_back(key);
  const auto writer =
      own_names_ != nullptr
          ? write_gguf_copy(output_, planned(), gguf_metadata(files_.weights->files().front(), replaced), metadata_)
          : write_gguf(output_, planned(), metadata_);
  carry([&](std::span<const std::byte> bytes) { writer->write(bytes); });
  for (const RopeTensor& tensor : rotation_) writer->write(std::as_bytes(std::span(tensor.divisors)));
  writer->finish();
}

void ModelExport::write_folder() {
  ModelFolder folder(files_, output_, planned(), sources_of(passages_));
  carry([&](std::span<const std::byte> bytes) { folder.write(bytes); });
  report_.no_tokenizer = folder.finish();
}

ExportReport ModelExport::write() {
  if (into_gguf()) {
    write_gguf_file();
  } else {
    write_folder();
  }
  return report_;
}

WeightWork ModelExport::work() const {
  WeightWork all;
  all.written = static_cast<std::int64_t>(report_.bytes);
  for (const Passage& passage : passages_) {
    const auto bytes = static_cast<std::int64_t>(passage.from->bytes);
    all.read += bytes;
    if (passage.unchanged()) {
      all.largest_copied = std::max(all.largest_copied, bytes);
      continue;
    }
    const auto make = [this, &passage] {
      RoundingError error;
      passed(source(), passage, error);
      source().release(*passage.from);
    };
    all.tensors.push_back(
        {fmt::format("{} to {}{}", name(passage.from->dtype), name(passage.to.dtype), passage.turned ? ", turned" : ""),
         passage.from->elements(), make});
  }
  return all;
}

ExportReport export_model(const std::filesystem::path& model, const std::filesystem::path& output,
                          const std::string& dtype) {
  return ModelExport(model, output, dtype).write();
}

}  // namespace graft
