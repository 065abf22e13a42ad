// fold.h -- the sums over the classes of a row group, relative to a reference that moves.
#pragma once
#include "cpu/rows/pair.h"

namespace torch_infotheory {
namespace {

// Four sums in flight.
template <class A>
struct FourWay {
  Pack<A> part[4];
  TI_LANE
  FourWay() {  // written out: gcc gives an implicit constructor the baseline instruction set
    for (Pack<A>& x : part) x = Pack<A>(0);
  }
  TI_LANE void add(int k, Pack<A> x) { part[k] = part[k] + x; }
  TI_LANE Pack<A> total() const { return (part[0] + part[1]) + (part[2] + part[3]); }
};

// A sum over the classes in each lane: the latest blocks in A, those before them in double, so that
// no sum in A is long.
template <class A>
struct LaneSum {
  Pack<A> now;
  InDouble<A> before;
  TI_LANE LaneSum() : now(0), before(0.) {}
  TI_LANE void add(const FourWay<A>& block) { now = now + block.total(); }
  TI_LANE void flush() {
    before = all();
    now = Pack<A>(0);
  }
  TI_LANE InDouble<A> all() const {
    return map([](Pack<double> a, Pack<double> b) { return a + b; }, before, InDouble<A>(now));
  }
};

// The sums of a formula: p, q and its terms. In the second pass `p` and `q` sum the derivatives by
// log p and log q; in that of near.h `p` sums p - q.
template <class A>
struct RowSums {
  static constexpr int blocks_in_float = 16;
  LaneSum<A> p, q, value;
  int blocks = 0;
  TI_LANE RowSums() {}
  TI_LANE void count_block() {
    if (++blocks % blocks_in_float) return;
    p.flush(), q.flush(), value.flush();
  }
};

// Calls add(k, p, q, sum_p, sum_q, value) for the packs of n classes, where k is that of FourWay,
// and adds its sums to those of the rows.
template <class F, class A, class Add>
TI_LANE void fold_classes(Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s, Add add) {
  rows.template fold<F>(
      first, n,
      [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
          __attribute__((always_inline)) {
            FourWay<A> sum_p, sum_q, value;
            each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
              const Prob<Pack<A>> x = p.at(i, w), y = F::arity == 2 ? q.at(i, w) : x;
              add(k, x, y, sum_p, sum_q, value);
            });
            s.p.add(sum_p);
            if constexpr (F::arity == 2) s.q.add(sum_q);
            s.value.add(value);
          });
}
template <class F, class A>
void fold_moments(Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s) {
  const F f = formula<F>(rows.r.parameter);
  fold_classes<F>(rows, first, n, s,
                  [&](int k, const Prob<Pack<A>>& p, const Prob<Pack<A>>& q, FourWay<A>& sum_p,
                      FourWay<A>& sum_q, FourWay<A>& value) __attribute__((always_inline)) {
                    sum_p.add(k, p.p);
                    if constexpr (F::arity == 2) sum_q.add(k, q.p);
                    value.add(k, f.term(p, q));
                  });
}
template <class F, class A>
void fold_terms(Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s) {
  const F f = formula<F>(rows.r.parameter);
  fold_classes<F>(rows, first, n, s,
                  [&](int k, const Prob<Pack<A>>& p, const Prob<Pack<A>>& q, FourWay<A>& by_lp,
                      FourWay<A>& by_lq, FourWay<A>& value) __attribute__((always_inline)) {
                    const Terms<Pack<A>> x = terms(f, p, q);
                    value.add(k, x.value);
                    by_lp.add(k, x.d_lp);
                    if constexpr (F::arity == 2) by_lq.add(k, x.d_lq);
                  });
}
// The terms of a formula that is_log_sum, in `value`, relative to e^reference.
template <class F, class A>
void fold_exponents(Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s, Pack<A>& reference) {
  constexpr int width = Pack<A>::width;
  const F f = formula<F>(rows.r.parameter);
  alignas(64) A exponents[kBlock];
  Pack<A> top = reference;
  rows.template fold<F>(first, n,
                        [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
                            __attribute__((always_inline)) {
                              each_pack(packs, whole,
                                        [&](int64_t i, int, auto w) __attribute__((always_inline)) {
                                          const Pack<A> x = f.exponent(p.at(i, w), q.at(i, w));
                                          top = select(x > top, x, top);
                                          store(exponents + i * width, x);
                                        });
                            });
  const Pack<A> old = reference, most(Format<A>::largest);
  if (move_up(rows.group, select(top > most, most, top), reference)) {
    const auto scale = [](auto v, auto by) { return v * by; };
    const Pack<A> by = exp(old - reference);
    s.value.now = scale(s.value.now, by);
    s.value.before = map(scale, s.value.before, InDouble<A>(by));
  }
  FourWay<A> value;
  const int64_t packs = rows.group.template packs<A>(n);
  each_pack(packs, packs, [&](int64_t i, int k, auto) __attribute__((always_inline)) {
    value.add(k, exp(load<A>(exponents + i * width) - reference));
  });
  s.value.add(value);
}
template <class F, class A>
void fold_centered(Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s) {
  const F f = formula<F>(rows.r.parameter);
  fold_classes<F>(rows, first, n, s,
                  [&](int k, const Prob<Pack<A>>& p, const Prob<Pack<A>>& q, FourWay<A>&,
                      FourWay<A>&, FourWay<A>& value)
                      __attribute__((always_inline)) { value.add(k, f.centered(p, q)); });
}

// The moments after the references of p and q decreased by dp and dq.
template <class F, class A>
void move_references(RowSums<A>& s, Pack<A> dp, Pack<A> dq) {
  const auto move = [](auto v, auto p, auto by, auto score) { return shifted(v, p, by, score); };
  const auto scale = [](auto v, auto by) { return v * by; };
  const Pack<A> by_p = exp(dp), by_q = exp(dq);
  if constexpr (F::linear) {
    const Pack<A> score = F::score(dp, dq);
    s.value.now = move(s.value.now, s.p.now, by_p, score);
    s.value.before = map(move, s.value.before, s.p.before, InDouble<A>(by_p), InDouble<A>(score));
  }
  s.p.now = scale(s.p.now, by_p);
  s.p.before = map(scale, s.p.before, InDouble<A>(by_p));
  s.q.now = scale(s.q.now, by_q);
  s.q.before = map(scale, s.q.before, InDouble<A>(by_q));
}

}  // namespace
}  // namespace torch_infotheory
