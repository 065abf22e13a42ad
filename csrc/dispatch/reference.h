// reference.h -- the formulas composed of ATen ops, for derivatives and devices without kernels.
//
// It serves forward mode, derivatives beyond the first, and compositions.cpp. A Lane is a tensor or
// a number with the functions of core/lanes.h. Every where() below occurs twice: once for the
// value, and once to prevent 0 * inf in its derivative.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "core/sources.h"
#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

struct Lane {
  Tensor t;  // undefined for a number
  double c = 0;
  Lane() = default;
  Lane(Tensor x) : t(std::move(x)) {}
  explicit Lane(double x) : c(x) {}
  bool plain() const { return !t.defined(); }
};
inline Lane operator-(const Lane& a) { return a.plain() ? Lane(-a.c) : Lane(a.t.neg()); }
inline Lane operator+(const Lane& a, const Lane& b) {
  if (a.plain() && b.plain()) return Lane(a.c + b.c);
  if (a.plain()) return b + a;
  if (b.plain()) return b.c == 0 ? a : Lane(a.t + b.c);
  return a.t + b.t;
}
inline Lane operator-(const Lane& a, const Lane& b) { return a + (-b); }
inline Lane operator*(const Lane& a, const Lane& b) {
  if (a.plain() && b.plain()) return Lane(a.c * b.c);
  if (a.plain()) return b * a;
  return b.plain() ? a.t * b.c : a.t * b.t;
}
inline Lane operator/(const Lane& a, const Lane& b) { return a.plain() ? a.c / b.t : a.t / b.t; }
inline Tensor operator==(const Lane& a, const Lane& b) {
  return b.plain() ? a.t == b.c : a.t == b.t;
}
inline Tensor operator!=(const Lane& a, const Lane& b) {
  return b.plain() ? a.t != b.c : a.t != b.t;
}
inline Tensor operator<(const Lane& a, const Lane& b) { return a.t < b.c; }
inline Tensor operator>(const Lane& a, const Lane& b) { return a.t > b.c; }
inline Lane select(const Tensor& test, const Lane& a, const Lane& b) {
  if (a.plain() && b.plain()) return at::where(test, a.c, b.c);
  if (b.plain()) return at::where(test, a.t, b.c);
  return a.plain() ? at::where(test, a.c, b.t) : at::where(test, a.t, b.t);
}
inline Lane exp(const Lane& a) {
  const Tensor large = at::logical_not(a.t < INFINITY);  // or a NaN
  return at::where(large, a.t.detach(), at::where(large, 0., a.t).exp());
}
inline Lane log(const Lane& a) {
  const Tensor zero = a.t == 0;
  return at::where(zero, -INFINITY, at::where(zero, 1., a.t).log());
}
inline Lane times0(const Lane& p, const Lane& x) {
  const Tensor gone = at::logical_and(p.t == 0, at::isfinite(x.t).logical_not());
  return at::where(gone, 0., p.t * at::where(gone, 0., x.t));
}
inline Lane over0(const Lane& w, const Lane& q) {
  const Tensor gone = at::logical_and(q.t == 0, w.t == 0);
  return at::where(gone, 0., w.t / at::where(gone, 1., q.t));
}

inline Lane near_or_far(const Lane&, double, const Lane&, const Lane& far) { return far; }
inline Lane box_cox(const Lane& log_x, double a) {
  if (a == 0) return log_x;
  const Tensor finite = at::isfinite(log_x.t), limit = (log_x.t.detach() * a).exp() - 1;
  const Tensor power = at::where(finite, at::expm1(at::where(finite, log_x.t, 0.) * a), limit);
  return power * (1 / a);
}

inline Lane times_box_cox(const Lane& p, const Lane& log_x, double a, const Lane&) {
  return times0(p, box_cox(log_x, a));
}

// At least float32, as in the kernels.
inline Tensor widened(const Tensor& x) {
  return x.scalar_type() == at::kDouble || x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
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

// Divides by a temperature, in float32 at least, so that the gradient is rounded once.
inline Tensor tempered(const Tensor& x, double temperature) {
  return temperature == 1 ? x : widened(x) / temperature;
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

template <class F>
struct Reference {
  Operands x;
  Options o;
  F f;
  double rounding;    // relative tolerance within which totals count as equal
  Tensor saved_rows;  // saved by forward; undefined: recomputed
  int64_t rank;
  std::vector<int64_t> dims;  // of the classes
  Prob<Lane> p{Lane(0), Lane(0)}, q{Lane(0), Lane(0)};
  Tensor lx, ly;  // of a joint table

  Reference(const Operands& operands, const Options& options)
      : Reference(operands, options, rounding_of(operands, options)) {}
  // With operands that have been converted, and the rounding of their original types.
  Reference(const Operands& operands, const Options& options, double rounding_of_operands,
            const Tensor& saved = {})
      : x(operands),
        o(options),
        f(formula<F>(o.parameter)),
        rounding(rounding_of_operands),
        saved_rows(o.saves_rows() ? saved : Tensor()) {
    const Tensor& full = x.full(o);
    rank = full.dim();
    o.dim = wrapped_dim(full, o.dim);
    for (int64_t d = 0; d < rank; ++d)
      if (is_class_dim<F>(d, o.dim, rank)) dims.push_back(d);
    if (x.q) q = stated(*x.q, Kind(o.q_kind), true);
    if (o.has_labels())
      p.p = Lane(one_hot(x.p, *x.q, o.dim, o.ignore_index, q.p.t.scalar_type()));
    else
      p = stated(x.p, Kind(o.p_kind), false);
    if (!x.q) q = p;
    if (o.label_smoothing != 0 || x.weight) p.p = adjusted(p.p.t, x, o);
    if constexpr (is_table<F>) {
      p = stop_gradient_at_zero(p);
      lx = log(Lane(p.p.t.sum(-1, true))).t;
      ly = log(Lane(p.p.t.sum(-2, true))).t;
    } else if constexpr (!F::linear) {
      // Probe the formula at p = 0 and some q.
      const double slope = f.slope_p(Prob<double>{0, -INFINITY}, Prob<double>{0.5, std::log(0.5)});
      const Tensor zero = p.p.t == 0;
      const bool counts = F::arity == 2 && std::isfinite(slope);  // unless q is 0 as well
      if (counts || !std::isfinite(slope))
        p = stop_gradient_where(counts ? at::logical_and(zero, q.p.t == 0) : zero, p);
      q = stop_gradient_at_zero(q);
    }
  }

  Tensor divided_by_rows(const Tensor& sum) const {
    if (o.has_labels())
      return sum / label_weights(x.p, x.weight, o.ignore_index, sum.scalar_type()).sum();
    c10::SymInt rows = 1;
    for (const auto& n : row_shape<F, c10::SymInt>(x.p, o.dim)) rows = rows * n;
    return sum / at::Scalar(rows);
  }

  // A number that forward saved for the rows of p or q, with class dimensions of size 1.
  Tensor saved_number(bool by_q, Saved number, const Tensor& like) const {
    Tensor t = saved_rows.select(0, by_q * kSavedNumbers + number).to(like.scalar_type());
    for (const int64_t d : dims) t = t.unsqueeze(d);
    return t;
  }
  Prob<Lane> stated(const Tensor& memory, Kind kind, bool by_q) const {
    if (!saved_rows.defined() || kind != kLogits) return probability(memory, kind, dims);
    const Tensor t = widened(memory);
    const Tensor log = t - saved_number(by_q, kHigh, t) - saved_number(by_q, kLogSum, t);
    return {log.exp(), log};
  }

  static double rounding_of(const Operands& x, const Options& o) {
    const auto rounding = [](const Tensor& t, int64_t kind) {
      return rounding_of_totals({.kind = Kind(kind), .type = type_of(t)});
    };
    return o.has_labels() ? 0
                          : std::max(rounding(x.p, o.p_kind), x.q ? rounding(*x.q, o.q_kind) : 0.);
  }

  Tensor sum(const Tensor& per_class) const { return rank ? per_class.sum(dims) : per_class; }

  // If the totals of p and q agree, the value of a divergence is the sum of its centered terms. Its
  // derivative is always that of the literal sum.
  Tensor centered(const Tensor& literal) const {
    const auto total = [&](const Lane& probs, int64_t kind) {
      return kind == kLogits ? at::ones_like(literal.detach()) : sum(probs.t.detach());
    };
    const Prob<Lane> a{p.p.t.detach(), p.log.t.detach()};
    Prob<Lane> b{q.p.t.detach(), q.log.t.detach()};
    Tensor total_a = total(a.p, o.p_kind), total_b;
    if constexpr (is_table<F>) {
      b.log = (lx + ly).detach();
      b.p = exp(b.log);
      total_b = total_a.square();
    } else {
      total_b = total(b.p, o.q_kind);
    }
    const Tensor agree = (total_a - total_b).abs() <= at::maximum(total_a, total_b) * rounding;
    const Tensor exact = sum(f.centered(a, b).t).clamp_min(0), v = literal.detach();
    const Tensor moved = at::where(at::logical_and(agree, v.isfinite()), exact - v, 0.);
    return literal + moved;
  }
  // Rows with NaN or with a label out of range, whose results must be NaN.
  Tensor wrong_rows() const {
    if (o.has_labels())
      return outside(x.p, rank ? x.q->sym_size(o.dim) : c10::SymInt(1), o.ignore_index);
    return sum(x.q ? p.p.t.detach() + q.p.t.detach() : p.p.t.detach()).isnan();
  }

  Tensor value(ScalarType dtype) const {
    Tensor v;
    if constexpr (is_table<F>)
      v = times0(p.p, F::score(p.log, Lane(lx), Lane(ly))).t;
    else
      v = f.term(p, q).t;
    if (o.reduction != kTerms) {
      v = sum(v);
      if constexpr (F::divergence)
        if (!o.is_elementwise() && !o.has_labels()) v = centered(v);
      v = at::where(wrong_rows(), NAN, v);  // propagate NaN even where its factor is 0
    }
    if (o.reduction == kMean) v = divided_by_rows(v.sum());
    if (o.reduction == kSum || o.reduction == kSumOfTerms) v = v.sum();
    return (v * o.scale).to(dtype);
  }

  // d / d log of p or q.
  Tensor by_log(bool by_q) const {
    if constexpr (is_table<F>) {
      const Lane slope = F::score(p.log, Lane(lx), Lane(ly)) + F::score(Lane(1), Lane(1), Lane(1));
      return times0(p.p, slope).t;
    } else {
      if constexpr (F::arity == 2)
        if (by_q) return f.d_lq(p, q).t;
      return d_lp(f, p, q).t;
    }
  }
  template <Kind kind>
  Tensor by_kind(bool by_q) const {
    const auto total_of = [&] {
      const Tensor w = by_log(by_q);
      return saved_rows.defined() ? saved_number(by_q, kTotal, w) : rank ? w.sum(dims, true) : w;
    };
    const Lane total(kind == kLogits ? total_of() : Tensor());
    if constexpr (is_table<F>) return gradient_by_cell<F, kind>(p, Lane(lx), Lane(ly), total).t;
    if constexpr (!is_table<F>) {
      if constexpr (F::arity == 2)
        if (by_q) return gradient_by_q<kind>(f, p, q, total).t;
      return gradient_by_p<kind>(f, p, q, total).t;
    }
  }
  // d sum(g value) / d p or d q.
  Tensor gradient(const Tensor& grad, bool by_q) const {
    Tensor g = widened_like(grad, p.p.t), dx;
    switch (by_q ? o.q_kind : o.p_kind) {
      case kLogits:
        dx = by_kind<kLogits>(by_q);
        break;
      case kLogProbs:
        dx = by_kind<kLogProbs>(by_q);
        break;
      default:
        dx = by_kind<kProbs>(by_q);
    }
    if (!by_q && o.p_kind == kWeights && o.label_smoothing != 0) dx = dx * (1 - o.label_smoothing);
    if (!by_q && x.weight) dx = dx * along(x.weight->to(dx.scalar_type()), x.full(o), o.dim);
    if (o.reduction == kMean) g = divided_by_rows(g);
    if (o.has_labels()) g = at::where(wrong_rows(), NAN, g);
    if (o.reduction == kNone || o.has_labels())
      for (const int64_t d : dims) g = g.unsqueeze(d);
    return (g * dx * o.scale).to((by_q ? *x.q : x.p).scalar_type());
  }

  // The numbers that kernels save for each row, see Saved in core/rows.h.
  Tensor saved(ScalarType dtype) const {
    const Tensor& full = x.full(o);
    const Tensor zero =
        at::zeros_symint(row_shape<F, c10::SymInt>(full, o.dim), full.options().dtype(dtype));
    std::vector<Tensor> numbers;
    for (const bool is_q : {false, true}) {
      if (is_q && F::arity == 1) break;
      const bool normalized = (is_q ? o.q_kind : o.p_kind) == kLogits;
      if (normalized) {
        const LogNormalizer z(widened(is_q ? *x.q : x.p), dims);
        numbers.insert(numbers.end(), {z.high, z.log});
      } else {
        numbers.insert(numbers.end(), {zero, zero});
      }
      numbers.push_back(!is_q && o.has_labels() ? zero : sum(by_log(is_q)));
    }
    for (Tensor& n : numbers) n = n.to(dtype);
    return at::stack(numbers);
  }
};

}  // namespace
}  // namespace torch_infotheory
