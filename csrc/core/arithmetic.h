// arithmetic.h -- the arithmetic that a formula may use, on one number.
//
// cpu/simd/pack.h has the same functions for a SIMD pack, dispatch/tensor_arithmetic.h for a
// tensor, so that a formula is written once.
#pragma once
#include <math.h>

#include "core/compiler.h"

// Everything here is compiled once per instruction set: without internal linkage the linker would
// keep one copy, of any set.
namespace torch_infotheory {
namespace {

TI_LANE float exp(float x) {
#if defined(__CUDA_ARCH__)
  float power;  // two instructions, where expf takes eight; below 2^-126 it is 0
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.44269504f));
  return power;
#else
  return ::expf(x);
#endif
}
TI_LANE double exp(double x) { return ::exp(x); }
// For exponentials that are summed as they are. (Errors that grow with |x| cancel where the sum
// becomes a divisor.)
template <class V>
TI_LANE V unbiased_exp(V x) {
  return exp(x);
}
// To a few ulp at every x: for powers of a probability, which may be large.
TI_LANE float accurate_exp(float x) { return ::expf(x); }
TI_LANE double accurate_exp(double x) { return ::exp(x); }
TI_LANE float log(float x) { return ::logf(x); }
TI_LANE double log(double x) { return ::log(x); }
TI_LANE float select(bool test, float a, float b) { return test ? a : b; }
TI_LANE double select(bool test, double a, double b) { return test ? a : b; }

// x, rounded before it is used, in packs: a product is not fused with the sum that it goes into. Of
// the two products in a b - c d either may be fused, and the choice of a C++ compiler changes with
// what surrounds them.
template <class V>
TI_LANE V rounded(V x) {
  return x;
}

// p x, where a class of probability 0 contributes 0 whatever x is, infinite and NaN included. A NaN
// in p is propagated.
template <class V>
TI_LANE V times0(V p, V x) {
  return select(p == V(0), V(0), p * x);
}

// w / q with 0 / 0 = 0: the derivative by q where w = q d/dq vanishes together with q. A NaN in q
// is propagated.
template <class V>
TI_LANE V over0(V w, V q) {
  return select((q == V(0)) & (w == V(0)), V(0), w / q);
}

// The derivative by p: 0 where p is 0 and the slope is not finite.
template <class V>
TI_LANE V finite_at0(V p, V slope) {
  return select((p == V(0)) & (slope - slope != V(0)), V(0), slope);
}

// a + b - sum, exactly, where `sum` is a + b rounded to nearest.
// Knuth, The Art of Computer Programming, volume 2, theorem 4.2.2B.
template <class V>
TI_LANE V error_of_sum(V a, V b, V sum) {
  const V added = sum - a;
  return (a - (sum - added)) + (b - added);
}

// Whether the lanes of V are float, so that a series may have as few terms as that needs.
template <class V>
constexpr bool has_float_lanes = __is_same(V, float);

// 1 / k! - d / (k + 1)! + d^2 / (k + 2)! - ... to d^(last - k), where `term` is 1 / k!.
template <int k, int last, class V>
TI_LANE V exp_tail(V d, double term) {
  if constexpr (k == last)
    return V(term);
  else
    return V(term) - exp_tail<k + 1, last>(d, term / (k + 1)) * d;
}
// (e^t - 1) / t for |t| <= 1/2, to the last digit.
template <class V>
TI_LANE V exp_slope(V t) {
  return exp_tail<1, has_float_lanes<V> ? 9 : 15>(-t, 1);
}
// e^-d - 1 + d = d^2 / 2 - d^3 / 6 + ... >= 0 for |d| <= 1/2, to the last digit where the left side
// cancels.
template <class V>
TI_LANE V exp_remainder(V d) {
  return exp_tail<2, has_float_lanes<V> ? 9 : 14>(d, 0.5) * d * d;
}
// ((1 + t) log(1 + t) + (1 - t) log(1 - t)) / 2 = t^2 / 2 + t^4 / 12 + t^6 / 30 + ... >= 0 for |t|
// <= 1/4.
template <class V>
TI_LANE V entropy_gap(V t) {
  const V square = t * t;
  V sum = V(0);
  for (int k = has_float_lanes<V> ? 6 : 13; k > 0; --k)
    sum = (sum + V(1.0 / (2 * k * (2 * k - 1)))) * square;
  return sum;
}

// log((1 + w) / (1 - w)) = 2 w + 2 w^3 / 3 + ... for |w| <= 1/4, to the last digit of a float;
// above 1/4 it is above what it is there.
template <class V>
TI_LANE V twice_atanh(V w) {
  const V square = w * w;
  V sum = V(2.0 / 13);
  for (int k = 11; k > 0; k -= 2) sum = V(2.0 / k) + sum * square;
  return sum * w;
}

// One form of a number where |d| is below the bound, the other elsewhere.
template <class V>
TI_LANE V near_or_far(V d, double bound, V near, V far) {
  return select((d < V(bound)) & (d > V(-bound)), near, far);
}

// A mean of powers of p and q, which where they are equal is p exactly.
template <class V>
TI_LANE V unless_equal(V log_p, V log_q, V p, V, V mean) {
  return select(log_p == log_q, p, mean);
}

// A number of a formula in both types of lanes. On CUDA it is read as it is, where a conversion
// would be arithmetic in double, once for each class.
struct Coefficient {
  double in_double;
  float in_float;
  Coefficient() = default;
  TI_LANE Coefficient(double x) : in_double(x), in_float(float(x)) {}
  TI_LANE operator double() const { return in_double; }
  TI_LANE explicit operator float() const { return in_float; }
};
// An exponent.
struct Exponent {
  Coefficient a, inverse;
  bool is_0;
  TI_LANE explicit Exponent(double a) : a(a), inverse(1 / a), is_0(a == 0) {}
};

// (x^a - 1) / a given log x, which is log x where a = 0.
// Box and Cox (1964), An Analysis of Transformations.
template <class V>
TI_LANE V box_cox(V log_x, const Exponent& e) {
  if (e.is_0) return log_x;
  const V t = log_x * V(e.a);
  return near_or_far(t, 0.5, exp_slope(t) * log_x, (accurate_exp(t) - V(1)) * V(e.inverse));
}

// p (x^a - 1) / a, given log x and p x^a, where p or x alone may be beyond the numbers.
template <class V>
TI_LANE V times_box_cox(V p, V log_x, const Exponent& e, V p_by_power) {
  if (e.is_0) return times0(p, log_x);
  const V t = log_x * V(e.a);
  return near_or_far(t, 0.5, p * (exp_slope(t) * log_x), (p_by_power - p) * V(e.inverse));
}

}  // namespace
}  // namespace torch_infotheory
