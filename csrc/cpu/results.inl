// results.inl -- what comes of rows, from the sums over their classes. Several rows in a pack.
//
// Knows sources and the name score; must not know any formula by name, tensors, threads, or torch.
// Read next: reduce.inl.
#pragma once
#include "cpu/sums.inl"
#include "cpu/twofold.h"

namespace torch_infotheory {
namespace {

template <class V>
struct Outcome {
  V value, zp, zq, d_lp, d_lq;
  V rest_p, rest_q;  // of the normalisers
  V mass_p, mass_q;  // the totals that p and q state; 1 for logits
};

template <class V>
struct Moments {
  V p, q, value, high_p, high_q;
};
template <class F, class V>
TI_LANE Outcome<V> outcome(const Moments<V>& s, bool p_logits, bool q_logits) {
  const V log_p = p_logits ? log(s.p) : V(0), log_q = q_logits ? log(s.q) : V(0), one(1);
  Outcome<V> out;
  out.zp = s.high_p + log_p;
  out.zq = s.high_q + log_q;
  out.rest_p = rest_of(s.high_p, log_p, out.zp);
  out.rest_q = rest_of(s.high_q, log_q, out.zq);
  out.mass_p = p_logits ? one : s.p;
  out.mass_q = q_logits ? one : s.q;
  out.value = out.d_lp = out.d_lq = V(0);
  if constexpr (F::linear) {
    const V sum = s.value + times0(s.p, F::score(-log_p, -log_q)),
            value = p_logits ? sum / s.p : sum;
    out.value = select(s.p + s.q == s.p + s.q, value, V(NAN));  // shown even where its factor is 0
    out.d_lp = value + out.mass_p * F::score(V(1), V(0));
    out.d_lq = out.mass_p * F::score(V(0), V(1));
  }
  return out;
}

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
  double p[most] = {}, q[most] = {}, sum[most] = {}, high_p[most] = {},
         high_q[most] = {};  // moments
  double value[most], zp[most], zq[most], rest_p[most], rest_q[most], d_lp[most], d_lq[most],
      mass_p[most], mass_q[most];

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
      store(zp + j, x.zp), store(rest_p + j, x.rest_p);
      store(zq + j, x.zq), store(rest_q + j, x.rest_q);
      store(d_lp + j, x.d_lp), store(d_lq + j, x.d_lq);
      store(mass_p + j, x.mass_p), store(mass_q + j, x.mass_q);
    });
  }
  // Where the terms do not: those of probability 0.
  void show_nan(int64_t from, int64_t n) {
    each_pack_of_rows(from, n, [&](int64_t j) __attribute__((always_inline)) {
      const Pack<double> mass = load<double>(mass_p + j) + load<double>(mass_q + j);
      store(value + j, select(mass == mass, load<double>(value + j), Pack<double>(NAN)));
    });
  }
  // The outcomes of those of n rows that do not count.
  void clear_where_zero(const double* counting, int64_t n) {
    double* const outcomes[] = {value, zp, zq, d_lp, d_lq};
    for (double* const x : outcomes) torch_infotheory::clear_where_zero(x, counting, n);
  }
  // Of a row that does not count.
  void clear(int64_t j) {
    p[j] = q[j] = sum[j] = high_p[j] = high_q[j] = 0;
    value[j] = zp[j] = zq[j] = d_lp[j] = d_lq[j] = 0;
  }
  // Row j of others.
  void set(int64_t j, const Results& x) {
    value[j] = x.value[j], zp[j] = x.zp[j], zq[j] = x.zq[j];
    d_lp[j] = x.d_lp[j], d_lq[j] = x.d_lq[j];
  }
};

}  // namespace
}  // namespace torch_infotheory
