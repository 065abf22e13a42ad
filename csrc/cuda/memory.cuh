// memory.cuh -- loads, stores and conversions of every dtype, one element or one pack at a time.
//
// In a specialized kernel the Type is a constant, which removes the switches below.
#pragma once
#include "core/rows.h"
#include "core/sources.h"
#include "cuda/device.h"

namespace torch_infotheory {
namespace {

// ---- 16-bit types ----
__device__ __forceinline__ float bfloat16_to_float(unsigned low_half) {
  return __uint_as_float(low_half << 16);
}
__device__ __forceinline__ float half_to_float(unsigned low_half) {
  return __half2float(__ushort_as_half((unsigned short)(low_half)));
}
__device__ __forceinline__ unsigned short to_16_bits(Type type, float x) {
  return type == kHalf ? __half_as_ushort(__float2half_rn(x))
                       : __bfloat16_as_ushort(__float2bfloat16_rn(x));
}
// Two at once, which is a single instruction on devices that have one.
__device__ __forceinline__ unsigned to_16_bits(Type type, float a, float b) {
  unsigned word;
  if (type == kHalf) {
    const __half2 pair = __floats2half2_rn(a, b);
    memcpy(&word, &pair, sizeof word);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
    memcpy(&word, &pair, sizeof word);
  }
  return word;
}

// ---- one element ----
template <class A>
__device__ __forceinline__ A load_element(const void* data, Type type, int64_t i) {
  switch (type) {
    case kFloat:
      return A(static_cast<const float*>(data)[i]);
    case kDouble:
      return A(static_cast<const double*>(data)[i]);
    case kHalf:
      return A(half_to_float(static_cast<const unsigned short*>(data)[i]));
    default:
      return A(bfloat16_to_float(static_cast<const unsigned short*>(data)[i]));
  }
}
template <class A>
__device__ __forceinline__ void store_element(void* data, Type type, int64_t i, A x) {
  switch (type) {
    case kFloat:
      static_cast<float*>(data)[i] = float(x);
      break;
    case kDouble:
      static_cast<double*>(data)[i] = double(x);
      break;
    default:
      static_cast<unsigned short*>(data)[i] = to_16_bits(type, float(x));
  }
}

// ---- a pack: n contiguous elements of 16, 8 or 4 bytes in all, aligned to their size ----
struct alignas(16) Pack {
  unsigned word[4];
};
// Through vector types, because the compiler may split an access through a struct.
__device__ __forceinline__ Pack load_pack(const void* at, int bytes) {
  Pack x;
  if (bytes == 16) {
    const uint4 v = *static_cast<const uint4*>(at);
    x.word[0] = v.x, x.word[1] = v.y, x.word[2] = v.z, x.word[3] = v.w;
  } else if (bytes == 8) {
    const uint2 v = *static_cast<const uint2*>(at);
    x.word[0] = v.x, x.word[1] = v.y;
  } else {
    x.word[0] = *static_cast<const unsigned*>(at);
  }
  return x;
}
// With a streaming hint, because gradients are not read again soon.
__device__ __forceinline__ void store_pack(void* at, int bytes, const Pack& x) {
  if (bytes == 16)
    __stcs(static_cast<uint4*>(at), make_uint4(x.word[0], x.word[1], x.word[2], x.word[3]));
  else if (bytes == 8)
    __stcs(static_cast<uint2*>(at), make_uint2(x.word[0], x.word[1]));
  else
    __stcs(static_cast<unsigned*>(at), x.word[0]);
}
template <int n, class A>
__device__ __forceinline__ void unpack(Type type, const Pack& from, A (&x)[n]) {
  if (type == kFloat) {
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = A(__uint_as_float(from.word[k & 3]));
  } else if (type == kDouble) {
#pragma unroll
    for (int k = 0; k < n; ++k)
      x[k] = A(__hiloint2double(int(from.word[(2 * k + 1) & 3]), int(from.word[(2 * k) & 3])));
  } else if (type == kHalf) {
#pragma unroll
    for (int k = 0; k < n; ++k)
      x[k] = A(half_to_float(k % 2 ? from.word[k / 2 & 3] >> 16 : from.word[k / 2 & 3]));
  } else {
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const unsigned word = from.word[k / 2 & 3];
      x[k] = A(k % 2 ? __uint_as_float(word & 0xffff0000u) : bfloat16_to_float(word));
    }
  }
}
template <int n, class A>
__device__ __forceinline__ Pack packed(Type type, const A (&x)[n]) {
  Pack to = {};
  if (type == kFloat) {
#pragma unroll
    for (int k = 0; k < n; ++k) to.word[k & 3] = __float_as_uint(float(x[k]));
  } else if (type == kDouble) {
#pragma unroll
    for (int k = 0; k < n; ++k) {
      to.word[(2 * k) & 3] = unsigned(__double2loint(double(x[k])));
      to.word[(2 * k + 1) & 3] = unsigned(__double2hiint(double(x[k])));
    }
  } else {
#pragma unroll
    for (int k = 0; k < n; k += 2)
      to.word[k / 2 & 3] = to_16_bits(type, float(x[k]), float(x[k + 1]));
  }
  return to;
}

}  // namespace
}  // namespace torch_infotheory
