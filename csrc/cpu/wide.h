// wide.h -- the lanes of a pack in double, for the sums of a row.
//
// Knows packs; must not know rows, formulas, or torch.
#pragma once
#include "cpu/elementary.h"

namespace torch_infotheory {
namespace {

// The lanes of a Pack<A>, each a double: one pack of double, or two.
template <class A>
struct Wide {
  static constexpr int width = Pack<A>::width, step = Pack<double>::width, parts = width / step;
  Pack<double> part[parts];

  TI_LANE explicit Wide(double x) {
    for (auto& p : part) p = Pack<double>(x);
  }
  TI_LANE explicit Wide(Pack<A> x) {
    A lanes[width];
    store(lanes, x);
    load_lanes(lanes);
  }
  TI_LANE explicit Wide(const double* lanes) { load_lanes(lanes); }
  template <class T>
  TI_LANE void load_lanes(const T* lanes) {
    for (int i = 0; i < parts; ++i) part[i] = load<double>(lanes + i * step);
  }
  template <class T>
  TI_LANE void store_lanes(T* lanes) const {
    for (int i = 0; i < parts; ++i) store(lanes + i * step, part[i]);
  }
  TI_LANE Pack<A> narrowed() const {
#if TI_PACK_BYTES == 64  // as for load
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
// f on the packs of double, one after the other.
template <class F, class A, class... Rest>
TI_LANE Wide<A> map(F f, const Wide<A>& first, const Rest&... rest) {
  Wide<A> out(0.);
  for (int i = 0; i < Wide<A>::parts; ++i) out.part[i] = f(first.part[i], rest.part[i]...);
  return out;
}

}  // namespace
}  // namespace torch_infotheory
