// target.cuh -- class weights and label smoothing of a loss target.
#pragma once
#include "core/sources.h"
#include "cuda/device.h"

namespace torch_infotheory {
namespace {

template <class A>
struct Target : TargetOptions<A> {
  using TargetOptions<A>::weight, TargetOptions<A>::smoothing;
  bool is_plain;
  A kept, spread;
  __device__ __forceinline__ explicit Target(const Rows& r)
      : TargetOptions<A>(r),
        is_plain(device::computed_once(TargetOptions<A>::is_plain)),
        kept(device::computed_once(A(smoothing.kept))),
        spread(device::computed_once(A(smoothing.spread))) {}

  __device__ __forceinline__ A class_weight(int64_t c) const { return weight ? weight[c] : A(1); }
  // Weighted and smoothed p of n classes, 0 where there is no class.
  template <int n, class Classes>
  __device__ __forceinline__ void mask_and_weight(Prob<A> (&p)[n], int64_t first_class,
                                                  const Classes& classes) const {
    if (is_plain) return;
#pragma unroll
    for (int k = 0; k < n; ++k)
      p[k].p =
          classes.has(k) ? class_weight(first_class + classes[k]) * (kept * p[k].p + spread) : A(0);
  }
  // From the derivative by the weighted p to the one by p in memory.
  template <int n, class Classes>
  __device__ __forceinline__ void vjp(A (&gradient)[n], int64_t first_class,
                                      const Classes& classes) const {
    if (is_plain) return;
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (classes.has(k)) gradient[k] *= class_weight(first_class + classes[k]) * kept;
  }
};

}  // namespace
}  // namespace torch_infotheory
