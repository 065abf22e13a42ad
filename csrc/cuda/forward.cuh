// forward.cuh -- the kernels that reduce rows to the values of a formula.
//
// forward_rows     a thread group reduces a row, or a segment of a long one
// merge_segments   merges the partial results of a row, in the order of its segments
// refine_rows      computes divergences near 0 again, in double and by the centered term
//
// A linear formula reads memory once. For other formulas the row stays in shared memory, as far as
// it fits.
#pragma once
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// Blocks that have to fit on a multiprocessor: as many as the registers allow without spilling.
template <class F, class A, int type, int p_kind>
constexpr int kMinBlocks = sizeof(A) == sizeof(double)          ? 1
                           : type == kDynamic || !F::linear     ? 2
                           : F::arity == 2 && p_kind != kLabels ? 3
                                                                : 4;

template <class A>
__device__ __forceinline__ void store_partial(const DeviceRows& d, int64_t task,
                                              const Moments<A>& m) {
  d.partials[task] = {m.high_p, m.high_q, m.p, m.q, m.value, 0, 0};
}
template <class A>
__device__ __forceinline__ void store_partial(const DeviceRows& d, int64_t task,
                                              const TermSums<A>& s) {
  d.partials[task] = {0, 0, s.p, s.q, s.value, s.d_lp, s.d_lq};
}

// A row of several segments is left to merge_segments.
template <class F, class S>
__device__ __forceinline__ void store_result(const DeviceRows& d, int64_t task,
                                             const Segment& segment, const S& sums,
                                             const Outcome<double>& out) {
  if (d.rows.elementwise)
    d.rows.row_values[task] = out.value;
  else if (d.geometry.segments > 1)
    store_partial(d, task, sums);
  else
    finalize_row<F>(d, segment.row, segment.offsets, out);
}

// Finds the log-normalizers of a row in every thread of its group. Returns false if the row has
// several segments whose sums merge_segments has to merge first.
template <class F, Caching caching, int unroll, class Reader>
__device__ __forceinline__ bool find_normalizers(const DeviceRows& d, const ThreadGroup& group,
                                                 int64_t task, bool active, const Segment& segment,
                                                 Reader& reader, Outcome<double>& out) {
  const bool p_logits = reader.p.is_logits(), q_logits = F::arity == 2 && reader.q.is_logits();
  if (!p_logits && !q_logits) return true;
  if (d.normalized) {
    if (active) load_normalizers<F>(d.rows, segment.row, out);
  } else {
    ThreadMoments<typename Reader::Number> m(p_logits, q_logits);
    for_each_pack<caching, unroll>(group, reader, [&](const auto&, const auto& x, const auto& y) {
      if (p_logits) add_exp(m.high_p, m.p, x);
      if (q_logits) add_exp(m.high_q, m.q, y);
    });
    all_reduce<F, false, true>(group, m);
    if (d.geometry.segments > 1) {
      if (active && group.rank == 0) store_partial(d, task, m);
      return false;
    }
    out = outcome_of<F>(d.rows, m);
  }
  reader.p.set_normalizer(out.high_p, out.log_p);
  if constexpr (F::arity == 2) reader.q.set_normalizer(out.high_q, out.log_q);
  return true;
}

template <class F, class A, int type, int p_kind, int q_kind>
__global__ void __launch_bounds__(kMaxThreads, kMinBlocks<F, A, type, p_kind>)
    forward_rows(const __grid_constant__ DeviceRows d) {
  using Reader = SegmentReader<A, type, p_kind, q_kind, F::arity == 2>;
  constexpr bool is_dynamic = type == kDynamic, p_is_read = p_kind != kLabels;
  constexpr int unroll = F::arity == 2 && p_is_read ? 1 : 2;  // 32 bytes in flight for each thread
  TI_DYNAMIC_SHARED(shared);
  const ThreadGroup group(d.geometry.group_size);
  const Target<A> target(d.rows);
  group.for_each(d.rows.rows * d.geometry.segments, [&](int64_t task, bool active) {
    Segment segment = segment_of(d, task, active);
    if (!Label(d.rows, segment.offsets, active).counts || d.rows.gathers()) segment.classes = 0;
    Reader reader(d.rows.p, d.rows.q, segment);
    if constexpr (F::linear) {
      ThreadMoments<A> m(reader.p.is_logits(), F::arity == 2 && reader.q.is_logits());
      if (p_is_read && (!is_dynamic || target.is_dense))
        for_each_pack<Caching::kNone, unroll>(
            group, reader, [&](const auto& classes, const auto& x, const auto& y) {
              add_moments<F>(m, reader, target, segment.first_class, classes, x, y);
            });
      else
        for_each_pack<Caching::kNone, unroll>(group, reader,
                                              [&](const auto&, const auto&, const auto& y) {
                                                if (reader.q.is_logits()) add_exp(m.high_q, m.q, y);
                                              });
      all_reduce<F, p_is_read, p_is_read>(group, m);
      if (active && group.rank == 0) store_result<F>(d, task, segment, m, outcome_of<F>(d.rows, m));
    } else {
      constexpr Caching first = is_dynamic ? Caching::kNone : Caching::kFill,
                        second = is_dynamic ? Caching::kNone : Caching::kRead;
      if (!is_dynamic) reader.set_cache(shared, group, d.geometry.cached_packs);
      Outcome<double> out = {};
      if (!find_normalizers<F, first, unroll>(d, group, task, active, segment, reader, out)) return;
      TermSums<A> sums;
      const F f = formula<F>(d.rows.parameter);
      for_each_pack<second, 1>(group, reader, [&](const auto&, const auto& x, const auto& y) {
        add_terms<is_dynamic>(f, sums, reader, x, y);
      });
      all_reduce(group, sums);
      if (!active || group.rank > 0) return;
      set_sums(out, d.rows, sums);
      store_result<F>(d, task, segment, sums, out);
    }
  });
}

// The sums of a row in double, for a divergence near 0.
struct RefinedSums : TermSums<double> {
  double centered = 0;
  RefinedSums() = default;
  __device__ __forceinline__ explicit RefinedSums(const PartOfRow& x)
      : TermSums<double>(x), centered(x.high_p) {}
  __device__ __forceinline__ void merge(const RefinedSums& x) {
    TermSums<double>::merge(x);
    centered += x.centered;
  }
};
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, RefinedSums& s) {
  all_reduce(group, static_cast<TermSums<double>&>(s));
  double centered[] = {s.centered};
  all_reduce<1>(group, centered, Sum());
  s.centered = centered[0];
}
// Replaces the value and the totals of a row; its normalizers stay.
template <class F>
__device__ __forceinline__ void finalize_refined(const DeviceRows& d, int64_t row,
                                                 const RefinedSums& s) {
  const Rows& r = d.rows;
  Outcome<double> out = {};
  set_sums(out, r, s);
  if constexpr (F::linear) {
    out.d_lp = out.value + out.p_sum * F::score(1., 0.);
    out.d_lq = out.p_sum * F::score(0., 1.);
  }
  if (totals_agree(r, out.p_sum, out.q_sum, 0)) out.value = s.centered;
  r.saved_of(0, kTotal)[row] = out.d_lp;
  r.saved_of(1, kTotal)[row] = out.d_lq;
  store_value(d, row, offsets_of(d, row), out.value);
}

// The normalizers of the first reading are accurate enough: an error of z shifts all log p alike,
// and the centered sum depends on its square. A row that is not near 0 costs one load of its flag.
template <class F>
__global__ void __launch_bounds__(kMaxThreads, 1)
    refine_rows(const __grid_constant__ DeviceRows d) {
  using Reader = SegmentReader<double, kDynamic, kDynamic, kDynamic, true>;
  constexpr int n = Reader::n;
  const ThreadGroup group(d.geometry.group_size);
  const Rows& r = d.rows;
  const F f = formula<F>(r.parameter);
  group.for_each(r.rows * d.geometry.segments, [&](int64_t task, bool active) {
    Segment segment = segment_of(d, task, active);
    const bool refine = active && d.needs_refinement[segment.row];
    if (!refine) segment.classes = 0;
    Reader reader(d.rows.p, d.rows.q, segment);
    Outcome<double> z = {};
    if (refine) load_normalizers<F>(r, segment.row, z);
    reader.p.set_normalizer(z.high_p, z.log_p);
    reader.q.set_normalizer(z.high_q, z.log_q);
    RefinedSums sums;
    for_each_pack<Caching::kNone, 1>(group, reader, [&](const auto&, const auto& x, const auto& y) {
      Prob<double> a[n], b[n];
      reader.p.probabilities(x, a);
      reader.q.probabilities(y, b);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        sums.template add<true>(f, a[k], b[k]);
        sums.centered += f.centered(a[k], b[k]);
      }
    });
    all_reduce(group, sums);
    if (!refine || group.rank > 0) return;
    if (d.geometry.segments > 1)
      d.partials[task] = {sums.centered, 0, sums.p, sums.q, sums.value, sums.d_lp, sums.d_lq};
    else
      finalize_refined<F>(d, segment.row, sums);
  });
}

// Adds the segments of a row that fall to this thread.
template <class S>
__device__ __forceinline__ void merge_partials(const DeviceRows& d, const ThreadGroup& group,
                                               int64_t row, bool active, S& sums) {
  const PartOfRow* const partials = d.partials + row * d.geometry.segments;
  for (int64_t i = group.rank; active && i < d.geometry.segments; i += group.size)
    sums.merge(S(partials[i]));
}
enum class Partials { kMoments, kTermSums, kRefinedSums };

// A warp for each row.
template <class F, Partials kind>
__global__ void __launch_bounds__(kMinThreads, 4)
    merge_segments(const __grid_constant__ DeviceRows d) {
  const ThreadGroup group(kWarp);
  const Rows& r = d.rows;
  group.for_each(r.rows, [&](int64_t row, bool active) {
    const bool is_leader = active && group.rank == 0;
    if constexpr (kind == Partials::kMoments) {
      ThreadMoments<double> m(r.p.kind == kLogits, r.q.kind == kLogits);
      const PartOfRow* const partials = d.partials + row * d.geometry.segments;
      for (int64_t i = group.rank; active && i < d.geometry.segments; i += group.size)
        m.template merge<F>(ThreadMoments<double>(partials[i]));
      all_reduce<F, F::linear, true>(group, m);
      if (!is_leader) return;
      if constexpr (F::linear) {
        finalize_row<F>(d, row, offsets_of(d, row), outcome_of<F>(r, m));
      } else {
        save_normalizers<F>(r, row, outcome_of<F>(r, m));
      }
    } else if constexpr (kind == Partials::kTermSums) {
      TermSums<double> sums;
      merge_partials(d, group, row, active, sums);
      all_reduce(group, sums);
      if (!is_leader) return;
      Outcome<double> out = {};
      if (d.normalized) load_normalizers<F>(r, row, out);
      set_sums(out, r, sums);
      finalize_row<F>(d, row, offsets_of(d, row), out);
    } else {
      RefinedSums sums;
      active &= active && d.needs_refinement[row];
      merge_partials(d, group, row, active, sums);
      all_reduce(group, sums);
      if (active && group.rank == 0) finalize_refined<F>(d, row, sums);
    }
  });
}

}  // namespace
}  // namespace torch_infotheory
