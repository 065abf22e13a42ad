// forward.cuh -- the kernel that reduces rows to the values of a formula.
//
// A thread group reduces a row, or a segment of a long one, which merge.cuh merges. A linear
// formula reads memory once. For other formulas the row stays in shared memory, as far as it fits.
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
template <class A>
__device__ __forceinline__ void store_partial(const DeviceRows& d, int64_t task,
                                              const ExponentSums<A>& s) {
  d.partials[task] = {0, 0, s.p, s.q, s.value, s.high, 0};
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
    forward_rows(const __grid_constant__ DeviceRows d, const __grid_constant__ F f) {
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
      SumsOfTerms<F, A> sums;
      for_each_pack<second, 1>(group, reader, [&](const auto&, const auto& x, const auto& y) {
        add_terms<is_dynamic>(f, sums, reader, x, y);
      });
      all_reduce(group, sums);
      if (!active || group.rank > 0) return;
      set_sums<F>(out, d.rows, sums);
      store_result<F>(d, task, segment, sums, out);
    }
  });
}

}  // namespace
}  // namespace torch_infotheory
