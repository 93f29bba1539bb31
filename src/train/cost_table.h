// The table of `graft cost`: an adapted model beside in-context learning, as in Table 1 of Liu et al. 2022.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "cost/paper_rule.h"
#include "train/optim.h"

namespace graft {

/// A model to count with.
struct CostModel {
  std::string name;
  paper_rule::ModelSize size;            ///< for the paper's rule
  std::shared_ptr<const Model> outline;  ///< for graft's count, in its weight format; null where only its size is known
};

struct CostQuestion {
  CostModel model, icl_model;
  const Adapter* adapter = nullptr;   ///< of model.outline; null where there is none
  std::string method;                 ///< the adapter's
  std::optional<std::int64_t> file;   ///< bytes of what is stored for a task; absent: not known
  ExampleTokens tested, trained;      ///< an example that is answered, and one that is trained on
  paper_rule::Demonstrations shots;   ///< of in-context learning
  double training_examples = 0;       ///< over all steps
  at::ScalarType dtype = at::kFloat;  ///< of dense weights, keys and values
  OptimizerSettings optimizer;
};

struct CostFlops {
  double paper = 0;
  std::optional<double> graft;  ///< absent where only the model's size is known
};

/// What is absent is not known, or does not exist.
struct CostRow {
  std::string what;
  CostFlops inference;                    ///< of one example with all of its choices
  CostFlops training;                     ///< once a task
  std::optional<double> disk;             ///< bytes a task
  std::optional<double> memory;           ///< bytes: weights, adapter, kept keys and values; no activations
  std::optional<double> training_memory;  ///< bytes, TrainingMemory::total()
};

/// The adapted model, the model as it is, in-context learning, and in-context learning whose demonstrations' keys and
/// values are kept (decoder-only models). The latter two only where there are demonstrations.
std::vector<CostRow> cost_table(const CostQuestion& question);

}  // namespace graft
