// labels.cuh -- the class index that states a row of p: a peak, read and written alone.
//
// Knows sources; must not know any formula by name, or tensors. Read next: rows.cuh.
#pragma once
#include "cuda/reduce.cuh"

namespace torch_infotheory {
namespace {

struct Label {
  int64_t label = -1;
  bool given = false, bad = false;
  bool counts = true;  // the row has a value, and the label, if given, may be used as an index

  __device__ __forceinline__ Label(const Rows& r, const Offsets& at, bool there) {
    if (r.p.kind != kLabels || !there) return;
    given = true;
    label = label_at(r.p, at.of[DeviceRows::kP]);
    const ClassIndex<int64_t> index(label, r.classes, r.ignore_index);
    counts = index.counts;
    bad = index.bad;
  }
  __device__ __forceinline__ bool has_peak() const { return given && counts; }
};

__device__ __forceinline__ double weight_of_class(const DeviceRows& d, int64_t c) {
  return d.rows.weight ? load_one<double>(d.rows.weight, d.compute_type, c) : 1;
}
// q at the label.
__device__ __forceinline__ Prob<double> q_at(const Rows& r, const Offsets& at, int64_t label,
                                             const Outcome<double>& out) {
  const double x =
      load_one<double>(r.q.data, r.q.type, at.of[DeviceRows::kQ] + label * r.q.class_stride);
  const double log_q = r.q.kind == kLogits ? (x - out.high_q) - out.log_q : x;
  return {exp(log_q), log_q};
}

__device__ __forceinline__ void store_value(const DeviceRows& d, int64_t row, const Offsets& at,
                                            double value) {
  const Rows& r = d.rows;
  if (r.row_values)
    r.row_values[row] = value;
  else
    store_one(const_cast<void*>(r.value.data), r.value.type, at.of[DeviceRows::kValue],
              value * r.scale);
}

__device__ __forceinline__ void save_normalizers(const Rows& r, int64_t row,
                                                 const Outcome<double>& out) {
  r.saved_of(0, kHigh)[row] = out.high_p, r.saved_of(0, kLogSum)[row] = out.log_p;
  r.saved_of(1, kHigh)[row] = out.high_q, r.saved_of(1, kLogSum)[row] = out.log_q;
}
__device__ __forceinline__ void load_normalizers(const Rows& r, int64_t row, Outcome<double>& out) {
  out.high_p = r.saved_of(0, kHigh)[row], out.log_p = r.saved_of(0, kLogSum)[row];
  out.high_q = r.saved_of(1, kHigh)[row], out.log_q = r.saved_of(1, kLogSum)[row];
}

// Writes what a row came to. One thread of its team calls this.
template <class F>
__device__ __forceinline__ void finish(const DeviceRows& d, int64_t row, const Offsets& at,
                                       Outcome<double> out) {
  const Rows& r = d.rows;
  const Label label(r, at, true);
  if (label.has_peak()) {
    const double kept = Smoothing(r.label_smoothing, r.classes).kept;
    const Prob<double> p{weight_of_class(d, label.label) * kept, 0},
        q = q_at(r, at, label.label, out);
    out.value += F::term(p, q);
    out.d_lq += F::d_lq(p, q);
  }
  device::device_check(!label.bad);
  if (!label.counts) out = {};
  const double saved[] = {out.high_p, out.log_p, out.d_lp, out.high_q, out.log_q, out.d_lq};
#pragma unroll
  for (int i = 0; r.saved && i < kSavedNumbers * F::arity; ++i)
    r.saved[i * r.rows + row] = saved[i];
  if constexpr (F::divergence) {
    const double p = out.mass_p, q = out.mass_q;
    const bool small = out.value < (d.compute_type == kDouble ? kSmall<double> : kSmall<float>) &&
                       totals_agree(r, p, q, kRoundingOfSums);
    if (F::linear && !small && totals_agree(r, p, q, 0)) out.value += q - p;
    d.small[row] = small;
  }
  store_value(d, row, at, out.value);
}

}  // namespace
}  // namespace torch_infotheory
