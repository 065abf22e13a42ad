// transpose.h -- transposes a square of packs: as many packs as each has lanes.
#pragma once
#include <utility>

#include "cpu/simd/pack.h"

namespace torch_infotheory {
namespace {

// The lanes j of x and y, where those of y are counted from the width on. gcc 11 has no
// shufflevector, and clang has no shuffle.
#if defined(__clang__)
template <int... j, class A>
TI_LANE Pack<A> lanes_of(Pack<A> x, Pack<A> y) {
  return __builtin_shufflevector(x.v, y.v, j...);
}
#else
template <int... j, class A>
TI_LANE Pack<A> lanes_of(Pack<A> x, Pack<A> y) {
  return __builtin_shuffle(x.v, y.v, typename Pack<A>::Mask{j...});
}
#endif
// Exchanges lanes of a and b that are `step` apart: those of a whose index has that bit for those
// of b whose index has not.
template <int step, class A, int... j>
TI_LANE void exchange(Pack<A>& a, Pack<A>& b, std::integer_sequence<int, j...>) {
  constexpr int width = Pack<A>::width;
  const Pack<A> x = a, y = b;
  a = lanes_of<(j & step ? width + j - step : j)...>(x, y);
  b = lanes_of<(j & step ? width + j : j + step)...>(x, y);
}
// Transposes squares of twice the size in each step.
template <class A, int step = 1, int... j>
TI_LANE void transpose(Pack<A>* rows, std::integer_sequence<int, j...> lanes) {
  if constexpr (step < Pack<A>::width) {
    ((j & step ? void() : exchange<step>(rows[j], rows[j | step], lanes)), ...);
    transpose<A, 2 * step>(rows, lanes);
  }
}
template <class A>
TI_LANE void transpose(Pack<A>* rows) {
  transpose(rows, std::make_integer_sequence<int, Pack<A>::width>());
}

}  // namespace
}  // namespace torch_infotheory
