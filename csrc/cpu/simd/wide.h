// wide.h -- sums that are wider than the lanes of a pack: in double, and in two doubles.
#pragma once
#include "core/row.h"
#include "cpu/simd/math.h"

namespace torch_infotheory {
namespace {

// The lanes of a Pack<A> as doubles, in one pack of double or two.
template <class A>
struct InDouble {
  static constexpr int width = Pack<A>::width, step = Pack<double>::width, parts = width / step;
  Pack<double> part[parts];

  TI_LANE explicit InDouble(double x) {
    for (auto& p : part) p = Pack<double>(x);
  }
  TI_LANE explicit InDouble(Pack<A> x) {
    A lanes[width];
    store(lanes, x);
    load_lanes(lanes);
  }
  TI_LANE explicit InDouble(const double* lanes) { load_lanes(lanes); }
  template <class T>
  TI_LANE void load_lanes(const T* lanes) {
    for (int i = 0; i < parts; ++i) part[i] = load<double>(lanes + i * step);
  }
  template <class T>
  TI_LANE void store_lanes(T* lanes) const {
    for (int i = 0; i < parts; ++i) store(lanes + i * step, part[i]);
  }
  TI_LANE Pack<A> narrowed() const {
#if TI_PACK_BYTES == 64  // gcc 12 makes six instructions of a conversion, see load
    if constexpr (parts == 2)
      return Pack<A>(
          _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_maskz_cvtpd_ps(0xff, part[0].v)),
                             _mm512_maskz_cvtpd_ps(0xff, part[1].v), 1));
#endif
    A lanes[width];
    store_lanes(lanes);
    return load<A>(lanes);
  }
  TI_LANE double operator[](int64_t lane) const { return part[lane / step].v[lane % step]; }
  TI_LANE double total() const {
    Pack<double> all = part[0];
    for (int i = 1; i < parts; ++i) all = all + part[i];
    return sum(all);
  }
};
// Applies f to the packs of double.
template <class F, class A, class... Rest>
TI_LANE InDouble<A> map(F f, const InDouble<A>& first, const Rest&... rest) {
  InDouble<A> out(0.);
  for (int i = 0; i < InDouble<A>::parts; ++i) out.part[i] = f(first.part[i], rest.part[i]...);
  return out;
}

// high + low: a sum in V and its rounding error. A linear score of such numbers is again one.
template <class V>
struct DoubleDouble {
  V high, low;
  TI_LANE DoubleDouble(V sum, V error) : high(sum), low(error) {}
  TI_LANE DoubleDouble() : high(0), low(0) {}
  // The error of an infinite sum is NaN.
  TI_LANE V value() const { return select(low == low, high + low, high); }
};
template <class V>
TI_LANE DoubleDouble<V> operator+(DoubleDouble<V> a, V b) {
  const V sum = a.high + b;
  return {sum, a.low + error_of_sum(a.high, b, sum)};
}
template <class V>
TI_LANE DoubleDouble<V> operator+(DoubleDouble<V> a, DoubleDouble<V> b) {
  const DoubleDouble<V> sum = a + b.high;
  return {sum.high, sum.low + b.low};
}
template <class V>
TI_LANE DoubleDouble<V> operator-(DoubleDouble<V> a) {
  return {-a.high, -a.low};
}
template <class V>
TI_LANE DoubleDouble<V> operator-(DoubleDouble<V> a, DoubleDouble<V> b) {
  return a + -b;
}

// The sum over the lanes.
TI_LANE DoubleDouble<double> sum(DoubleDouble<Pack<double>> x) {
  DoubleDouble<double> all;
  for (int i = 0; i < Pack<double>::width; ++i)
    all = all + DoubleDouble<double>(x.high.v[i], x.low.v[i]);
  return all;
}

}  // namespace
}  // namespace torch_infotheory
