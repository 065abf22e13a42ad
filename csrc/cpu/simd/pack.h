// pack.h -- as many numbers as fit one SIMD register, with the functions of core/arithmetic.h.
//
// Written with the compilers' vector extension: the file that includes it defines TI_PACK_BYTES
// (16, 32, 64) and which instruction set may be used, and the same text becomes SSE, AVX2, AVX-512
// or NEON.
#pragma once
#include <stdint.h>
#if TI_PACK_BYTES == 64
#include <immintrin.h>
#endif

#include "core/arithmetic.h"
#include "cpu/simd/formats.h"

namespace torch_infotheory {
namespace {

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

template <class A>
constexpr bool has_float_lanes<Pack<A>> = __is_same(A, float);

#define TI_PACK      \
  template <class A> \
  TI_LANE
TI_PACK Pack<A> operator+(Pack<A> a, Pack<A> b) { return a.v + b.v; }
TI_PACK Pack<A> operator-(Pack<A> a, Pack<A> b) { return a.v - b.v; }
TI_PACK Pack<A> operator*(Pack<A> a, Pack<A> b) { return a.v * b.v; }
TI_PACK Pack<A> operator/(Pack<A> a, Pack<A> b) { return a.v / b.v; }
TI_PACK Pack<A> operator-(Pack<A> a) { return -a.v; }
// Comparisons as the CPU makes them: with NaN all but != are false. A mask has all bits of a lane
// set, or none.
TI_PACK typename Pack<A>::Mask operator==(Pack<A> a, Pack<A> b) { return a.v == b.v; }
TI_PACK typename Pack<A>::Mask operator!=(Pack<A> a, Pack<A> b) { return a.v != b.v; }
TI_PACK typename Pack<A>::Mask operator<(Pack<A> a, Pack<A> b) { return a.v < b.v; }
TI_PACK typename Pack<A>::Mask operator>(Pack<A> a, Pack<A> b) { return a.v > b.v; }
// The lanes of a where the test holds, those of b elsewhere. NaN payloads and signs of zero are
// kept.
TI_PACK Pack<A> select(typename Pack<A>::Mask test, Pack<A> a, Pack<A> b) {
  return test ? a.v : b.v;
}
// The larger of both; `highest` where they are equal and where either is NaN, so that a running
// maximum stays a number. (exp propagates the NaN.)
TI_PACK Pack<A> max(Pack<A> highest, Pack<A> x) { return x.v > highest.v ? x.v : highest.v; }
TI_PACK Pack<A> rounded(Pack<A> a) {
#if defined(__aarch64__)
  asm("" : "+w"(a.v));
#elif defined(__x86_64__)
  asm("" : "+v"(a.v));
#endif
  return a;
}
// The same bits as integers, and back.
TI_PACK typename Pack<A>::Mask bits(Pack<A> a) { return (typename Pack<A>::Mask)a.v; }
TI_PACK Pack<A> number(typename Pack<A>::Mask bits, Pack<A>) { return (typename Pack<A>::V)bits; }

// Whether the test holds in any lane.
TI_PACK bool any(typename Pack<A>::Mask test, Pack<A>) {
#if TI_PACK_BYTES == 64
  return _mm512_test_epi32_mask((__m512i)test, (__m512i)test) != 0;
#else
  uint64_t words[sizeof test / 8], all = 0;
  __builtin_memcpy(words, &test, sizeof test);
  for (const uint64_t word : words) all |= word;
  return all != 0;
#endif
}

// ---- memory: numbers of type T, loaded as packs of A
// As many numbers as a pack has lanes, at any address. Exact but from double to float, which rounds
// to nearest.
template <class A, class T>
TI_LANE Pack<A> load(const T* x) {
#if TI_PACK_BYTES == 64  // one instruction, of which gcc 12 makes six
  if constexpr (__is_same(A, double) && __is_same(T, float))
    return Pack<A>(_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(x)));
#endif
  return Pack<A>(__builtin_convertvector((widen<Pack<A>::width>(x)), typename Pack<A>::V));
}

// All lanes, to any address; rounded where T is narrower.
template <class A, class T>
TI_LANE void store(T* to, Pack<A> a) {
  using Via = Vector<decltype(widen<1>(to)[0] + 0), Pack<A>::width>;
  narrow<Pack<A>::width>(to, __builtin_convertvector(a.v, Via));
}

// Offsets in memory, one for each lane of doubles.
using Indices = Pack<double>::Mask;

// `a` in the first `lanes` lanes, 0 in the others, whatever `a` is there.
TI_PACK Pack<A> first_lanes(Pack<A> a, int64_t lanes) {
  A kept[Pack<A>::width];
  store(kept, a);
  for (int64_t j = lanes; j < Pack<A>::width; ++j) kept[j] = 0;
  return load<A>(kept);
}
// x[0], x[stride], ... in the first `lanes` lanes, `fill` in the others, whose memory is not read.
template <class A, class T>
TI_LANE Pack<A> load_lanes(const T* x, int64_t stride, int64_t lanes, A fill) {
  constexpr int width = Pack<A>::width;
  if (stride == 1 && lanes == width) return load<A>(x);
#if TI_PACK_BYTES == 64
  if constexpr (__is_same(A, float) && __is_same(T, float))
    if (stride == 1)
      return Pack<A>(_mm512_mask_loadu_ps(Pack<A>(fill).v, __mmask16((1u << lanes) - 1), x));
  if constexpr (__is_same(A, float) && sizeof(T) == 2)
    if (stride == 1) {
      const __mmask16 there = __mmask16((1u << lanes) - 1);
      const __m256i half = _mm256_maskz_loadu_epi16(there, x);
      return Pack<A>(
          _mm512_mask_mov_ps(Pack<A>(fill).v, there, load<A>(reinterpret_cast<const T*>(&half)).v));
    }
#endif
  T part[width] = {};
  for (int64_t j = 0; j < lanes; ++j) part[j] = x[j * stride];
  Pack<A> v = load<A>(part);
  for (int64_t j = lanes; j < width; ++j) v.v[j] = fill;
  return v;
}
// The first `lanes` lanes to x[0], x[stride], ...; other memory is not written.
template <class A, class T>
TI_LANE void store_lanes(T* to, int64_t stride, int64_t lanes, Pack<A> a) {
  if (stride == 1 && lanes == Pack<A>::width) return store(to, a);
#if TI_PACK_BYTES == 64
  if constexpr (__is_same(A, float) && __is_same(T, float))
    if (stride == 1) return _mm512_mask_storeu_ps(to, __mmask16((1u << lanes) - 1), a.v);
  if constexpr (__is_same(A, float) && sizeof(T) == 2)
    if (stride == 1) {
      __m256i half;
      store(reinterpret_cast<T*>(&half), a);
      return _mm256_mask_storeu_epi16(to, __mmask16((1u << lanes) - 1), half);
    }
#endif
  T part[Pack<A>::width];
  store(part, a);
  for (int64_t j = 0; j < lanes; ++j) to[j * stride] = part[j];
}

// ---- reductions over the lanes, by halves: the order depends on the width alone
template <class A, int width, class F>
TI_LANE A across(const A* lanes, F f) {
  if constexpr (width <= 4) {
    A all = lanes[0];
    for (int i = 1; i < width; ++i) all = f(all, lanes[i]);
    return all;
  } else {
    A half[width / 2];
    const auto v = f(load_raw<A, width / 2>(lanes), load_raw<A, width / 2>(lanes + width / 2));
    __builtin_memcpy(half, &v, sizeof v);
    return across<A, width / 2>(half, f);
  }
}
// The largest lane; none may be NaN.
TI_PACK A highest(Pack<A> a) {
  A lanes[Pack<A>::width];
  store(lanes, a);
  return across<A, Pack<A>::width>(
      lanes, [](auto x, auto y) __attribute__((always_inline)) { return x > y ? x : y; });
}
// The sum of the lanes, in double whatever they are.
TI_PACK double sum(Pack<A> a) {
  constexpr int step = Pack<double>::width;
  A lanes[Pack<A>::width];
  store(lanes, a);
  Pack<double> wide = load<double>(lanes);
  for (int i = step; i < Pack<A>::width; i += step) wide = wide + load<double>(lanes + i);
  double parts[step];
  store(parts, wide);
  return across<double, step>(parts,
                              [](auto x, auto y) __attribute__((always_inline)) { return x + y; });
}
#undef TI_PACK

}  // namespace
}  // namespace torch_infotheory
