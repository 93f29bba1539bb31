#include "train/cost_table.h"

#include <fmt/format.h>

#include "train/flops.h"
#include "train/footprint.h"

namespace graft {
namespace {

CostFlops inference(const CostModel& model, const ExampleTokens& example, const Adapter* adapter = nullptr) {
  CostFlops flops{paper_rule::inference_flops(model.size, example.all()), {}};
  if (model.outline != nullptr) flops.graft = inference_flops(*model.outline, adapter, example);
  return flops;
}

std::optional<double> weight_bytes(const CostModel& model, at::ScalarType dtype) {
  if (model.outline == nullptr) return std::nullopt;
  return static_cast<double>(base_bytes(*model.outline, dtype));
}

CostRow adapted(const CostQuestion& q) {
  CostRow row{q.method, inference(q.model, q.tested, q.adapter), {}, {}, {}, {}};
  const double count = q.training_examples;
  row.training.paper = paper_rule::training_flops(q.model.size, count * q.trained.all());
  if (q.file) row.disk = static_cast<double>(*q.file);
  if (q.adapter == nullptr) return row;
  row.training.graft = count * training_flops(*q.model.outline, *q.adapter, q.trained);
  // Where base parameters are replaced, the new ones take the place of the old.
  const double beside = q.adapter->replaces_parameters() ? 0 : static_cast<double>(q.file.value_or(0));
  row.memory = *weight_bytes(q.model, q.dtype) + beside;
  row.training_memory =
      static_cast<double>(training_memory(*q.model.outline, q.dtype, *q.adapter, q.optimizer).total());
  return row;
}

CostRow untrained(const std::string& what, const CostModel& model, const ExampleTokens& example, at::ScalarType dtype) {
  return {what, inference(model, example), {0, 0}, 0, weight_bytes(model, dtype), {}};
}

CostRow prompted(const CostQuestion& q) {
  ExampleTokens whole = q.tested;
  whole.prompt += q.shots.all();
  CostRow row = untrained(fmt::format("ICL, {:g} demonstrations", q.shots.count), q.icl_model, whole, q.dtype);
  row.disk = paper_rule::stored_bytes(q.shots);
  return row;
}

CostRow cached(const CostQuestion& q) {
  CostRow row = untrained("ICL, their keys and values kept", q.icl_model, q.tested, q.dtype);
  row.disk = paper_rule::stored_bytes(q.shots);
  if (q.icl_model.outline != nullptr) {
    *row.memory += paper_rule::cache_bytes(q.icl_model.outline->config(), q.shots.all(),
                                           static_cast<double>(c10::elementSize(q.dtype)));
  }
  return row;
}

}  // namespace

std::vector<CostRow> cost_table(const CostQuestion& question) {
  std::vector<CostRow> rows = {adapted(question),
                               untrained("no adaptation", question.model, question.tested, question.dtype)};
  if (question.shots.count <= 0) return rows;
  rows.push_back(prompted(question));
  if (!question.icl_model.size.encoder_decoder) rows.push_back(cached(question));
  return rows;
}

}  // namespace graft
