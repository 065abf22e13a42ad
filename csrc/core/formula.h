// formula.h -- what a formula is, and the functions that several have in common.
//
// A formula sees one class: p and q, each as a probability and as its logarithm. The value of a row
// is the sum of `term` over its classes. Derivatives are taken where they stay exact: `slope_p` is
// d term / d p, `d_lq` is d term / d log q (q d/dq is exact where d/dq overflows). What a formula
// does not mention is never computed.
#pragma once
#include "core/arithmetic.h"

namespace torch_infotheory {
namespace {

template <class V>
struct Prob {
  V p, log;
};

// One class of two nearly equal rows, where |log p - log q| is at most kNear: p, p - q and log p -
// log q, each to the last digit. A formula that sums `near` needs float only; `curvature` is its
// second derivative by log q, for p = q = 1.
template <class V>
struct Near {
  V p, difference, log_ratio;
};
constexpr double kNear = 0.5;
// From two logarithms, whose log-normalizers differ by shift_high + shift_low, and p. Their
// difference is taken before either is rounded.
template <class V>
TI_LANE Near<V> near_of_logarithms(V x, V y, V p, V shift_high, V shift_low) {
  const V s = x - y, d = (s - shift_high) + (error_of_sum(x, -y, s) - shift_low);
  return {p, p * (d - exp_remainder(d)), d};
}
// From two probabilities.
template <class V>
TI_LANE Near<V> near_of_probabilities(V p, V q) {
  const V difference = p - q;
  return {p, difference, twice_atanh(over0(difference, p + q))};
}

// A formula whose value is no sum of terms but the logarithm of one, relative to the total of p:
// sign log(sum e^exponent / sum p), with an exponent that is linear in log p and log q. Its
// derivatives depend on the class and on two numbers of the row, which `of_row` adds to it.
template <class F>
constexpr bool is_log_sum = requires(F f, Prob<double> p) { f.exponent(p, p); };

// d term / d log p, for any formula. One whose slope by p may overflow where p is small states it
// itself.
template <class F, class V>
TI_LANE V d_lp(const F& f, Prob<V> p, Prob<V> q) {
  if constexpr (requires { f.d_lp(p, q); })
    return f.d_lp(p, q);
  else
    return times0(p.p, f.slope_p(p, q));
}

// A term with its derivatives by log p and log q. A formula states all three together where they
// have most of their arithmetic in common.
template <class V>
struct Terms {
  V value, d_lp, d_lq;
};
template <class F, class V>
TI_LANE Terms<V> terms(const F& f, Prob<V> p, Prob<V> q) {
  if constexpr (requires { f.terms(p, q); })
    return f.terms(p, q);
  else if constexpr (F::arity == 2)
    return {f.term(p, q), d_lp(f, p, q), f.d_lq(p, q)};
  else
    return {f.term(p, q), d_lp(f, p, q), V(0)};
}

// The totals of d / d log p and d / d log q of a row. A formula whose derivatives are computed from
// its terms states them by the value of the row and the totals of p and q, and a row sums the terms
// only. In others the rounding of a derivative would not cancel against that of their total.
template <class V>
struct Totals {
  V d_lp, d_lq;
};
template <class F>
constexpr bool states_totals = requires(F f, double x) { f.totals(x, x, x); };

// d term / d q, for any formula of two operands. Where q is 0, the quotient is 0 or infinite; a
// formula whose slope is finite there states it.
template <class F, class V>
TI_LANE V slope_q(const F& f, Prob<V> p, Prob<V> q) {
  const V slope = over0(f.d_lq(p, q), q.p);
  if constexpr (requires { f.slope_q_at_0(p.p, slope); })
    return select(q.p == V(0), f.slope_q_at_0(p.p, slope), slope);
  else
    return slope;
}

// A formula is a value: one with a parameter is made of it, any other of nothing. What it computes
// of the parameter are its members, each a Coefficient, so that no class has to.
template <class F>
TI_LANE F formula(double parameter) {
  if constexpr (requires { F(parameter); })
    return F(parameter);
  else
    return F();
}

// sign log(sum p^alpha q^beta / sum p): not negative where the totals of p and q are equal.
struct LogSum {
  static constexpr int class_dims = 1;
  static constexpr bool linear = false, fused = false, has_unit = true;
  Coefficient alpha, beta, sign, alpha_less_1;
  // The totals of d value / d log p of a row of logits, and of d value / d log q.
  Coefficient total_by_p, total_by_q;
  TI_LANE LogSum(double alpha, double beta, double sign)
      : alpha(alpha),
        beta(beta),
        sign(sign),
        alpha_less_1(alpha - 1),
        total_by_p(sign * (alpha - 1)),
        total_by_q(sign * beta) {}
  template <class V>
  TI_LANE V value(V log_sum, V log_total) const {
    return V(sign) * (log_sum - log_total);
  }
  // Where the totals differ by their rounding, what this adds to the value is removed.
  template <class V>
  TI_LANE V correction(V p_sum, V q_sum) const {
    return V(fabs(beta)) * (q_sum / p_sum - V(1));
  }
};
// With log(sum p^alpha q^beta) of the row and 1 / sum p.
template <class F, class V>
struct OfRow : F {
  V log_sum, inverse_total;
  TI_LANE OfRow(const F& f, V log_sum, V inverse_total)
      : F(f), log_sum(log_sum), inverse_total(inverse_total) {}
  TI_LANE Terms<V> terms(Prob<V> p, Prob<V> q) const {
    const V part = accurate_exp(F::exponent(p, q) - log_sum);
    return {part, V(F::sign) * (rounded(V(F::alpha) * part) - p.p * inverse_total),
            V(F::total_by_q) * part};
  }
  TI_LANE V d_lp(Prob<V> p, Prob<V> q) const { return terms(p, q).d_lp; }
  TI_LANE V slope_p(Prob<V> p, Prob<V> q) const {
    const V by_p = V(F::alpha) * accurate_exp(F::exponent_by_p(p, q) - log_sum);
    return V(F::sign) * (by_p - inverse_total);
  }
  TI_LANE V d_lq(Prob<V> p, Prob<V> q) const { return terms(p, q).d_lq; }
};
// The formula for the derivatives of a row, given the number that forward saved in place of a total
// (core/rows.h), and the total of the derivatives. Both are as given for other formulas.
template <class F, class V>
TI_LANE auto of_row(const F& f, V saved_total, V log_p_sum) {
  if constexpr (is_log_sum<F>)
    return OfRow<F, V>(f, saved_total, exp(-log_p_sum));
  else
    return f;
}
template <class F, class V>
TI_LANE V total_of_row(const F& f, bool by_q, V saved_total) {
  if constexpr (is_log_sum<F>)
    return V(by_q ? f.total_by_q : f.total_by_p);
  else
    return saved_total;
}

// E_p[score(log p, log q)] with a score that is LINEAR in the two logarithms. Linearity gives both
// derivatives, and lets a row be reduced before its normalizers are known: moving log p by a and
// log q by b moves the score by score(a, b).
template <class F>
struct Expectation {
  static constexpr int class_dims = 1;
  static constexpr bool linear = true, divergence = false, fused = false, has_unit = true;
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    return times0(p.p, F::score(p.log, q.log));
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    return F::score(p.log, q.log) + F::score(V(1), V(0));
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V>) {
    return p.p * F::score(V(0), V(1));
  }
  template <class V>
  TI_LANE static Totals<V> totals(V value, V p_sum, V) {
    return {value + p_sum * F::score(V(1), V(0)), p_sum * F::score(V(0), V(1))};
  }
};

}  // namespace
}  // namespace torch_infotheory
