// linear.h -- losses from hidden states: the operands and options of the op pair `_linear_loss`.
//
// The logits of the model, and possibly those of a teacher, are a matrix product of hidden states.
// linear.cpp never materializes the logits of all rows; linear_composition.h does.
#pragma once
#include <array>
#include <tuple>
#include <vector>

#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

// Used like a formula: the three results of log_probs, in a last dimension.
struct LogProbabilities {
  static constexpr int arity = 2;
  static constexpr int64_t results = 3;
};
using LinearFormulas = List<CrossEntropy, Entropy, KlDivergence, JsDivergence, LogProbabilities>;

// The operands, N rows of them. The first kDifferentiable can have a gradient.
enum LinearOperand : size_t {
  kStates,        // [N, H]
  kWeight,        // [C, H], or [C, D, H] for D distributions in each row
  kBias,          // [C] or [C, D]
  kTarget,        // [N] or [N, D] labels, [N, C] or [N, C, D] otherwise; a teacher's states [N, H']
  kTargetWeight,  // [C, H'], if the teacher is given by hidden states
  kTargetBias,
  kClassWeight,
  kMask,  // [N] booleans, false for rows that are ignored
  kLinearOperands
};
constexpr size_t kDifferentiable = kClassWeight;  // the number of differentiable operands
constexpr int64_t kModelOperands = 0b000111, kTargetOperands = 0b111000;  // bit masks of operands
using LinearTensors = std::array<Tensor, kLinearOperands>;                // undefined where absent

struct LinearOptions {
  int64_t present = 0;  // a bit for each operand that is present
  int64_t wanted = 0;   // a bit for each operand whose gradient is requested
  int64_t formula = 0;
  int64_t model_is_p = 0;  // otherwise it is q of the formula
  int64_t target_kind = kLogits;
  int64_t reduction = kMean;
  int64_t ignore_index = kIgnoreIndex;
  int64_t chunk = 0;  // rows of a block; 0: chosen by size
  double label_smoothing = 0, scale = 1;
  double softcap = 0;  // logits become softcap * tanh(logits / softcap); 0: none
  double temperature = 1;
  double parameter = 0;  // of the formula

  auto fields() {
    return std::tie(present, wanted, formula, model_is_p, target_kind, reduction, ignore_index,
                    chunk, label_smoothing, scale, softcap, temperature, parameter);
  }
  template <class Visit>
  void each_int(Visit&& visit) {
    visit(present), visit(wanted), visit(formula), visit(model_is_p), visit(target_kind),
        visit(reduction), visit(ignore_index), visit(chunk);
  }
  template <class Visit>
  void each_float(Visit&& visit) {
    visit(label_smoothing), visit(scale), visit(softcap), visit(temperature), visit(parameter);
  }

  bool wants(size_t operand) const { return wanted >> operand & 1; }
  bool has_labels() const { return target_kind == kLabels; }
  bool has_teacher() const { return present >> kTargetWeight & 1; }
  // The options of the row op, for a block of rows or for all rows.
  Options row_options(int64_t over_rows) const {
    const int64_t other = has_teacher() ? int64_t(kLogits) : target_kind;
    return {.dim = 1,
            .p_kind = model_is_p ? int64_t(kLogits) : other,
            .q_kind = model_is_p ? other : int64_t(kLogits),
            .reduction = over_rows,
            .ignore_index = ignore_index,
            .label_smoothing = label_smoothing,
            .scale = scale,
            .parameter = parameter};
  }
};

// The arguments of the dispatcher: the operands that are present, and the options as lists.
struct LinearCall {
  std::vector<Tensor> tensors;
  std::vector<int64_t> ints;
  std::vector<double> floats;
  LinearCall(const LinearTensors& x, LinearOptions o) {
    for (const Tensor& t : x)
      if (t.defined()) tensors.push_back(t);
    o.each_int([&](int64_t i) { ints.push_back(i); });
    o.each_float([&](double f) { floats.push_back(f); });
  }
};
inline LinearOptions linear_options(at::IntArrayRef ints, at::ArrayRef<double> floats) {
  LinearOptions o;
  size_t i = 0, f = 0;
  o.each_int([&](int64_t& to) { to = ints.at(i++); });
  o.each_float([&](double& to) { to = floats.at(f++); });
  return o;
}
inline LinearTensors linear_tensors(at::TensorList tensors, const LinearOptions& o) {
  LinearTensors x;
  size_t next = 0;
  for (size_t i = 0; i < x.size(); ++i)
    if (o.present >> i & 1) x[i] = tensors.at(next++);
  return x;
}
template <class Visit>
void each_wanted(const LinearOptions& o, Visit&& visit) {
  for (size_t i = 0; i < kDifferentiable; ++i)
    if (o.wants(i)) visit(i);
}

// The value and, if it is reduced, the reciprocal of its divisor followed by the requested
// gradients of the sum, in the order of the operands.
using LinearResults = std::tuple<Tensor, std::vector<Tensor>>;
using LinearFn = LinearResults(at::TensorList operands, at::IntArrayRef options,
                               at::ArrayRef<double> parameters, ScalarType dtype);
using LinearBackwardFn = std::vector<Tensor>(const Tensor& g, at::TensorList operands,
                                             at::TensorList gradients, at::IntArrayRef options,
                                             at::ArrayRef<double> parameters);
constexpr const char* kLinear = "_linear_loss";
constexpr const char* kLinearBackward = "_linear_loss_backward";
inline const auto& linear_op() {
  static const auto op = find_op<LinearFn>(kLinear);
  return op;
}
inline const auto& linear_backward_op() {
  static const auto op = find_op<LinearBackwardFn>(kLinearBackward);
  return op;
}

template <class Visit>
auto with_formula(const LinearOptions& o, Visit&& visit) {
  decltype(visit(std::type_identity<CrossEntropy>{})) result;
  each(LinearFormulas{}, [&](auto formula) {
    using F = typename decltype(formula)::type;
    if (index_of<F>(LinearFormulas{}) == o.formula) result = visit(formula);
  });
  return result;
}

// The type used for computation.
inline ScalarType exact_type(const LinearTensors& x) {
  const auto is_double = [&](size_t i) {
    return x[i].defined() && x[i].scalar_type() == at::kDouble;
  };
  return is_double(kWeight) || is_double(kTargetWeight) ? at::kDouble : at::kFloat;
}
// Dtypes are checked here, because autocast may have made them equal; the public ops check the
// rest.
inline void check_linear(const LinearTensors& x) {
  for (const size_t first : {kStates, kTarget})
    for (const size_t i : {first + 1, first + 2})
      TORCH_CHECK(!x[first + 1].defined() || !x[i].defined() ||
                      x[i].scalar_type() == x[first].scalar_type(),
                  "linear loss: expected hidden states, weight and bias of one dtype, got ",
                  x[first].scalar_type(), " and ", x[i].scalar_type());
}
// One value per distribution, or the three results of each.
template <class Int>
Shape<Int> shape_of_values(const LinearTensors& x, const LinearOptions& o) {
  Int* const as_int = nullptr;
  Shape<Int> shape{sizes_of(x[kStates], as_int)[0]};
  if (x[kWeight].dim() == 3) shape.push_back(sizes_of(x[kWeight], as_int)[1]);
  if (o.formula == index_of<LogProbabilities>(LinearFormulas{}))
    shape.push_back(LogProbabilities::results);
  return shape;
}

}  // namespace
}  // namespace torch_infotheory
