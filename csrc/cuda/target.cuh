// target.cuh -- what class weights and label smoothing make of a loss target.
//
// Knows p of a few classes; must not know memory layout, formulas, or tensors. Read next:
// labels.cuh.
#pragma once
#include "core/sources.h"
#include "cuda/device.h"

namespace torch_infotheory {
namespace {

// A loss target's class weights and label smoothing. Only formulas linear in p are given one:
// nothing here states log p.
template <class A>
struct Target {
  const A* weight;
  Smoothing smoothing;
  bool plain, dense;  // nothing to apply; anything besides the peak of a label

  __device__ __forceinline__ explicit Target(const Rows& r)
      : weight(static_cast<const A*>(r.weight)),
        smoothing(r.label_smoothing, r.classes),
        plain(!r.weight && r.label_smoothing == 0),
        dense(r.p.kind != kLabels || r.label_smoothing != 0) {}
  __device__ __forceinline__ A weight_of(int64_t c) const { return weight ? weight[c] : A(1); }
  // p of n classes of a part that begins with class `first` of its row.
  template <int n, class At>
  __device__ __forceinline__ void apply(Prob<A> (&p)[n], int64_t first, const At& at) const {
    if (plain) return;
    const A kept(smoothing.kept), spread(smoothing.spread);
#pragma unroll
    for (int k = 0; k < n; ++k)
      p[k].p = at.has(k) ? weight_of(first + at[k]) * (kept * p[k].p + spread) : A(0);
  }
  // The derivative by what stands in memory, given the one by p.
  template <int n, class At>
  __device__ __forceinline__ void chain(A (&d)[n], int64_t first, const At& at) const {
    if (plain) return;
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (at.has(k)) d[k] *= weight_of(first + at[k]) * A(smoothing.kept);
  }
};

}  // namespace
}  // namespace torch_infotheory
