// linear.h -- losses from hidden states: the op pair `_linear_loss`, and the same as a composition.
//
// The logits of the model, and possibly those of a teacher, are a matrix product of hidden states.
// linear.cpp never materializes the logits of all rows. The composition here does; it serves
// forward mode, derivatives beyond the first and tensor subclasses.
#pragma once
#include <array>

#include "dispatch/log_probs.h"
#include "dispatch/reference.h"

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

// The operands of a row op: the model's logits and the target.
struct RowPair {
  Tensor p;
  optional<Tensor> q, weight;
  template <class F>
  static RowPair make(const LinearTensors& x, const LinearOptions& o, Tensor logits,
                      Tensor target) {
    if (F::arity == 1) return {std::move(logits), {}, {}};
    if (o.model_is_p) std::swap(logits, target);
    return {std::move(target), std::move(logits), maybe(x[kClassWeight])};
  }
  Operands operands() const { return {p, q, weight}; }
};

// Forward and backward of the rows; `composed` is the same in operations that are differentiable.
template <class F>
struct RowLoss {
  using Values = std::tuple<Tensor, Tensor>;
  static Values forward(const RowPair& x, const Options& o, ScalarType dtype) {
    return call_forward<F>(x.operands(), o, dtype);
  }
  static Tensor backward(const Tensor& g, const RowPair& x, const Tensor& saved, const Options& o,
                         int64_t wrt) {
    return call_backward<F>(g, x.operands(), saved, o, wrt);
  }
  static Tensor composed(const RowPair& x, const Options& o, ScalarType dtype) {
    return std::get<0>(forward(x, o, dtype));
  }
  static constexpr auto composed_backward = &backward;
};
template <>
struct RowLoss<LogProbabilities> {
  static LogProbsOptions options(const Options& o) {
    return {.dim = o.dim, .ignore_index = o.ignore_index};
  }
  static Tensor stacked(const LogProbs& results, ScalarType dtype) {
    const auto [log_prob, entropy, logsumexp] = results;
    return at::stack({log_prob, entropy, logsumexp}, 1).to(dtype);
  }
  static std::tuple<Tensor, Tensor> forward(const RowPair& x, const Options& o, ScalarType dtype) {
    const auto [results, saved] = log_probs_forward(*x.q, x.p, options(o));
    return {stacked(results, dtype), saved};
  }
  static Tensor backward(const Tensor& g, const RowPair& x, const Tensor& saved, const Options& o,
                         int64_t) {
    return log_probs_gradient(*x.q, x.p, saved, options(o), g.unbind(1));
  }
  static Tensor composed(const RowPair& x, const Options& o, ScalarType dtype) {
    return stacked(composed_log_probs(*x.q, x.p, options(o)), dtype);
  }
  static Tensor composed_backward(const Tensor& g, const RowPair& x, const Tensor&,
                                  const Options& o, int64_t) {
    return composed_log_probs_gradient(*x.q, x.p, options(o), g.unbind(1));
  }
};

// Which rows count, [N] booleans; undefined if no row can be ignored.
inline Tensor counting_rows(const LinearTensors& x, const LinearOptions& o) {
  if (!o.has_labels()) return x[kMask];
  const Tensor counts = not_ignored(x[kTarget], o.ignore_index);
  return counts.dim() == 2 ? counts.any(1) : counts;
}
// The divisor of a mean.
inline Tensor divisor(const LinearTensors& x, const LinearOptions& o) {
  const ScalarType widest = widest_type(x[kStates].device());
  if (o.has_labels())
    return label_weights(x[kTarget], maybe(x[kClassWeight]), o.ignore_index, widest).sum();
  const c10::SymInt each = x[kWeight].dim() == 3 ? x[kWeight].sym_size(1) : c10::SymInt(1);
  const auto options = x[kStates].options().dtype(widest);
  return x[kMask].defined()
             ? x[kMask].sum().to(widest)
             : at::full_symint({}, at::Scalar(x[kStates].sym_size(0) * each), options);
}

// ---- the composition ----

// Computes logits from hidden states and backpropagates through that. Ignored rows are set to 0, so
// that they contribute nothing to a product.
struct Composed {
  Tensor states, weight, z;
  double softcap, temperature;
  Composed(const Tensor& h, const Tensor& w, const Tensor& bias, const Tensor& counts,
           const LinearOptions& o)
      : states(widened(h)), weight(widened(w)), softcap(o.softcap), temperature(o.temperature) {
    if (counts.defined()) states = at::where(counts.unsqueeze(1), states, 0.);
    const auto flat = [](const Tensor& t, int64_t dims) {
      return t.dim() > dims ? t.flatten(0, 1) : t;
    };
    const Tensor b = bias.defined() ? flat(widened(bias), 1) : Tensor();
    z = at::linear(states, flat(weight, 2), maybe(b));
    if (softcap) z = (z / softcap).tanh() * softcap;
    if (temperature != 1) z = z / temperature;
    if (w.dim() == 3) z = z.view_symint({z.sym_size(0), w.sym_size(0), w.sym_size(1)});
  }
  Tensor grad_product(const Tensor& gz) const {
    Tensor g = gz;
    if (softcap) g = g * (1 - (z * (temperature / softcap)).square());
    if (temperature != 1) g = g / temperature;
    return g.flatten(1);
  }
  void append_gradients(const Tensor& gz, const LinearOptions& o, size_t first,
                        std::vector<Tensor>& out) const {
    const Tensor g = grad_product(gz);
    const auto like_weight = [&](const Tensor& t) {
      return weight.dim() == 3 ? t.unflatten_symint(0, weight.sym_sizes().slice(0, 2)) : t;
    };
    if (o.wants(first)) out.push_back(g.mm(weight.dim() == 3 ? weight.flatten(0, 1) : weight));
    if (o.wants(first + 1)) out.push_back(like_weight(g.t().mm(states)));
    if (o.wants(first + 2)) out.push_back(like_weight(g.sum(0)));
  }
};

template <class F>
struct Composition {
  const LinearTensors& x;
  const LinearOptions& o;
  Tensor counts;
  Composed model;
  optional<Composed> teacher;
  RowPair pair;

  Composition(const LinearTensors& operands, const LinearOptions& options)
      : x(operands),
        o(options),
        counts(counting_rows(x, o)),
        model(x[kStates], x[kWeight], x[kBias], counts, o) {
    Tensor target = x[kTarget];
    if (o.has_teacher()) {
      teacher.emplace(x[kTarget], x[kTargetWeight], x[kTargetBias], counts, o);
      target = teacher->z;
    } else if (target.defined() && !o.has_labels()) {
      if (counts.defined()) target = at::where(counts.unsqueeze(1), target, 0.);
      if (divides_target()) target = target / o.temperature;
    }
    pair = RowPair::make<F>(x, o, model.z, target);
  }
  bool divides_target() const { return o.target_kind == kLogits && o.temperature != 1; }

  Tensor value(ScalarType dtype) const {
    const auto call = [&](int64_t reduction, ScalarType type) {
      return RowLoss<F>::composed(pair, o.row_options(reduction), type);
    };
    if (!x[kMask].defined()) return call(o.reduction, dtype);
    Tensor v = at::where(counts, call(kNone, exact_type(x)), 0.);
    if (o.reduction != kNone) v = v.sum();
    if (o.reduction == kMean) v = v / divisor(x, o);
    return v.to(dtype);
  }

  std::vector<Tensor> gradients(const Tensor& grad) const {
    const Options rows = o.row_options(kNone);
    const auto [value, saved] = RowLoss<F>::forward(pair, rows, exact_type(x));
    Tensor g = widened(grad);
    if (o.reduction == kMean) g = g / divisor(x, o);
    if (o.reduction != kNone) g = g.expand_symint(value.sym_sizes());
    if (counts.defined()) g = at::where(g.dim() == 2 ? counts.unsqueeze(1) : counts, g, 0.);
    // clang < 16 cannot capture a binding.
    const auto backward = [&, &saved = saved](bool to_model) {
      return RowLoss<F>::composed_backward(g, pair, saved, rows, to_model != bool(o.model_is_p));
    };
    std::vector<Tensor> out;
    if (o.wanted & kModelOperands) model.append_gradients(backward(true), o, kStates, out);
    if (teacher && o.wanted & kTargetOperands)
      teacher->append_gradients(backward(false), o, kTarget, out);
    else if (o.wants(kTarget))
      out.push_back(divides_target() ? backward(false) / o.temperature : backward(false));
    each_wanted(o, [&, i = 0](size_t operand) mutable {
      out[i] = out[i].to(x[operand].scalar_type());
      ++i;
    });
    return out;
  }
};

}  // namespace
}  // namespace torch_infotheory
