// linear_rows.h -- a loss from hidden states after its logits: the row op, and which rows count.
#pragma once
#include <ATen/ATen.h>

#include <tuple>

#include "dispatch/distributions.h"
#include "dispatch/linear.h"
#include "dispatch/log_probs.h"

namespace torch_infotheory {
namespace {

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

// Forward and backward of the rows, the gradient into `out` if it is defined; `composed` is the
// same in operations that are differentiable.
template <class F>
struct RowLoss {
  using Values = std::tuple<Tensor, Tensor>;
  static Values forward(const RowPair& x, const Options& o, ScalarType dtype) {
    return call_forward<F>(x.operands(), o, dtype);
  }
  static Tensor backward(const Tensor& g, const RowPair& x, const Tensor& saved, const Options& o,
                         int64_t wrt, const Tensor& out) {
    return backward_into<F>(g, x.operands(), saved, o, wrt, out);
  }
  static Tensor composed(const RowPair& x, const Options& o, ScalarType dtype) {
    return std::get<0>(forward(x, o, dtype));
  }
  static Tensor composed_backward(const Tensor& g, const RowPair& x, const Tensor& saved,
                                  const Options& o, int64_t wrt) {
    return call_backward<F>(g, x.operands(), saved, o, wrt);
  }
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
                         int64_t, const Tensor& out) {
    return log_probs_gradient(*x.q, x.p, saved, options(o), g.unbind(1), out);
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

}  // namespace
}  // namespace torch_infotheory
