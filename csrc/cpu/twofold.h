// twofold.h -- sums that keep what their additions lose.
//
// Knows packs; must not know rows, formulas, or torch. Read next: results.inl.
#pragma once
#include "core/row.h"
#include "cpu/wide.h"

namespace torch_infotheory {
namespace {

// high + low, where low is what a V does not hold of the sum. A linear score of such numbers is
// again one.
template <class V>
struct Twofold {
  V high, low;
  TI_LANE Twofold(V x, V rest) : high(x), low(rest) {}
  TI_LANE Twofold() : high(0), low(0) {}
  // An infinite sum has NaN for its rest.
  TI_LANE V value() const { return select(low == low, high + low, high); }
};
template <class V>
TI_LANE Twofold<V> operator+(Twofold<V> a, V b) {
  const V sum = a.high + b;
  return {sum, a.low + rest_of(a.high, b, sum)};
}
template <class V>
TI_LANE Twofold<V> operator+(Twofold<V> a, Twofold<V> b) {
  const Twofold<V> sum = a + b.high;
  return {sum.high, sum.low + b.low};
}
template <class V>
TI_LANE Twofold<V> operator-(Twofold<V> a) {
  return {-a.high, -a.low};
}
template <class V>
TI_LANE Twofold<V> operator-(Twofold<V> a, Twofold<V> b) {
  return a + -b;
}

// All lanes together.
TI_LANE Twofold<double> sum(Twofold<Pack<double>> x) {
  Twofold<double> all;
  for (int i = 0; i < Pack<double>::width; ++i)
    all = all + Twofold<double>(x.high.v[i], x.low.v[i]);
  return all;
}

}  // namespace
}  // namespace torch_infotheory
