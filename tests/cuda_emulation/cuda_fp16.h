// cuda_fp16.h -- stands in for the toolkit's header of this name: float16 by the compiler's own
// type.
#pragma once
#include "cuda_runtime.h"

struct __half {
  unsigned short bits;
};
inline float __half2float(__half x) { return float(cuda_emulation::same_bits<_Float16>(x.bits)); }
inline __half __float2half_rn(float x) {
  return {cuda_emulation::same_bits<unsigned short>(_Float16(x))};
}
inline __half __float2half(float x) { return __float2half_rn(x); }
inline __half __double2half(double x) {
  return {cuda_emulation::same_bits<unsigned short>(_Float16(x))};
}
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }

struct __half2 {
  __half x, y;
};
inline __half2 __floats2half2_rn(float x, float y) {
  return {__float2half_rn(x), __float2half_rn(y)};
}
