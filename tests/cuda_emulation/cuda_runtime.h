// cuda_runtime.h -- stands in for the toolkit's header of this name when a C++ compiler compiles
// the kernels: the words of CUDA C++ that they use, over engine.h.
//
// A word that is missing here is one that no kernel has used yet.
#pragma once
#include <math.h>
#include <string.h>

#include <algorithm>

#include "engine.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
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
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) double2 { double x, y; };
// clang-format on

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

// Loads and stores with a cache hint.
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldca(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T v) {
  *p = v;
}
template <class T>
void __stcg(T* p, T v) {
  *p = v;
}

using cuda_emulation::Place;
inline void __syncthreads(Place place = Place::current()) { cuda_emulation::barrier(place); }
inline void __syncwarp(uint32_t = 0xffffffff, Place place = Place::current()) {
  cuda_emulation::warp_barrier(place);
}
inline int __syncthreads_or(int test, Place place = Place::current()) {
  static int any;
  any = 0;
  cuda_emulation::barrier(place);
  if (test) any = 1;
  cuda_emulation::barrier(place);
  const int result = any;
  cuda_emulation::barrier(place);
  return result;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace cuda_emulation {

// The value of lane `from`, in groups of `width` lanes; its own, where `from` is outside the group.
template <class T>
T shuffle(uint32_t mask, T value, int from, int width, const Place& place) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  const uint64_t* lanes = exchange(mask, bits, place);
  const int group = int(lane()) / width;
  if (from >= group * width && from < (group + 1) * width) bits = lanes[from];
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint32_t ballot(uint32_t mask, bool vote, const Place& place) {
  const uint64_t* lanes = exchange(mask, vote, place);
  uint32_t votes = 0;
  for (int i = 0; i < 32; ++i) votes |= uint32_t(lanes[i]) << i;
  return votes;
}
template <class To, class From>
To same_bits(From from) {
  To to;
  static_assert(sizeof to == sizeof from);
  memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace cuda_emulation

template <class T>
T __shfl_sync(uint32_t mask, T v, int from, int width = 32, Place place = Place::current()) {
  const int base = int(cuda_emulation::lane()) / width * width;
  return cuda_emulation::shuffle(mask, v, base + from % width, width, place);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T v, int bits, int width = 32, Place place = Place::current()) {
  return cuda_emulation::shuffle(mask, v, int(cuda_emulation::lane()) ^ bits, width, place);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T v, int by, int width = 32, Place place = Place::current()) {
  return cuda_emulation::shuffle(mask, v, int(cuda_emulation::lane()) + by, width, place);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T v, int by, int width = 32, Place place = Place::current()) {
  return cuda_emulation::shuffle(mask, v, int(cuda_emulation::lane()) - by, width, place);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote, Place place = Place::current()) {
  return cuda_emulation::ballot(mask, vote, place);
}
inline bool __any_sync(uint32_t mask, bool vote, Place place = Place::current()) {
  return cuda_emulation::ballot(mask, vote, place) != 0;
}
inline bool __all_sync(uint32_t mask, bool vote, Place place = Place::current()) {
  return cuda_emulation::ballot(mask, vote, place) == 0xffffffff;
}

// Arithmetic that the C library has under another name.
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline int __float_as_int(float x) { return cuda_emulation::same_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_emulation::same_bits<unsigned>(x); }
inline float __int_as_float(int x) { return cuda_emulation::same_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return cuda_emulation::same_bits<float>(x); }
inline int __double2hiint(double x) { return int(cuda_emulation::same_bits<int64_t>(x) >> 32); }
inline int __double2loint(double x) { return int(cuda_emulation::same_bits<int64_t>(x)); }
inline double __hiloint2double(int high, int low) {
  return cuda_emulation::same_bits<double>(int64_t(high) << 32 | int64_t(unsigned(low)));
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
using std::max;
using std::min;
