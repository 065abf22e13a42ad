// merge.cuh -- the kernel that merges the partial results of a row, in the order of its segments.
#pragma once
#include "cuda/refine.cuh"

namespace torch_infotheory {
namespace {

// Adds the segments of a row that fall to this thread.
template <class S>
__device__ __forceinline__ void merge_partials(const DeviceRows& d, const ThreadGroup& group,
                                               int64_t row, bool active, S& sums) {
  const PartOfRow* const partials = d.partials + row * d.geometry.segments;
  for (int64_t i = group.rank; active && i < d.geometry.segments; i += group.size)
    sums.merge(S(partials[i]));
}

// A warp for each row. `Sums` is what the segments hold: ThreadMoments, SumsOfTerms, or sums of
// refine.cuh.
template <class F, class Sums>
__global__ void __launch_bounds__(kMinThreads, 4)
    merge_segments(const __grid_constant__ DeviceRows d) {
  constexpr bool refined = requires { Sums::how; };
  const ThreadGroup group(kWarp);
  const Rows& r = d.rows;
  group.for_each(r.rows, [&](int64_t row, bool active) {
    if constexpr (refined) active = active && d.refinement[row] == Sums::how;
    const bool is_leader = active && group.rank == 0;
    if constexpr (std::is_same_v<Sums, ThreadMoments<double>>) {
      Sums m(r.p.kind == kLogits, r.q.kind == kLogits);
      const PartOfRow* const partials = d.partials + row * d.geometry.segments;
      for (int64_t i = group.rank; active && i < d.geometry.segments; i += group.size)
        m.template merge<F>(Sums(partials[i]));
      all_reduce<F, F::linear, true>(group, m);
      if (!is_leader) return;
      if constexpr (F::linear) {
        finalize_row<F>(d, row, offsets_of(d, row), outcome_of<F>(r, m));
      } else {
        save_normalizers<F>(r, row, outcome_of<F>(r, m));
      }
    } else {
      Sums sums;
      merge_partials(d, group, row, active, sums);
      all_reduce(group, sums);
      if (!is_leader) return;
      if constexpr (refined) {
        finalize_refined<F>(d, row, sums);
      } else {
        Outcome<double> out = {};
        if (d.normalized) load_normalizers<F>(r, row, out);
        set_sums<F>(out, r, sums);
        finalize_row<F>(d, row, offsets_of(d, row), out);
      }
    }
  });
}

}  // namespace
}  // namespace torch_infotheory
