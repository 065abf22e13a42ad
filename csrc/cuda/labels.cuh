// labels.cuh -- the label of a row, whose class is read and written apart from the others.
#pragma once
#include "cuda/reduce.cuh"

namespace torch_infotheory {
namespace {

struct Label {
  int64_t index = -1;  // the class
  bool given = false, out_of_range = false;
  bool counts = true;  // the row has a value, and `index`, if given, may be used as an index

  __device__ __forceinline__ Label(const Rows& r, const RowOffsets& offsets, bool active) {
    if (r.p.kind != kLabels || !active) return;
    given = true;
    index = label_at(r.p, offsets.by_operand[DeviceRows::kP]);
    const ClassIndex<int64_t> checked(index, r.classes, r.ignore_index);
    counts = checked.counts;
    out_of_range = checked.bad;
  }
  __device__ __forceinline__ bool has_term() const { return given && counts; }
};

__device__ __forceinline__ double class_weight(const DeviceRows& d, int64_t c) {
  return d.rows.weight ? load_element<double>(d.rows.weight, d.compute_type, c) : 1;
}
__device__ __forceinline__ Prob<double> q_at_label(const Rows& r, const RowOffsets& offsets,
                                                   int64_t label, const Outcome<double>& out) {
  const int64_t place = offsets.by_operand[DeviceRows::kQ] + label * r.q.class_stride;
  const double x = tempered(load_element<double>(r.q.data, r.q.type, place), r.q);
  const double log_q = r.q.kind == kLogits ? (x - out.high_q) - out.log_q : x;
  return {exp(log_q), log_q};
}

__device__ __forceinline__ void store_value(const DeviceRows& d, int64_t row,
                                            const RowOffsets& offsets, double value) {
  const Rows& r = d.rows;
  if (r.row_values)
    r.row_values[row] = value;
  else
    store_element(const_cast<void*>(r.value.data), r.value.type,
                  offsets.by_operand[DeviceRows::kValue], value * r.scale);
}

template <class F>
__device__ __forceinline__ void save_normalizers(const Rows& r, int64_t row,
                                                 const Outcome<double>& out) {
  r.saved_of(0, kHigh)[row] = out.high_p, r.saved_of(0, kLogSum)[row] = out.log_p;
  if constexpr (F::arity == 2)
    r.saved_of(1, kHigh)[row] = out.high_q, r.saved_of(1, kLogSum)[row] = out.log_q;
}
template <class F>
__device__ __forceinline__ void load_normalizers(const Rows& r, int64_t row, Outcome<double>& out) {
  out.high_p = r.saved_of(0, kHigh)[row], out.log_p = r.saved_of(0, kLogSum)[row];
  if constexpr (F::arity == 2)
    out.high_q = r.saved_of(1, kHigh)[row], out.log_q = r.saved_of(1, kLogSum)[row];
}

// Adds the term of the label and stores the value and what backward needs. Called by one thread for
// each row.
template <class F>
__device__ __forceinline__ void finalize_row(const DeviceRows& d, int64_t row,
                                             const RowOffsets& offsets, Outcome<double> out) {
  const Rows& r = d.rows;
  const Label label(r, offsets, true);
  if constexpr (F::linear && F::arity == 2)
    if (label.has_term()) {
      const double kept = Smoothing(r.label_smoothing, r.classes).kept;
      const Prob<double> p{class_weight(d, label.index) * kept, 0},
          q = q_at_label(r, offsets, label.index, out);
      out.value += F::term(p, q);
      out.d_lq += F::d_lq(p, q);
    }
  device::device_check(!label.out_of_range);
  if (!label.counts) out = {};
  const double saved[] = {out.high_p, out.log_p, out.d_lp, out.high_q, out.log_q, out.d_lq};
#pragma unroll
  for (int i = 0; r.saved && i < kSavedNumbers * F::arity; ++i)
    r.saved[i * r.rows + row] = saved[i];
  if constexpr (F::divergence) {
    const double p = out.p_sum, q = out.q_sum;
    if (totals_agree(r, p, q, 0)) out.value += correction(formula<F>(r.parameter), p, q);
    const double small =
        d.compute_type == kDouble ? small_value<F, double>() : small_value<F, float>();
    // Totals that differ by nearly their rounding are left to double.
    const bool near = d.has_near && totals_agree(r, p, q, 0, 0.5);
    d.refinement[row] = !(out.value < small) || !totals_agree(r, p, q, kRoundingOfSums)
                            ? DeviceRows::kNotRefined
                        : near ? DeviceRows::kFromDifferences
                               : DeviceRows::kInDouble;
  }
  store_value(d, row, offsets, out.value);
}

}  // namespace
}  // namespace torch_infotheory
