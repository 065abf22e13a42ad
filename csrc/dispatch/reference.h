// reference.h -- the formulas composed of ATen ops, for derivatives and devices without kernels.
//
// It serves forward mode, derivatives beyond the first, and compositions.cpp.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "dispatch/distributions.h"
#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

template <class F>
struct Reference {
  Operands x;
  Options o;
  double divisor;  // of logits as they are read
  F f;
  double rounding;    // relative tolerance within which totals count as equal
  Tensor saved_rows;  // saved by forward; undefined: recomputed
  int64_t rank;
  std::vector<int64_t> dims;  // of the classes
  Prob<Lane> p{Lane(0), Lane(0)}, q{Lane(0), Lane(0)};
  Tensor lx, ly;  // of a joint table

  Reference(const Operands& operands, const Options& options)
      : Reference(operands, options, options.temperature, rounding_of(operands, options)) {}
  // With operands that have been converted, the temperature that still divides them, and the
  // rounding of their original types.
  Reference(const Operands& operands, const Options& options, double temperature,
            double rounding_of_operands, const Tensor& saved = {})
      : x(operands),
        o(options),
        divisor(temperature),
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
    const Tensor t = tempered(memory, kind == kLogits ? divisor : 1);
    if (!saved_rows.defined() || kind != kLogits) return probability(t, kind, dims);
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
    const int64_t kind = by_q ? o.q_kind : o.p_kind;
    switch (kind) {
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
    return (g * dx * (o.scale / o.divisor(kind))).to((by_q ? *x.q : x.p).scalar_type());
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
        const LogNormalizer z(tempered(is_q ? *x.q : x.p, divisor), dims);
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
