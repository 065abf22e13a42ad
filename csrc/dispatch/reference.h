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
    } else if constexpr (is_log_sum<F>) {
      if (f.alpha < 1) p = stop_gradient_at_zero(p);
      q = x.q ? stop_gradient_at_zero(q) : p;
    } else if constexpr (!F::linear) {
      // Probe the formula where one of them is 0. A finite slope counts unless both are 0.
      const Prob<double> none{0, -INFINITY}, some{0.5, std::log(0.5)};
      const bool finite_by_p = std::isfinite(f.slope_p(none, some));
      const Tensor p_is_0 = p.p.t == 0, q_is_0 = q.p.t == 0;
      if constexpr (F::arity == 2) {
        const double by_q = slope_q(f, some, none);
        const bool finite_by_q = std::isfinite(by_q) && by_q != 0;
        const Tensor both = at::logical_and(p_is_0, q_is_0);
        p = stop_gradient_where(finite_by_p ? both : p_is_0, p);
        q = stop_gradient_where(finite_by_q ? both : q_is_0, q);
      } else if (!finite_by_p) {
        p = stop_gradient_where(p_is_0, p);
      }
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

  // Of a formula that is_log_sum: the logarithms of its sum and of the total of p.
  Tensor log_sum(bool keepdim) const {
    const Tensor exponents = f.exponent(p, q).t;
    if (rank == 0) return exponents;
    // Not logsumexp, which asks for the number of rows, unknown to a tracer.
    constexpr double most = std::numeric_limits<float>::max();
    const Tensor top = exponents.detach().amax(dims, /*keepdim=*/true).clamp(-most, most),
                 sum = log(Lane((exponents - top).exp().sum(dims, /*keepdim=*/true))).t + top;
    return keepdim ? sum : sum.squeeze(dims);
  }
  Tensor log_total(bool keepdim) const {
    if (o.p_kind == kLogits) return at::zeros({}, p.p.t.options());
    return (rank ? p.p.t.sum(dims, keepdim) : p.p.t).log();
  }

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
    const Tensor v = literal.detach();
    Tensor exact = sum(f.centered(a, b).t).clamp_min(0);
    if constexpr (is_log_sum<F>)
      exact = at::where(v < small_value<F, double>(), f.of_centered(Lane(exact), Lane(total_a)).t,
                        v + f.correction(Lane(total_a), Lane(total_b)).t);
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
    else if constexpr (is_log_sum<F>)
      v = f.value(Lane(log_sum(false)), Lane(log_total(false))).t;
    else
      v = f.term(p, q).t;
    if (o.reduction != kTerms) {
      if constexpr (!is_log_sum<F>) v = sum(v);
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
    if constexpr (is_log_sum<F>) {
      const Lane sum(saved_rows.defined() ? saved_number(by_q, kTotal, p.p.t) : log_sum(true));
      const auto row = of_row(f, sum, Lane(log_total(true)));
      return by_kind<kind>(row, by_q, total_of_row(f, by_q, sum));
    } else {
      const auto total_of = [&] {
        const Tensor w = by_log(by_q);
        return saved_rows.defined() ? saved_number(by_q, kTotal, w) : rank ? w.sum(dims, true) : w;
      };
      return by_kind<kind>(f, by_q, Lane(kind == kLogits ? total_of() : Tensor()));
    }
  }
  template <Kind kind, class OfRow>
  Tensor by_kind(const OfRow& row, bool by_q, const Lane& total) const {
    if constexpr (is_table<F>) return gradient_by_cell<F, kind>(p, Lane(lx), Lane(ly), total).t;
    if constexpr (!is_table<F>) {
      if constexpr (F::arity == 2)
        if (by_q) return gradient_by_q<kind>(row, p, q, total).t;
      return gradient_by_p<kind>(row, p, q, total).t;
    }
  }
  // d sum(g value) / d p or d q.
  Tensor gradient(const Tensor& grad, bool by_q) const {
    Tensor g = widened_like(grad, p.p.t);
    const Kind kind = Kind(by_q ? o.q_kind : o.p_kind);
    Tensor dx = with_kind(kind, [&]<Kind kind>() { return by_kind<kind>(by_q); });
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
        const bool has_total = is_log_sum<F> && !is_q;
        numbers.insert(numbers.end(), {zero, has_total ? log_total(false) : zero});
      }
      if constexpr (is_log_sum<F>)
        numbers.push_back(log_sum(false));
      else
        numbers.push_back(!is_q && o.has_labels() ? zero : sum(by_log(is_q)));
    }
    for (Tensor& n : numbers) n = n.to(dtype);
    return at::stack(numbers);
  }
};

}  // namespace
}  // namespace torch_infotheory
