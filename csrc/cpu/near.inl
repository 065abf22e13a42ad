// near.inl -- what is summed over the classes of rows that are nearly equal: centered terms, from
// differences to the last digit.
//
// The difference of two logits is taken before either is rounded, so that lanes of float are enough.
// Knows sources and the names centered, near; must not know any formula by name, tensors, threads,
// or torch. Read next: reduce.inl.
#pragma once
#include "cpu/sums.inl"

namespace torch_infotheory {
namespace {

// Both as logarithms. Their log-normalizers differ by `shift`, in two numbers.
template <class A>
struct NearLogarithms {
  Stretch<A, kLogits> p, q;
  Pack<A> shift_high, shift_low;
  template <bool whole>
  TI_LANE Near<Pack<A>> near(int64_t i, Whole<whole> w) const {
    const Pack<A> x = p.raw(i, w), y = q.raw(i, w), s = x - y,
                  d = (s - shift_high) + (rest_of(x, -y, s) - shift_low),
                  of_p = exp((x - p.high) - p.low);
    return {of_p, of_p * (d - near_exp_remainder(d)), d};
  }
};
// Both as probabilities.
template <class A>
struct NearProbabilities {
  Stretch<A, kProbs> p, q;
  template <bool whole>
  TI_LANE Near<Pack<A>> near(int64_t i, Whole<whole> w) const {
    const Pack<A> x = p.raw(i, w), y = q.raw(i, w), difference = x - y;
    return {x, difference, twice_atanh(over0(difference, x + y))};
  }
};

// The terms go into `value` and the differences p - q into `p`.
template <class F, class A, class Both>
TI_LANE void fold_near(const F& f, const Both& rows, Sums<A>& s) {
  const int64_t of_p = rows.p.whole(), of_q = rows.q.whole();
  Accumulator<A> value, difference;
  each_pack(rows.p.packs(), of_p < of_q ? of_p : of_q,
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
void fold_near(Pair<A>& rows, int64_t first, int64_t n, Pack<A> shift_high, Pack<A> shift_low,
               Sums<A>& s) {
  const F f = formula<F>(rows.r.parameter);
  if (rows.p.kind == kProbs)
    return fold_near(f,
                     NearProbabilities<A>{rows.p.template stretch<kProbs>(rows.team, first, n),
                                          rows.q.template stretch<kProbs>(rows.team, first, n)},
                     s);
  fold_near(f,
            NearLogarithms<A>{rows.p.template stretch<kLogits>(rows.team, first, n),
                              rows.q.template stretch<kLogits>(rows.team, first, n), shift_high,
                              shift_low},
            s);
}

template <class F>
constexpr bool states_near = requires(F f, Near<float> x) { f.near(x); };
// Whether the kinds give exact differences, and the formula has a term of them at its order.
template <class F>
bool has_near(const Rows& r) {
  if constexpr (requires(F f) { f.has_near(); })
    if (!formula<F>(r.parameter).has_near()) return false;
  const auto is_log = [](Kind kind) { return kind == kLogits || kind == kLogProbs; };
  return (is_log(r.p.kind) && is_log(r.q.kind)) || (r.p.kind == kProbs && r.q.kind == kProbs);
}

}  // namespace
}  // namespace torch_infotheory
