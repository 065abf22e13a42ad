// kernels_forward.cu -- the reductions of every row formula, compiled and launched.
#include "cuda/gradients.cuh"
#include "cuda/kernels.h"
#include "cuda/rows.cuh"
#include "cuda/sums.cuh"

namespace torch_infotheory {
namespace {

template <class F, int p_kind>
void reduce(const DeviceRows& d, const Plan& plan, device::Stream stream) {
  const Geometry& g = d.geometry;
  with_type(plan, [&](auto a, auto type) {
    using A = typename decltype(a)::type;
    constexpr int t = decltype(type)::value;
    if constexpr (t == kAny)
      device::launch(forward_rows<F, A, kAny, kAny, kAny>, g, stream, d);
    else
      device::launch(forward_rows<F, A, t, p_kind, kLogits>, g, stream, d);
  });
}
template <class F>
void reduce(const DeviceRows& d, const Plan& plan, device::Stream stream) {
  if constexpr (F::linear && F::arity == 2)
    if (d.rows.p.kind == kLabels) return reduce<F, kLabels>(d, plan, stream);
  reduce<F, kLogits>(d, plan, stream);
}
template <class F, Merge what>
void merge(const DeviceRows& d, device::Stream stream) {
  if (d.geometry.parts == 1 || d.rows.elementwise) return;
  device::launch(merge_parts<F, what>, team_geometry(d.rows.rows, kWarp), stream, d);
}

template <class F>
void forward(DeviceRows d, const Plan& plan, device::Stream stream) {
  const Rows& r = d.rows;
  if (r.pointwise()) {
    if (plan.in_double)
      device::launch(write_terms<F, double>, d.geometry, stream, d);
    else
      device::launch(write_terms<F, float>, d.geometry, stream, d);
    return;
  }
  const bool logits = r.p.kind == kLogits || r.q.kind == kLogits;
  if (F::linear) {
    reduce<F>(d, plan, stream);
    merge<F, Merge::kMoments>(d, stream);
  } else {
    if (d.geometry.parts > 1 && logits) {
      reduce<F>(d, plan, stream);
      merge<F, Merge::kMoments>(d, stream);
      d.normalised = true;
    }
    reduce<F>(d, plan, stream);
    if constexpr (!F::linear) merge<F, Merge::kSums>(d, stream);
  }
  if constexpr (F::divergence) {
    if (r.elementwise || r.p.kind == kLabels) return;
    Geometry& g = d.geometry;
    g.shared = 0;
    device::launch(refine_rows<F>, g, stream, d);
    merge<F, Merge::kRefined>(d, stream);
  }
}

template <class... F>
DeviceKernel forward_of(List<F...>, int formula) {
  static constexpr DeviceKernel table[] = {forward<F>...};
  return table[formula];
}

}  // namespace

DeviceKernel row_forward(int formula) { return forward_of(RowFormulas{}, formula); }

void reduce_rows(const DeviceRows& d, int64_t numbers, bool weigh, double factor,
                 BlockTotals* totals, double* weights, device::Stream stream) {
  Geometry g = sum_geometry(numbers);
  device::launch(sum_rows, g, stream, d, numbers, weigh, totals);
  const int64_t blocks = g.grid;
  g.grid = 1;
  device::launch(finish_sum, g, stream, totals, blocks, factor, weigh,
                 const_cast<void*>(d.rows.value.data), d.rows.value.type, weights);
}

}  // namespace torch_infotheory
