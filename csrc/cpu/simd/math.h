// math.h -- e^x and log x of a pack, and the treatment of denormals.
#pragma once
#include "cpu/simd/pack.h"

namespace torch_infotheory {
namespace {

// The series c_0 + x (c_1 + x (c_2 + ...)) of 2, 3, ... coefficients.
template <class V, class... Rest>
TI_LANE V series(V, double c) {
  return V(c);
}
template <class V, class... Rest>
TI_LANE V series(V x, double c, Rest... rest) {
  return series(x, rest...) * x + V(c);
}

// 1 / k!. A table, because the compiler must see each as a constant.
struct InverseFactorials {
  double value[14] = {1};
  constexpr InverseFactorials() {
    for (int k = 1; k < 14; ++k) value[k] = value[k - 1] / k;
  }
};
constexpr InverseFactorials kInverseFactorial;

// e^x to 1 ulp (1.2 without fused multiply-add); infinity from 2^127.5 (in double 2^1023.5) on, 0
// where the result would not be normal (x < -87.3 in float), NaN for NaN. x = n log 2 + r with |r|
// <= log(2) / 2 and n rounded by adding a number whose last mantissa bit is worth 1.
template <class A>
TI_LANE Pack<A> accurate_exp(Pack<A> x) {
  using F = Format<A>;
  using P = Pack<A>;
  const P rounder(A(3) * A(int64_t(1) << (F::mantissa - 1)));
  const P bounded = select(x > P(F::most), P(F::most), x);
  const P shifted = bounded * P(1.4426950408889634) + rounder, n = shifted - rounder;
  const P r = (bounded - n * P(F::ln2_high)) - n * P(F::ln2_low);
  P sum(kInverseFactorial.value[F::exp_terms]);
  for (int k = F::exp_terms - 1; k >= 0; --k) sum = sum * r + P(kInverseFactorial.value[k]);
  const P power = number((bits(shifted) + F::bias) << F::mantissa, x);
  return select(x < P(F::least), P(0), sum * power);
}
template <class A>
TI_LANE Pack<A> exp(Pack<A> x) {
  return accurate_exp(x);
}

// x = (1 + f) 2^k with 1 + f in [sqrt(1/2), sqrt(2)). For other x, f and k are such
// that log(1 + f) + k log 2 is the logarithm: k is infinite for 0 and infinity, NaN below 0.
template <class A>
struct Parts {
  Pack<A> f, k;
};
template <class A>
TI_LANE Parts<A> apart(Pack<A> x) {
  using F = Format<A>;
  using P = Pack<A>;
  constexpr double lift = double(int64_t(1) << (F::mantissa + 1));
  const auto tiny = x < P(F::smallest_normal);
  const P normal = select(tiny, x * P(lift), x);
  const auto k = (bits(normal) - bits(P(0.70710678118654752))) >> F::mantissa;
  const P f = number(bits(normal) - (k << F::mantissa), x) - P(1);
  const P exponent =
      P(__builtin_convertvector(k, typename P::V)) - select(tiny, P(F::mantissa + 1), P(0));
  const auto finite = (x > P(0)) & (x < P(INFINITY));
  const P edge = select(x == P(0), P(-INFINITY), select(x > P(0), x, P(NAN)));
  return {select(finite, f, P(0)), select(finite, exponent, edge)};
}
#if TI_PACK_BYTES == 64
// AVX-512 takes numbers apart and puts them together in one instruction each, edges included.
constexpr __mmask16 kAll = 0xffff;  // gcc 12 warns of the unmasked intrinsics' undefined lanes

// Here 1 + f is in [3/4, 3/2).
template <class P>
TI_LANE P next_if_below_1(P exponent, P f) {
  return exponent + select(f < P(0), P(1), P(0));
}
TI_LANE Parts<float> apart(Pack<float> x) {
  using P = Pack<float>;
  constexpr auto from = _MM_MANT_NORM_p75_1p5;
  const P f = P(_mm512_maskz_getmant_ps(kAll, x.v, from, _MM_MANT_SIGN_nan)) - P(1);
  return {f, next_if_below_1(P(_mm512_maskz_getexp_ps(kAll, x.v)), f)};
}
TI_LANE Parts<double> apart(Pack<double> x) {
  using P = Pack<double>;
  constexpr auto from = _MM_MANT_NORM_p75_1p5;
  const P f = P(_mm512_maskz_getmant_pd(__mmask8(kAll), x.v, from, _MM_MANT_SIGN_nan)) - P(1);
  return {f, next_if_below_1(P(_mm512_maskz_getexp_pd(__mmask8(kAll), x.v)), f)};
}
#endif

// log x to 1 ulp, denormal x included; log 0 = -inf, NaN below. With s = f / (2 + f),
// log(1 + f) = 2 atanh s = f - f^2 / 2 + s (f^2 / 2 + 2 s^2 / 3 + 2 s^4 / 5 + ...)
template <class A>
TI_LANE Pack<A> log(Pack<A> x) {
  using F = Format<A>;
  using P = Pack<A>;
  const auto [f, k] = apart(x);
  const P s = f / (P(2) + f), square = s * s, half = f * f * P(0.5);
  P sum(2.0 / (2 * F::log_terms + 1));
  for (int j = F::log_terms - 1; j > 0; --j) sum = sum * square + P(2.0 / (2 * j + 1));
  const P small = s * (half + sum * square) + k * P(F::ln2_low);
  return k * P(F::ln2_high) + (f - (half - small));
}

#if TI_PACK_BYTES == 64
// Shorter, for the loops that spend their time here. The coefficients come from tools/minimax.py.

// 2^t as 2^floor(t) 2^(t - floor t), to 2 ulp.
TI_LANE Pack<float> exp2(Pack<float> t) {
  using P = Pack<float>;
  const P fraction(_mm512_maskz_reduce_ps(kAll, t.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
  const P power = series(fraction, 1, 0x1.62e42cp-1, 0x1.ebfd3ap-3, 0x1.c68af6p-5, 0x1.3cfd82p-7,
                         0x1.473738p-10, 0x1.c4458p-13);
  return P(_mm512_maskz_scalef_ps(kAll, power.v, t.v));
}
constexpr double kLog2e = 1.4426950408889634;
// The rounding of t = x log2(e) makes the relative error grow with |x|: (2 + 5 |x| / 4) ulp, where
// e^x falls faster.
TI_LANE Pack<float> exp(Pack<float> x) { return exp2(x * Pack<float>(kLog2e)); }
// To (2 + |x|) ulp: without the |x| / 4 for log2(e) in float, which have one sign for all x.
TI_LANE Pack<float> unbiased_exp(Pack<float> x) {
  using P = Pack<float>;
  const P rest = x * P(kLog2e - float(kLog2e));
  return exp2(_mm512_fmadd_ps(x.v, P(kLog2e).v, rest.v));
}
// log x to 1.5 ulp.
TI_LANE Pack<float> log(Pack<float> x) {
  const auto [f, k] = apart(x);
  const Pack<float> tail =
      series(f, -0x1p-1, 0x1.5555a4p-2, -0x1.00004ap-2, 0x1.99699ep-3, -0x1.54ed96p-3,
             0x1.28807ap-3, -0x1.0d98fp-3, 0x1.acf4aap-4, -0x1.71e334p-5);
  return k * Pack<float>(0.69314718055994531) + (f + f * f * tail);
}
#endif

// Calls work() with results too small for a normal number set to 0 on this thread, if `flush`:
// arithmetic on denormals takes up to a hundred cycles, and logits far below their maximum make
// many. (No guard object: kernels do not throw, and a destructor would bring in a weak symbol.)
template <class Work>
TI_LANE void flushing_denormals([[maybe_unused]] bool flush, Work work) {
#if defined(__SSE__)
  constexpr unsigned to_zero = 0x8000;
  const unsigned before = __builtin_ia32_stmxcsr();
  if (flush) __builtin_ia32_ldmxcsr(before | to_zero);
  work();
  __builtin_ia32_ldmxcsr(before);
#else
  work();
#endif
}

}  // namespace
}  // namespace torch_infotheory
