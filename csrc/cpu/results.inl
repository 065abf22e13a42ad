// results.inl -- what comes of rows, from the sums over their classes. Several rows in a pack.
//
// Knows sources and the name score; must not know any formula by name, tensors, threads, or torch.
// Read next: reduce.inl.
#pragma once
#include "cpu/sums.inl"
#include "cpu/twofold.h"

namespace torch_infotheory {
namespace {

// x_j becomes 0 where counting_j is.
TI_LANE void clear_where_zero(double* x, const double* counting, int64_t n) {
  const Pack<double> zero(0);
  for (int64_t j = 0; j < n; j += Pack<double>::width)
    store(x + j, select(load<double>(counting + j) == zero, zero, load<double>(x + j)));
}

// Of the rows of a run, side by side; with room behind the last for a pack that begins there.
struct Results {
  static constexpr int step = Pack<double>::width;
  static constexpr int64_t most = Run::most + step;
  double p[most] = {}, q[most] = {}, sum[most] = {};  // moments, with the references
  double high_p[most] = {}, high_q[most] = {};        // of the moments and the outcomes
  double value[most], log_p[most], log_q[most], d_lp[most], d_lq[most], mass_p[most], mass_q[most];

  // visit(j): rows [j, j + step).
  template <class Visit>
  TI_LANE static void each_pack_of_rows(int64_t from, int64_t n, Visit visit) {
    for (int64_t j = from; j < from + n; j += step) visit(j);
  }
  // n rows from row `from` on: from their moments to their outcomes.
  template <class F>
  void settle(int64_t from, int64_t n, bool p_logits, bool q_logits) {
    each_pack_of_rows(from, n, [&](int64_t j) __attribute__((always_inline)) {
      const auto at = [&](const double* x) { return load<double>(x + j); };
      const Outcome<Pack<double>> x = outcome<F>(
          Moments<Pack<double>>{at(p), at(q), at(sum), at(high_p), at(high_q)}, p_logits, q_logits);
      store(value + j, x.value);
      store(log_p + j, x.log_p), store(log_q + j, x.log_q);
      store(d_lp + j, x.d_lp), store(d_lq + j, x.d_lq);
      store(mass_p + j, x.mass_p), store(mass_q + j, x.mass_q);
    });
  }
  // Where the terms do not: those of probability 0.
  void show_nan(int64_t from, int64_t n) {
    each_pack_of_rows(from, n, [&](int64_t j) __attribute__((always_inline)) {
      const auto at = [&](const double* x) { return load<double>(x + j); };
      store(value + j, with_nan(at(value), at(mass_p), at(mass_q)));
    });
  }
  // The outcomes of those of n rows that do not count.
  void clear_where_zero(const double* counting, int64_t n) {
    double* const outcomes[] = {value, high_p, log_p, high_q, log_q, d_lp, d_lq};
    for (double* const x : outcomes) torch_infotheory::clear_where_zero(x, counting, n);
  }
  // Of a row that does not count.
  void clear(int64_t j) {
    p[j] = q[j] = sum[j] = high_p[j] = high_q[j] = 0;
    value[j] = log_p[j] = log_q[j] = d_lp[j] = d_lq[j] = 0;
  }
  // Row j of others.
  void set(int64_t j, const Results& x) {
    value[j] = x.value[j], d_lp[j] = x.d_lp[j], d_lq[j] = x.d_lq[j];
    high_p[j] = x.high_p[j], log_p[j] = x.log_p[j];
    high_q[j] = x.high_q[j], log_q[j] = x.log_q[j];
  }
};

}  // namespace
}  // namespace torch_infotheory
