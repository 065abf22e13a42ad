// outputs.h -- the outcomes of a range of rows, and how per-row numbers are stored and added up.
#pragma once
#include "core/row.h"
#include "cpu/memory/dtypes.h"
#include "cpu/rows/iterate.h"

namespace torch_infotheory {
namespace {

// x_j = 0 where counting_j is 0.
TI_LANE void clear_where_zero(double* x, const double* counting, int64_t n) {
  const Pack<double> zero(0);
  for (int64_t j = 0; j < n; j += Pack<double>::width)
    store(x + j, select(load<double>(counting + j) == zero, zero, load<double>(x + j)));
}

// The rows of a range, as arrays. The last pack may extend beyond the last row.
struct OutcomesOfRange {
  static constexpr int step = Pack<double>::width;
  static constexpr int64_t most = RowRange::most + step;
  double p[most] = {}, q[most] = {}, sum[most] = {};  // moments, with the references
  double high_p[most] = {}, high_q[most] = {};        // of the moments and the outcomes
  double value[most], log_p[most], log_q[most], d_lp[most], d_lq[most], p_sum[most], q_sum[most];

  // Calls visit(j) for packs of rows [j, j + step).
  template <class Visit>
  TI_LANE static void each_pack_of_rows(int64_t from, int64_t n, Visit visit) {
    for (int64_t j = from; j < from + n; j += step) visit(j);
  }
  // From moments to outcomes, for n rows from row `from` on.
  template <class F>
  void finalize(int64_t from, int64_t n, bool p_logits, bool q_logits) {
    each_pack_of_rows(from, n, [&](int64_t j) __attribute__((always_inline)) {
      const auto at = [&](const double* x) { return load<double>(x + j); };
      const Outcome<Pack<double>> x = outcome<F>(
          Moments<Pack<double>>{at(p), at(q), at(sum), at(high_p), at(high_q)}, p_logits, q_logits);
      store(value + j, x.value);
      store(log_p + j, x.log_p), store(log_q + j, x.log_q);
      store(d_lp + j, x.d_lp), store(d_lq + j, x.d_lq);
      store(p_sum + j, x.p_sum), store(q_sum + j, x.q_sum);
    });
  }
  // From the sums of the second pass to the value and the totals. A NaN in a probability is
  // propagated where the terms do not.
  template <class Sums, class F>
  void finish_terms(const F& f, int64_t from, int64_t n) {
    each_pack_of_rows(from, n, [&](int64_t j) __attribute__((always_inline)) {
      const auto at = [&](const double* x) { return load<double>(x + j); };
      Sums::finish(f, *this, j);
      store(value + j, with_nan(at(value), at(p_sum), F::arity == 2 ? at(q_sum) : at(p_sum)));
    });
  }
  // Clears the outcomes of those of n rows that do not count.
  void clear_where_zero(const double* counting, int64_t n) {
    double* const outcomes[] = {value, high_p, log_p, high_q, log_q, d_lp, d_lq};
    for (double* const x : outcomes) torch_infotheory::clear_where_zero(x, counting, n);
  }
  // Clears a row that does not count.
  void clear(int64_t j) {
    p[j] = q[j] = sum[j] = high_p[j] = high_q[j] = 0;
    value[j] = log_p[j] = log_q[j] = d_lp[j] = d_lq[j] = 0;
  }
  // Sets the value of row j to that of its centered terms.
  template <class F>
  void set_centered(const F& f, int64_t j, double centered) {
    value[j] = centered;
    if constexpr (states_totals<F>) {
      const Totals<double> totals = totals_of_centered(f, centered, p_sum[j], q_sum[j]);
      d_lp[j] = totals.d_lp, d_lq[j] = totals.d_lq;
    }
  }
  // Copies row j of `x`.
  void set(int64_t j, const OutcomesOfRange& x) {
    value[j] = x.value[j], d_lp[j] = x.d_lp[j], d_lq[j] = x.d_lq[j];
    high_p[j] = x.high_p[j], log_p[j] = x.log_p[j];
    high_q[j] = x.high_q[j], log_q[j] = x.log_q[j];
  }
};

// Adds the total of rows from `row` on to the sum over rows that they belong to.
inline void add_to_sum(const Rows& r, double* sums, int64_t row, double total) {
  double& sum = sums[row / r.rows_per_sum];
  sum = row % r.rows_per_sum ? sum + total : total;
}
// The same for the numbers of n rows, in eight sums because one would wait for each addition.
inline void add_up(const Rows& r, double* sums, int64_t row, const double* numbers, int64_t n) {
  constexpr int64_t at_once = 8;
  double part[at_once] = {};
  int64_t j = 0;
  for (; j + at_once <= n; j += at_once)
    for (int64_t k = 0; k < at_once; ++k) part[k] += numbers[j + k];
  for (int64_t k = 0; j + k < n; ++k) part[k] += numbers[j + k];
  add_to_sum(r, sums, row,
             across<double, at_once>(
                 part, [](auto x, auto y) __attribute__((always_inline)) { return x + y; }));
}
// Stores the values of a range of rows, scaled to the unit asked for.
inline void store_values(const Rows& r, const RowRange& range, double* value) {
  for (int64_t j = 0; j < range.n; ++j) value[j] *= r.scale;
  store_numbers(r.value, range.at.value, row_stride(r, r.value), value, range.n);
}
// The incoming gradient of each row, scaled to the unit of the value.
inline void load_row_gradients(const Rows& r, const RowRange& range, double* g) {
  const int64_t lines = row_stride(r, r.g), different = lines ? range.n : 1;
  load_numbers(r.g, different, [&](int64_t j) { return range.at.g + j * lines; }, g);
  const double first = g[0];
  for (int64_t j = 0; j < range.n; ++j) g[j] = r.scale * (lines ? g[j] : first);
}

}  // namespace
}  // namespace torch_infotheory
