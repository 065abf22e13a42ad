// refine.h -- divergences that came out small are computed again, to the last digit.
#pragma once
#include "cpu/rows/reduce.h"

namespace torch_infotheory {
namespace {

// Calls visit(first, last) for the groups of a range that have a row in `small`, moved to their
// rows.
template <class R, class Visit>
void each_group_with(const bool* small, const RowRange& range, R& rows, Visit visit) {
  using A = typename R::Lane;
  RowGroup& group = rows.rows.group;
  for (int64_t first = 0; first < range.n; first += group.rows) {
    group.template resize<A>(range.n - first);
    bool any_of_group = false;
    for (int64_t j = first; j < first + group.rows; ++j) any_of_group |= small[j];
    if (!any_of_group) continue;
    rows.move_to(range, first);
    visit(first, first + group.rows);
  }
}
// Refines the small rows of a range whose differences are exact; returns whether others are left.
template <class F, class A>
bool refine_near(const F& f, const Rows& r, const RowRange& range, OutcomesOfRange& out,
                 bool* small) {
  double value[OutcomesOfRange::most], difference[OutcomesOfRange::most];
  bool near[RowRange::most], any_near = false, any_left = false;
  for (int64_t j = 0; j < range.n; ++j) {
    // Totals that differ by nearly their rounding are left to double.
    near[j] = small[j] && totals_agree(r, out.p_sum[j], out.q_sum[j], 0, 0.5);
    any_near |= near[j], any_left |= small[j] && !near[j];
  }
  if (!any_near) return any_left;
  Panel<A> p, q;
  Reduction<F, A> rows(r, &f, RowGroup::prefers_rows(r), p.data, q.data, &out);
  each_group_with(near, range, rows, [&](int64_t first, int64_t last) {
    rows.reduce_near(value, difference);
    for (int64_t j = first; j < last; ++j) {
      if (!near[j]) continue;
      out.set_centered(f, j, near_value(f, r, value[j], difference[j], out.p_sum[j]));
      small[j] = false;
    }
  });
  return any_left;
}
// A row group in double, by the centered term where the totals agree.
template <class F>
void reduce_small(Reduction<F, double>& group) {
  OutcomesOfRange& out = group.out;
  const int64_t at = group.at, n = group.rows.group.rows;
  reduce(&group, 1);
  group.finalize(at, n);
  double centered[OutcomesOfRange::most];
  group.reduce_centered(centered);
  for (int64_t j = at; j < at + n; ++j)
    if (totals_agree(group.rows.r, out.p_sum[j], out.q_sum[j], 0))
      out.set_centered(group.f, j, value_of_centered(group.f, centered[j], out.p_sum[j]));
}
// Makes the values of divergences those of the centered term, sum - p + q, and computes those that
// are small again: from exact differences or in double.
template <class F, class A>
void refine_small(const F& f, const Rows& r, const RowRange& range, OutcomesOfRange& out) {
  bool small[RowRange::most], any_small = false;
  const bool has_totals = r.p.kind != kLogits || r.q.kind != kLogits;
  for (int64_t j = 0; j < range.n; ++j) {
    const double p = out.p_sum[j], q = out.q_sum[j];
    if (has_totals && totals_agree(r, p, q, 0)) out.value[j] += correction(f, p, q);
    small[j] = out.value[j] < small_value<F, A>() && totals_agree(r, p, q, kRoundingOfSums);
    any_small |= small[j];
  }
  if constexpr (sizeof(A) == sizeof(float) && states_near<F>)
    if (any_small && has_near(f, r)) any_small = refine_near<F, A>(f, r, range, out, small);
  if (!any_small) return;
  Panel<double> p, q;
  OutcomesOfRange exact;
  Reduction<F, double> rows(r, &f, RowGroup::prefers_rows(r), p.data, q.data, &exact);
  each_group_with(small, range, rows, [&](int64_t first, int64_t last) {
    reduce_small(rows);
    for (int64_t j = first; j < last; ++j)
      if (small[j]) out.set(j, exact);
  });
}

}  // namespace
}  // namespace torch_infotheory
