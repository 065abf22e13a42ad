// refine.cuh -- the kernel that computes divergences near 0 again, to the last digit.
//
// What a row sums is a type: CenteredSums in double, by the centered term; NearSums in float, from
// exact differences.
#pragma once
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// One class of both rows, as read and as probabilities; the log-normalizers of the rows differ by
// shift_high + shift_low.
template <class A>
struct RefinedClass {
  A x, y;
  Prob<A> p, q;
  A shift_high, shift_low;
  Kind kind;  // of p
};

struct CenteredSums : TermSums<double> {
  using Number = double;
  static constexpr DeviceRows::Refinement how = DeviceRows::kInDouble;
  double centered = 0;
  CenteredSums() = default;
  __device__ __forceinline__ explicit CenteredSums(const PartOfRow& x)
      : TermSums<double>(x), centered(x.high_p) {}
  __device__ __forceinline__ PartOfRow part() const {
    return {centered, 0, p, q, value, d_lp, d_lq};
  }
  __device__ __forceinline__ void merge(const CenteredSums& x) {
    TermSums<double>::merge(x);
    centered += x.centered;
  }
  template <class F>
  __device__ __forceinline__ void add(const F& f, const RefinedClass<double>& c) {
    if constexpr (is_log_sum<F>) {
      p += c.p.p;
      q += c.q.p;
      value += accurate_exp(f.exponent(c.p, c.q));  // near 1 in all
    } else {
      TermSums<double>::template add<true>(f, c.p, c.q);
    }
    centered += f.centered(c.p, c.q);
  }
};
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, CenteredSums& s) {
  all_reduce(group, static_cast<TermSums<double>&>(s));
  double centered[] = {s.centered};
  all_reduce<1>(group, centered, Sum());
  s.centered = centered[0];
}
// Replaces the value and the totals of a row; its normalizers stay.
template <class F>
__device__ __forceinline__ void finalize_refined(const DeviceRows& d, int64_t row,
                                                 const CenteredSums& s) {
  const Rows& r = d.rows;
  Outcome<double> out = {};
  if constexpr (is_log_sum<F>)
    set_sums<F>(out, r, ExponentSums<double>({0, 0, s.p, s.q, s.value, 0, 0}));
  else
    set_sums<F>(out, r, s);
  if (totals_agree(r, out.p_sum, out.q_sum, 0)) {
    const F f = formula<F>(r.parameter);
    out.value = value_of_centered(f, s.centered, out.p_sum);
    if constexpr (states_totals<F>) {
      const Totals<double> totals = totals_of_centered(f, out.value, out.p_sum, out.q_sum);
      out.d_lp = totals.d_lp, out.d_lq = totals.d_lq;
    }
  }
  r.saved_of(0, kTotal)[row] = out.d_lp;
  r.saved_of(1, kTotal)[row] = out.d_lq;
  store_value(d, row, offsets_of(d, row), out.value);
}

// A thread may add thousands of classes one by one.
struct CompensatedSum {
  float sum = 0, error = 0;
  __device__ __forceinline__ void add(float x) {
    const float next = sum + x;
    error += error_of_sum(sum, x, next);
    sum = next;
  }
  __device__ __forceinline__ float total() const { return sum + error; }
};
struct NearSums {
  using Number = float;
  static constexpr DeviceRows::Refinement how = DeviceRows::kFromDifferences;
  CompensatedSum difference, value;  // of p - q, of the terms
  NearSums() = default;
  __device__ __forceinline__ explicit NearSums(const PartOfRow& x)
      : difference{float(x.q)}, value{float(x.value)} {}
  __device__ __forceinline__ PartOfRow part() const {
    return {0, 0, 0, difference.sum, value.sum, 0, 0};
  }
  __device__ __forceinline__ void merge(const NearSums& x) {
    difference.add(x.difference.sum);
    value.add(x.value.sum);
  }
  template <class F>
  __device__ __forceinline__ void add(const F& f, const RefinedClass<float>& c) {
    const Near<float> x = c.kind == kProbs
                              ? near_of_probabilities(c.x, c.y)
                              : near_of_logarithms(c.x, c.y, c.p.p, c.shift_high, c.shift_low);
    const bool near = fabs(x.log_ratio) <= float(kNear);
    difference.add(near ? x.difference : c.p.p - c.q.p);
    value.add(near ? f.near(x) : f.centered(c.p, c.q));
  }
};
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, NearSums& s) {
  float sums[] = {s.difference.total(), s.value.total()};
  all_reduce<2>(group, sums, Sum());
  s.difference = {sums[0]}, s.value = {sums[1]};
}
template <class F>
__device__ __forceinline__ void finalize_refined(const DeviceRows& d, int64_t row,
                                                 const NearSums& s) {
  const Rows& r = d.rows;
  const double p_sum = is_log_sum<F> && r.p.kind != kLogits ? exp(r.saved_at(0, kLogSum, row)) : 1;
  const F f = formula<F>(r.parameter);
  const double value = near_value(f, r, s.value.sum, s.difference.sum, p_sum);
  // Only derivatives by logits need their totals. That by q of a linear formula does not depend on
  // the value.
  if constexpr (states_totals<F>) {
    const bool normalized = r.p.kind == kLogits && r.q.kind == kLogits;
    const double q_sum = normalized ? p_sum : p_sum - s.difference.sum;
    const Totals<double> totals = totals_of_centered(f, value, p_sum, q_sum);
    if (r.p.kind == kLogits) r.saved_of(0, kTotal)[row] = totals.d_lp;
    if (!F::linear && r.q.kind == kLogits) r.saved_of(1, kTotal)[row] = totals.d_lq;
  }
  store_value(d, row, offsets_of(d, row), value);
}

// The normalizers of the first reading are accurate enough: an error of z shifts all log p alike,
// and the value depends on its square. A row that is not near 0 costs one load of its flag.
template <class F, class Sums>
__global__ void __launch_bounds__(kMaxThreads, sizeof(typename Sums::Number) == 8 ? 1 : 2)
    refine_rows(const __grid_constant__ DeviceRows d, const __grid_constant__ F f) {
  using A = typename Sums::Number;
  using Reader = SegmentReader<A, kDynamic, kDynamic, kDynamic, true>;
  constexpr int n = Reader::n;
  const ThreadGroup group(d.geometry.group_size);
  const Rows& r = d.rows;
  group.for_each(r.rows * d.geometry.segments, [&](int64_t task, bool active) {
    Segment segment = segment_of(d, task, active);
    const bool refine = active && d.refinement[segment.row] == Sums::how;
    if (!refine) segment.classes = 0;
    Reader reader(d.rows.p, d.rows.q, segment);
    Outcome<double> z = {};
    if (refine) load_normalizers<F>(r, segment.row, z);
    reader.p.set_normalizer(z.high_p, z.log_p);
    reader.q.set_normalizer(z.high_q, z.log_q);
    const double shift = (z.high_p - z.high_q) + (z.log_p - z.log_q);
    const A shift_high = A(shift), shift_low = device::computed_once(A(shift - double(shift_high)));
    Sums sums;
    for_each_pack<Caching::kNone, 1>(group, reader, [&](const auto&, const auto& x, const auto& y) {
      Prob<A> p[n], q[n];
      reader.p.probabilities(x, p);
      reader.q.probabilities(y, q);
#pragma unroll
      for (int k = 0; k < n; ++k)
        sums.add(f, RefinedClass<A>{x[k], y[k], p[k], q[k], shift_high, shift_low, r.p.kind});
    });
    all_reduce(group, sums);
    if (!refine || group.rank > 0) return;
    if (d.geometry.segments > 1)
      d.partials[task] = sums.part();
    else
      finalize_refined<F>(d, segment.row, sums);
  });
}

}  // namespace
}  // namespace torch_infotheory
