// distributions.h -- probabilities of a tensor of any kind or of labels, in ATen ops.
//
// It does for whole tensors what core/sources.h does for a row.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/sources.h"
#include "dispatch/tensor_arithmetic.h"

namespace torch_infotheory {
namespace {

// max(x, least) and min(x, most), with a gradient of 1 at equality. From torch 2.14 on, that of
// clamp is 0 there.
inline Tensor at_least(const Tensor& x, double least) { return at::where(x < least, least, x); }
inline Tensor at_most(const Tensor& x, double most) { return at::where(x > most, most, x); }

// At least float32, as in the kernels.
inline Tensor widened(const Tensor& x) {
  return x.scalar_type() == at::kDouble || x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
}

// Divides by a temperature, as the kernels do.
inline Tensor tempered(const Tensor& x, double temperature) {
  return temperature == 1 ? widened(x) : widened(x) / temperature;
}

// Converts `x` for a calculation with `other`, to the wider of the two types.
inline Tensor widened_like(const Tensor& x, const Tensor& other) {
  return x.to(c10::promoteTypes(widened(x).scalar_type(), other.scalar_type()));
}

inline Tensor log_softmax(const Tensor& x, at::IntArrayRef dims) {
  if (dims.size() < 2) return at::log_softmax(x, dims.empty() ? 0 : dims[0]);
  return at::log_softmax(x.flatten(dims.front(), dims.back()), dims.front())
      .view_symint(x.sym_sizes());
}
// log sum e^x in two parts, as saved by the kernels, because their sum rounds where x is far from
// 0.
struct LogNormalizer {
  Tensor high, log;
  LogNormalizer(const Tensor& x, at::IntArrayRef dims)
      : high(x.amax(dims, /*keepdim=*/true).clamp_min(-std::numeric_limits<float>::max())),
        log((x - high).exp().sum(dims).log()) {
    high = high.view_symint(log.sym_sizes());
  }
};
inline Prob<Lane> probability(const Tensor& memory, Kind kind, at::IntArrayRef dims) {
  const Tensor x = widened(memory);
  if (kind == kLogits || kind == kLogProbs) {
    const Tensor log_p = kind == kLogits ? log_softmax(x, dims) : x;
    return {log_p.exp(), log_p};
  }
  const Lane p = kind == kProbs ? checked_probability<kProbs>(Lane(x)) : Lane(x);
  return {p, log(p)};
}

// Stops the gradient of probabilities of 0 whose derivative is defined as 0.
inline Prob<Lane> stop_gradient_where(const Tensor& zero, const Prob<Lane>& x) {
  return {at::where(zero, 0., x.p.t), x.log};
}
inline Prob<Lane> stop_gradient_at_zero(const Prob<Lane>& x) {
  return stop_gradient_where(x.p.t == 0, x);
}

// Which class indices are not ignored. They are compared as int64, because torch would compare in
// the type of the tensor, and -100 is a valid class in uint8.
inline Tensor not_ignored(const Tensor& index, int64_t ignore_index) {
  return index.to(at::kLong) != ignore_index;
}
// Which class indices are out of range.
inline Tensor outside(const Tensor& index, const c10::SymInt& classes,
                      optional<int64_t> ignore_index) {
  const Tensor wide = index.to(at::kLong);
  const Tensor beyond = at::logical_or(wide < 0, wide >= at::Scalar(classes));
  return ignore_index ? at::logical_and(beyond, wide != *ignore_index) : beyond;
}
// The first class index out of range, for CPU tensors.
inline optional<int64_t> first_outside(const Tensor& index, int64_t classes,
                                       optional<int64_t> ignore_index) {
  const Tensor beyond = outside(index, classes, ignore_index);
  if (!beyond.any().item<bool>()) return {};
  return index.masked_select(beyond)[0].item<int64_t>();
}

// One-hot encoding of class indices along a new class dimension; 0 for ignored rows.
inline Tensor one_hot(const Tensor& labels, const Tensor& q, int64_t dim, int64_t ignore_index,
                      ScalarType dtype) {
  if (q.dim() == 0)
    return at::logical_and(labels == 0, not_ignored(labels, ignore_index)).to(dtype);
  // Created from q, because a DTensor can only be combined with another DTensor.
  const Tensor classes = at::ones_like(q, q.options().dtype(at::kLong)).cumsum(dim) - 1;
  const Tensor row = labels.unsqueeze(dim);
  return at::logical_and(classes == row, not_ignored(row, ignore_index)).to(dtype);
}
inline Tensor along(const Tensor& weight, const Tensor& x, int64_t dim) {
  std::vector<c10::SymInt> shape(x.dim(), 1);
  if (x.dim()) shape[dim] = x.sym_size(dim);
  return weight.view_symint(shape);
}
// The weight of a row in the mean over labels: that of its class, or 0 if it is ignored.
inline Tensor label_weights(const Tensor& labels, const optional<Tensor>& weight,
                            int64_t ignore_index, ScalarType dtype) {
  const Tensor counts = not_ignored(labels, ignore_index);
  if (!weight) return counts.to(dtype);
  const Tensor classes = at::where(counts, labels, 0).to(at::kLong);
  const Tensor inside = classes.clamp(0, at::Scalar(weight->sym_size(0) - 1));
  return at::where(counts, weight->to(dtype).index({inside}), 0.);
}

// Applies class weights and label smoothing (core/sources.h) to a target, in the widest type of the
// target, the weights and the input. `o.dim` is wrapped.
inline Tensor adjusted(const Tensor& p, const Operands& x, const Options& o) {
  const Tensor& full = x.full(o);
  Tensor target = widened_like(p, *x.q);
  if (x.weight) target = widened_like(target, *x.weight);
  const auto classes = full.dim() ? full.sym_size(o.dim) : c10::SymInt(1);
  if (o.label_smoothing != 0)
    target = target * (1 - o.label_smoothing) +
             at::Scalar(c10::SymFloat(o.label_smoothing) / c10::SymFloat(classes));
  if (x.weight) target = target * along(x.weight->to(target.scalar_type()), full, o.dim);
  return o.has_labels() && full.dim() ? target * not_ignored(x.p, o.ignore_index).unsqueeze(o.dim)
                                      : target;
}

}  // namespace
}  // namespace torch_infotheory
