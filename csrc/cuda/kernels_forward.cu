// kernels_forward.cu -- compiles and launches the reductions of every row formula.
#include "cuda/backward.cuh"
#include "cuda/forward.cuh"
#include "cuda/kernels.h"
#include "cuda/sum_rows.cuh"

namespace torch_infotheory {
namespace {

template <class F, int p_kind>
void launch_forward(const DeviceRows& d, const Plan& plan, device::Stream stream) {
  const Geometry& g = d.geometry;
  dispatch_type(plan, [&](auto compute, auto memory) {
    using A = typename decltype(compute)::type;
    constexpr int type = decltype(memory)::value;
    if constexpr (type == kDynamic)
      device::launch(forward_rows<F, A, kDynamic, kDynamic, kDynamic>, g, stream, d);
    else
      device::launch(forward_rows<F, A, type, p_kind, kLogits>, g, stream, d);
  });
}
template <class F>
void launch_forward(const DeviceRows& d, const Plan& plan, device::Stream stream) {
  if constexpr (F::linear && F::arity == 2)
    if (d.rows.p.kind == kLabels) return launch_forward<F, kLabels>(d, plan, stream);
  launch_forward<F, kLogits>(d, plan, stream);
}
template <class F, Partials kind>
void launch_merge(const DeviceRows& d, device::Stream stream) {
  if (d.geometry.segments == 1 || d.rows.elementwise) return;
  device::launch(merge_segments<F, kind>, geometry_of_groups(d.rows.rows, kWarp), stream, d);
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
    launch_forward<F>(d, plan, stream);
    launch_merge<F, Partials::kMoments>(d, stream);
  } else {
    if (d.geometry.segments > 1 && logits) {
      launch_forward<F>(d, plan, stream);
      launch_merge<F, Partials::kMoments>(d, stream);
      d.normalized = true;
    }
    launch_forward<F>(d, plan, stream);
    if constexpr (!F::linear) launch_merge<F, Partials::kTermSums>(d, stream);
  }
  if constexpr (F::divergence) {
    if (r.elementwise || r.p.kind == kLabels) return;
    Geometry& g = d.geometry;
    g.shared = 0;
    device::launch(refine_rows<F>, g, stream, d);
    launch_merge<F, Partials::kRefinedSums>(d, stream);
  }
}

template <class... F>
DeviceKernel forward_of(List<F...>, int formula) {
  static constexpr DeviceKernel table[] = {forward<F>...};
  return table[formula];
}

}  // namespace

DeviceKernel row_forward(int formula) { return forward_of(RowFormulas{}, formula); }

void reduce_rows(const DeviceRows& d, int64_t count, bool weighted, double factor,
                 BlockTotals* totals, double* weights, device::Stream stream) {
  Geometry g = sum_geometry(count);
  device::launch(sum_rows, g, stream, d, count, weighted, totals);
  const int64_t blocks = g.grid;
  g.grid = 1;
  device::launch(finalize_sum, g, stream, totals, blocks, factor, weighted,
                 const_cast<void*>(d.rows.value.data), d.rows.value.type, weights);
}

}  // namespace torch_infotheory
