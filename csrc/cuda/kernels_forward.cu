// kernels_forward.cu -- compiles and launches the reductions of every row formula.
#include "cuda/backward.cuh"
#include "cuda/forward.cuh"
#include "cuda/kernels.h"
#include "cuda/merge.cuh"
#include "cuda/sum_rows.cuh"

namespace torch_infotheory {
namespace {

template <class F, int p_kind>
void launch_forward(const F& f, const DeviceRows& d, const Plan& plan, device::Stream stream) {
  const Geometry& g = d.geometry;
  dispatch_type(plan, [&](auto compute, auto memory) {
    using A = typename decltype(compute)::type;
    constexpr int type = decltype(memory)::value;
    if constexpr (type == kDynamic)
      device::launch(forward_rows<F, A, kDynamic, kDynamic, kDynamic>, g, stream, d, f);
    else
      device::launch(forward_rows<F, A, type, p_kind, kLogits>, g, stream, d, f);
  });
}
template <class F>
void launch_forward(const F& f, const DeviceRows& d, const Plan& plan, device::Stream stream) {
  if constexpr (F::linear && F::arity == 2)
    if (d.rows.p.kind == kLabels) return launch_forward<F, kLabels>(f, d, plan, stream);
  launch_forward<F, kLogits>(f, d, plan, stream);
}
template <class F, class Sums>
void launch_merge(const DeviceRows& d, device::Stream stream) {
  if (d.geometry.segments == 1 || d.rows.elementwise) return;
  device::launch(merge_segments<F, Sums>, geometry_of_groups(d.rows.rows, kWarp), stream, d);
}
template <class Sums, class F>
void launch_refinement(const F& f, DeviceRows d, device::Stream stream) {
  d.geometry.shared = 0;
  device::launch(refine_rows<F, Sums>, d.geometry, stream, d, f);
  launch_merge<F, Sums>(d, stream);
}

template <class F>
void forward(DeviceRows d, const Plan& plan, device::Stream stream) {
  const Rows& r = d.rows;
  const F f = formula<F>(r.parameter);
  if constexpr (has_terms<F>)
    if (r.pointwise()) {
      if (plan.in_double)
        device::launch(write_terms<F, double>, d.geometry, stream, d, f);
      else
        device::launch(write_terms<F, float>, d.geometry, stream, d, f);
      return;
    }
  const bool logits = r.p.kind == kLogits || r.q.kind == kLogits;
  if constexpr (states_near<F>) d.has_near = !plan.in_double && has_near(f, r);
  if (F::linear) {
    launch_forward(f, d, plan, stream);
    launch_merge<F, ThreadMoments<double>>(d, stream);
  } else {
    if (d.geometry.segments > 1 && logits) {
      launch_forward(f, d, plan, stream);
      launch_merge<F, ThreadMoments<double>>(d, stream);
      d.normalized = true;
    }
    launch_forward(f, d, plan, stream);
    if constexpr (!F::linear) launch_merge<F, SumsOfTerms<F, double>>(d, stream);
  }
  if constexpr (F::divergence) {
    if (r.elementwise || r.p.kind == kLabels) return;
    if constexpr (states_near<F>)
      if (d.has_near) launch_refinement<NearSums>(f, d, stream);
    // The totals of logits always agree.
    if (d.has_near && r.p.kind == kLogits && r.q.kind == kLogits) return;
    launch_refinement<CenteredSums>(f, d, stream);
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
