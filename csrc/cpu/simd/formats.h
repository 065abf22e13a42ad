// formats.h -- the floating types in memory, as vectors of float or double.
#pragma once
#include <stdint.h>

#include "core/compiler.h"

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

// x[0], ..., x[width - 1] at any address.
template <class T, int width>
TI_LANE Vector<T, width> load_raw(const T* x) {
  Vector<T, width> v;
  __builtin_memcpy(&v, x, sizeof v);
  return v;
}
// The same as float, or of doubles as double: exactly, denormals, infinities and NaN included.
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
// The exponent is moved by a multiplication, which also normalizes denormals; infinity and NaN get
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

// Rounds to nearest, ties to even, as at::BFloat16 and at::Half do; beyond the largest number to
// infinity. Every NaN becomes the quiet one.
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
}  // namespace
}  // namespace torch_infotheory
