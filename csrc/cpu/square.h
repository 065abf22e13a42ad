// square.h -- as many packs as they have lanes, as the rows of a square.
//
// Knows packs; must not know rows of memory, formulas, or torch. Read next: tiles.inl.
#pragma once
#include "cpu/pack.h"

namespace torch_infotheory {
namespace {

template <int... j>
struct Lanes {};
template <int n, int... j>
struct LanesUpTo : LanesUpTo<n - 1, n - 1, j...> {};
template <int... j>
struct LanesUpTo<0, j...> {
  using type = Lanes<j...>;
};

// The lanes j of x and y, those of y counted from the width on. gcc 11 has no shufflevector, and
// clang no shuffle.
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
// Lanes of a and b that differ by `step` change places: those of a with that bit, of b without it.
template <int step, class A, int... j>
TI_LANE void exchange(Pack<A>& a, Pack<A>& b, Lanes<j...>) {
  constexpr int width = Pack<A>::width;
  const Pack<A> x = a, y = b;
  a = lanes_of<(j & step ? width + j - step : j)...>(x, y);
  b = lanes_of<(j & step ? width + j : j + step)...>(x, y);
}
// Rows become columns: squares of twice the size are put together in each step.
template <class A, int step = 1, int... j>
TI_LANE void transpose(Pack<A>* rows, Lanes<j...> lanes) {
  if constexpr (step < Pack<A>::width) {
    ((j & step ? void() : exchange<step>(rows[j], rows[j | step], lanes)), ...);
    transpose<A, 2 * step>(rows, lanes);
  }
}
template <class A>
TI_LANE void transpose(Pack<A>* rows) {
  transpose(rows, typename LanesUpTo<Pack<A>::width>::type());
}

}  // namespace
}  // namespace torch_infotheory
