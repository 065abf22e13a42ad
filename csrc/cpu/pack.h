// pack.h -- as many numbers as fit one SIMD register, with the verbs of core/lanes.h.
//
// Written with the compilers' vector extension: the file that includes it says TI_PACK_BYTES (16,
// 32, 64) and which instruction set may be used, and the same text becomes SSE, AVX2, AVX-512 or
// NEON. Knows numbers and their formats in memory; must not know rows, formulas, or torch. Read
// next: rows.inl.
#pragma once
#include <stdint.h>

#include "core/lanes.h"

namespace torch_infotheory {
namespace {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

template <class A>
struct Format;
template <>
struct Format<float> {
  using Int = int32_t;
  static constexpr int mantissa = 23, bias = 127, exp_terms = 7, log_terms = 4;
  static constexpr float least = -87.336544f,
                         most = 89.f;  // of x with a normal e^x, and beyond the largest
  static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float smallest_normal = 0x1p-126f, largest = 0x1.fffffep127f;
};
template <>
struct Format<double> {
  using Int = int64_t;
  static constexpr int mantissa = 52, bias = 1023, exp_terms = 13, log_terms = 10;
  static constexpr double least = -708.39641853226410, most = 710;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double smallest_normal = 0x1p-1022, largest = 0x1.fffffffffffffp1023;
};

template <class T, int width>
struct VectorOf {
  typedef T type __attribute__((vector_size(sizeof(T) * width)));
};
template <class T, int width>
using Vector = typename VectorOf<T, width>::type;

template <class A>
struct Pack {
  static constexpr int width = TI_PACK_BYTES / sizeof(A);
  using Int = typename Format<A>::Int;
  using V = Vector<A, width>;
  using Mask = Vector<Int, width>;
  V v;
  Pack() = default;
  TI_LANE Pack(V x) : v(x) {}
  TI_LANE explicit Pack(double x) : v(A(x) - V{}) {}
};

#define TI_PACK      \
  template <class A> \
  TI_LANE
TI_PACK Pack<A> operator+(Pack<A> a, Pack<A> b) { return a.v + b.v; }
TI_PACK Pack<A> operator-(Pack<A> a, Pack<A> b) { return a.v - b.v; }
TI_PACK Pack<A> operator*(Pack<A> a, Pack<A> b) { return a.v * b.v; }
TI_PACK Pack<A> operator/(Pack<A> a, Pack<A> b) { return a.v / b.v; }
TI_PACK Pack<A> operator-(Pack<A> a) { return -a.v; }
TI_PACK typename Pack<A>::Mask operator==(Pack<A> a, Pack<A> b) { return a.v == b.v; }
TI_PACK typename Pack<A>::Mask operator!=(Pack<A> a, Pack<A> b) { return a.v != b.v; }
TI_PACK typename Pack<A>::Mask operator<(Pack<A> a, Pack<A> b) { return a.v < b.v; }
TI_PACK typename Pack<A>::Mask operator>(Pack<A> a, Pack<A> b) { return a.v > b.v; }
TI_PACK Pack<A> select(typename Pack<A>::Mask test, Pack<A> a, Pack<A> b) {
  return test ? a.v : b.v;
}
// A NaN in `x` is passed over, so that a running maximum stays a number (and the NaN is met again
// by exp).
TI_PACK Pack<A> max(Pack<A> highest, Pack<A> x) { return x.v > highest.v ? x.v : highest.v; }
TI_PACK typename Pack<A>::Mask bits(Pack<A> a) { return (typename Pack<A>::Mask)a.v; }
TI_PACK Pack<A> number(typename Pack<A>::Mask bits, Pack<A>) { return (typename Pack<A>::V)bits; }

// 1 / k!. A table, for the compiler must see each as a constant.
struct InverseFactorials {
  double of[14] = {1};
  constexpr InverseFactorials() {
    for (int k = 1; k < 14; ++k) of[k] = of[k - 1] / k;
  }
};
constexpr InverseFactorials kInverseFactorial;

// e^x to 1 ulp (1.2 without fused multiply-add); infinity from 2^127.5 (in double 2^1023.5) on, 0
// where the result would not be normal (x < -87.3 in float), NaN for NaN. x = n log 2 + r with |r|
// <= log(2) / 2 and n rounded by adding a number whose last mantissa bit is worth 1.
TI_PACK Pack<A> exp(Pack<A> x) {
  using F = Format<A>;
  using P = Pack<A>;
  const P rounder(A(3) * A(int64_t(1) << (F::mantissa - 1)));
  const P bounded = select(x > P(F::most), P(F::most), x);
  const P shifted = bounded * P(1.4426950408889634) + rounder, n = shifted - rounder;
  const P r = (bounded - n * P(F::ln2_high)) - n * P(F::ln2_low);
  P series(kInverseFactorial.of[F::exp_terms]);
  for (int k = F::exp_terms - 1; k >= 0; --k) series = series * r + P(kInverseFactorial.of[k]);
  const P power = number((bits(shifted) + F::bias) << F::mantissa, x);
  return select(x < P(F::least), P(0), series * power);
}

// log x to 1 ulp, denormal x included; log 0 = -inf, NaN below.
// x = m 2^k with m in [sqrt(1/2), sqrt(2)); with f = m - 1 and s = f / (2 + f),
// log m = 2 atanh s = f - f^2 / 2 + s (f^2 / 2 + 2 s^2 / 3 + 2 s^4 / 5 + ...)
TI_PACK Pack<A> log(Pack<A> x) {
  using F = Format<A>;
  using P = Pack<A>;
  constexpr double lift = double(int64_t(1) << (F::mantissa + 1));
  const auto tiny = x < P(F::smallest_normal);
  const P normal = select(tiny, x * P(lift), x);
  const auto k = (bits(normal) - bits(P(0.70710678118654752))) >> F::mantissa;
  const P f = number(bits(normal) - (k << F::mantissa), x) - P(1);
  const P exponent =
      P(__builtin_convertvector(k, typename P::V)) - select(tiny, P(F::mantissa + 1), P(0));
  const P s = f / (P(2) + f), square = s * s, half = f * f * P(0.5);
  P series(2.0 / (2 * F::log_terms + 1));
  for (int j = F::log_terms - 1; j > 0; --j) series = series * square + P(2.0 / (2 * j + 1));
  const P small = s * (half + series * square) + exponent * P(F::ln2_low);
  const P y = exponent * P(F::ln2_high) + (f - (half - small));
  const P edge = select(x == P(0), P(-INFINITY), select(x > P(0), x, P(NAN)));
  return select((x > P(0)) & (x < P(INFINITY)), y, edge);
}

TI_PACK double sum(Pack<A> a) {
  double total = 0;
  for (int i = 0; i < Pack<A>::width; ++i) total += double(a.v[i]);
  return total;
}
TI_PACK A highest(Pack<A> a) {
  A top = a.v[0];
  for (int i = 1; i < Pack<A>::width; ++i) top = a.v[i] > top ? a.v[i] : top;
  return top;
}
TI_PACK bool any(typename Pack<A>::Mask test, Pack<A>) {
  uint64_t words[sizeof test / 8], all = 0;
  __builtin_memcpy(words, &test, sizeof test);
  for (const uint64_t word : words) all |= word;
  return all != 0;
}

// ---- memory: numbers of type T, computed with as packs of A
// ----------------------------------------------------------
template <class T, int width>
TI_LANE Vector<T, width> load_raw(const T* x) {
  Vector<T, width> v;
  __builtin_memcpy(&v, x, sizeof v);
  return v;
}
template <int width>
TI_LANE Vector<float, width> widen(const float* x) {
  return load_raw<float, width>(x);
}
template <int width>
TI_LANE Vector<double, width> widen(const double* x) {
  return load_raw<double, width>(x);
}
template <int width>
TI_LANE Vector<uint32_t, width> load_16_bits(const void* x) {
  return __builtin_convertvector((load_raw<uint16_t, width>(static_cast<const uint16_t*>(x))),
                                 Vector<uint32_t, width>);
}
template <int width>
TI_LANE Vector<float, width> widen(const BFloat16* x) {
  return (Vector<float, width>)(load_16_bits<width>(x) << 16);
}
// The exponent is moved by a multiplication, which also normalises denormals; infinity and NaN get
// the largest one.
template <int width>
TI_LANE Vector<float, width> widen(const Half* x) {
  using Bits = Vector<uint32_t, width>;
  const Bits h = load_16_bits<width>(x), sign = (h & 0x8000u) << 16,
             magnitude = (h & 0x7fffu) << 13;
  const Bits moved = (Bits)((Vector<float, width>)magnitude * 0x1p112f);
  const Bits top = magnitude >= (0x7c00u << 13) ? magnitude | 0x7f800000u : moved;
  return (Vector<float, width>)(top | sign);
}

template <class A, class T>
TI_LANE Pack<A> load(const T* x) {
  return Pack<A>(__builtin_convertvector((widen<Pack<A>::width>(x)), typename Pack<A>::V));
}

// Rounds to nearest, ties to even, as at::BFloat16 and at::Half do.
template <int width>
TI_LANE void store_16_bits(void* to, Vector<uint32_t, width> bits) {
  const auto narrow = __builtin_convertvector(bits, Vector<uint16_t, width>);
  __builtin_memcpy(to, &narrow, sizeof narrow);
}
template <int width>
TI_LANE void narrow(BFloat16* to, Vector<float, width> x) {
  using Bits = Vector<uint32_t, width>;
  const Bits b = (Bits)x, rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
  store_16_bits<width>(to, x == x ? rounded : Bits{} + 0x7fc0u);
}
template <int width>
TI_LANE void narrow(Half* to, Vector<float, width> x) {
  using Bits = Vector<uint32_t, width>;
  const Bits b = (Bits)x, sign = (b >> 16) & 0x8000u, magnitude = b & 0x7fffffffu;
  const Bits normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 1/2 leaves the denormal's bits, rounded by the addition itself, at the end of the
  // mantissa.
  const Bits denormal = (Bits)((Vector<float, width>)magnitude + 0.5f) - 0x3f000000u;
  const Bits finite = magnitude < (113u << 23) ? denormal : normal;
  const Bits big = magnitude >= 0x477ff000u ? Bits{} + 0x7c00u : finite;
  store_16_bits<width>(to, sign | (magnitude > 0x7f800000u ? Bits{} + 0x7e00u : big));
}
template <int width>
TI_LANE void narrow(float* to, Vector<float, width> x) {
  __builtin_memcpy(to, &x, sizeof x);
}
template <int width>
TI_LANE void narrow(double* to, Vector<double, width> x) {
  __builtin_memcpy(to, &x, sizeof x);
}
template <class A, class T>
TI_LANE void store(T* to, Pack<A> a) {
  using Via = Vector<decltype(widen<1>(to)[0] + 0), Pack<A>::width>;
  narrow<Pack<A>::width>(to, __builtin_convertvector(a.v, Via));
}
#undef TI_PACK

}  // namespace
}  // namespace torch_infotheory
