// near.h -- the sums over the classes of rows that are nearly equal: centered terms, computed from
// exact differences, so that lanes of float suffice.
#pragma once
#include "cpu/rows/fold.h"

namespace torch_infotheory {
namespace {

// Both operands as logarithms. Their log-normalizers differ by shift_high + shift_low.
template <class A>
struct NearLogarithms {
  ProbSpan<A, kLogits> p, q;
  Pack<A> shift_high, shift_low;
  template <bool whole>
  TI_LANE Near<Pack<A>> near(int64_t i, std::bool_constant<whole> w) const {
    const Pack<A> x = p.raw(i, w);
    return near_of_logarithms(x, q.raw(i, w), exp((x - p.high) - p.low), shift_high, shift_low);
  }
};
// Both operands as probabilities.
template <class A>
struct NearProbabilities {
  ProbSpan<A, kProbs> p, q;
  template <bool whole>
  TI_LANE Near<Pack<A>> near(int64_t i, std::bool_constant<whole> w) const {
    return near_of_probabilities(p.raw(i, w), q.raw(i, w));
  }
};

// Sums the terms in `value` and the differences p - q in `p`.
template <class F, class A, class Both>
TI_LANE void fold_near(const F& f, const Both& rows, RowSums<A>& s) {
  const int64_t whole_p = rows.p.whole(), whole_q = rows.q.whole();
  FourWay<A> value, difference;
  each_pack(rows.p.packs(), whole_p < whole_q ? whole_p : whole_q,
            [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
              const Near<Pack<A>> x = rows.near(i, w);
              Pack<A> term = f.near(x), gap = x.difference;
              const Pack<A> d = x.log_ratio, most(kNear);
              if (const auto far = (d > most) | (d < -most) | (d != d); any(far, d)) {
                const Prob<Pack<A>> a = rows.p.at(i, w), b = rows.q.at(i, w);
                term = select(far, f.centered(a, b), term);
                gap = select(far, a.p - b.p, gap);
              }
              value.add(k, term);
              difference.add(k, gap);
            });
  s.value.add(value);
  s.p.add(difference);
}
template <class F, class A>
void fold_near(const F& f, Pair<A>& rows, int64_t first, int64_t n, Pack<A> shift_high,
               Pack<A> shift_low, RowSums<A>& s) {
  if (rows.p.kind == kProbs)
    return fold_near(f,
                     NearProbabilities<A>{rows.p.template probs<kProbs>(rows.group, first, n),
                                          rows.q.template probs<kProbs>(rows.group, first, n)},
                     s);
  fold_near(f,
            NearLogarithms<A>{rows.p.template probs<kLogits>(rows.group, first, n),
                              rows.q.template probs<kLogits>(rows.group, first, n), shift_high,
                              shift_low},
            s);
}

}  // namespace
}  // namespace torch_infotheory
