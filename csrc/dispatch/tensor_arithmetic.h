// tensor_arithmetic.h -- the functions of core/arithmetic.h on a tensor or a number.
//
// Every where() below occurs twice: once for the value, and once to prevent 0 * inf in its
// derivative.
#pragma once
#include <ATen/ATen.h>

#include <cmath>

#include "dispatch/signature.h"

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
inline Tensor operator<(const Lane& a, const Lane& b) { return b.plain() ? a.t < b.c : a.t < b.t; }
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
inline Lane accurate_exp(const Lane& a) { return exp(a); }
inline Lane log(const Lane& a) {
  const Tensor zero = a.t == 0;
  return at::where(zero, -INFINITY, at::where(zero, 1., a.t).log());
}
inline Lane rounded(const Lane& a) { return a; }
inline Lane log1p(const Lane& a) { return at::log1p(a.t); }
inline Lane times0(const Lane& p, const Lane& x) {
  const Tensor gone = at::logical_and(p.t == 0, at::isfinite(x.t).logical_not());
  return at::where(gone, 0., p.t * at::where(gone, 0., x.t));
}
inline Lane over0(const Lane& w, const Lane& q) {
  const Tensor gone = at::logical_and(q.t == 0, w.t == 0);
  return at::where(gone, 0., w.t / at::where(gone, 1., q.t));
}

// Only where it is needed, because p has not the derivatives of the mean.
inline Lane unless_equal(const Lane&, const Lane&, const Lane& p, const Lane& q, const Lane& mean) {
  return select(at::logical_and(p.t == 0, q.t == 0), p, mean);
}
inline Lane near_or_far(const Lane&, double, const Lane&, const Lane& far) { return far; }
inline Lane box_cox(const Lane& log_x, const Exponent& e) {
  if (e.is_0) return log_x;
  const double a = e.a;
  const Tensor finite = at::isfinite(log_x.t), limit = (log_x.t.detach() * a).exp() - 1;
  const Tensor power = at::where(finite, at::expm1(at::where(finite, log_x.t, 0.) * a), limit);
  return power * (1 / a);
}

inline Lane times_box_cox(const Lane& p, const Lane& log_x, const Exponent& e, const Lane&) {
  return times0(p, box_cox(log_x, e));
}

}  // namespace
}  // namespace torch_infotheory
