// cuda_runtime.h -- stands in for the toolkit's header of this name when a C++ compiler compiles
// the kernels: the words of CUDA C++ that they use, over engine.h.
//
// A word that is missing here is one that no kernel has used yet.
#pragma once
#include <math.h>
#include <string.h>

#include "engine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __shared__ static

#define threadIdx ::cuda_emulation::thread_index
#define blockIdx ::cuda_emulation::block_index
#define blockDim ::cuda_emulation::block_size
#define gridDim ::cuda_emulation::grid_size

// clang-format off
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
// clang-format on

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

// A store with a cache hint.
template <class T>
void __stcs(T* p, T v) {
  *p = v;
}

using cuda_emulation::Place;
inline void __syncthreads(Place place = Place::current()) { cuda_emulation::barrier(place); }

namespace cuda_emulation {

template <class To, class From>
To same_bits(From from) {
  To to;
  static_assert(sizeof to == sizeof from);
  memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace cuda_emulation

template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, Place place = Place::current()) {
  static_assert(sizeof(T) <= 8);
  uint64_t word = 0;
  memcpy(&word, &value, sizeof value);
  word = cuda_emulation::exchange(mask, word, place)[cuda_emulation::lane() ^ unsigned(bits)];
  memcpy(&value, &word, sizeof value);
  return value;
}

// The bits of numbers.
inline unsigned __float_as_uint(float x) { return cuda_emulation::same_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return cuda_emulation::same_bits<float>(x); }
inline int __double2hiint(double x) { return int(cuda_emulation::same_bits<int64_t>(x) >> 32); }
inline int __double2loint(double x) { return int(cuda_emulation::same_bits<int64_t>(x)); }
inline double __hiloint2double(int high, int low) {
  return cuda_emulation::same_bits<double>(int64_t(high) << 32 | int64_t(unsigned(low)));
}
