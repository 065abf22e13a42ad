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

// d term / d log p, for any formula. One whose slope by p may overflow where p is small states it
// itself.
template <class F, class V>
TI_LANE V d_lp(const F& f, Prob<V> p, Prob<V> q) {
  if constexpr (requires { f.d_lp(p, q); })
    return f.d_lp(p, q);
  else
    return times0(p.p, f.slope_p(p, q));
}

// p^a, given log p; 0 for p = 0, and for a = 0 the number of its classes.
template <class V>
TI_LANE V power(V log_p, double a) {
  if (a == 0) return select(log_p == V(-INFINITY), V(0), V(1));
  return exp(V(a) * log_p);
}
// p^a q^(1-a); where p and q are equal it is they, so that two zeros give 0.
template <class V>
TI_LANE V mixed_power(Prob<V> p, Prob<V> q, double a) {
  if (a == 0) return q.p;
  if (a == 1) return p.p;
  return select(p.log == q.log, q.p, exp(V(a) * p.log + V(1 - a) * q.log));
}

// A formula is a value: one with a parameter is made of it, any other of nothing.
template <class F>
TI_LANE F formula(double parameter) {
  if constexpr (requires { F(parameter); })
    return F(parameter);
  else
    return F();
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
};

}  // namespace
}  // namespace torch_infotheory
