// sums.inl -- what is summed over the classes of a team's rows, relative to a reference that moves.
//
// Knows sources and the names score, term, slope_p, d_lq, centred; must not know any formula by
// name, tensors, threads, or torch. Read next: reduce.inl.
#pragma once
#include "cpu/pair.inl"

namespace torch_infotheory {
namespace {

// Four sums in flight.
template <class A>
struct Accumulator {
  Pack<A> part[4];
  TI_LANE
  Accumulator() {  // written out: gcc gives an implicit constructor the baseline instruction set
    for (Pack<A>& x : part) x = Pack<A>(0);
  }
  TI_LANE void add(int k, Pack<A> x) { part[k] = part[k] + x; }
  TI_LANE Pack<A> total() const { return (part[0] + part[1]) + (part[2] + part[3]); }
};

// A sum over a row, lane by lane: of the blocks at hand in A, of those before in double, so that no
// sum of A is long.
template <class A>
struct Total {
  Pack<A> now;
  Wide<A> before;
  TI_LANE Total() : now(0), before(0.) {}
  TI_LANE void add(const Accumulator<A>& block) { now = now + block.total(); }
  TI_LANE void flush() {
    before = all();
    now = Pack<A>(0);
  }
  TI_LANE Wide<A> all() const {
    return map([](Pack<double> a, Pack<double> b) { return a + b; }, before, Wide<A>(now));
  }
};

// What a formula sums: p, q and its terms, and in a second reading the derivatives by log p and log
// q instead of p and q.
template <class A>
struct Sums {
  static constexpr int blocks_in_float = 16;
  Total<A> p, q, value;
  int blocks = 0;
  TI_LANE Sums() {}
  TI_LANE void count_block() {
    if (++blocks % blocks_in_float) return;
    p.flush(), q.flush(), value.flush();
  }
};

template <class F, class A>
void fold_moments(Pair<A>& rows, int64_t first, int64_t n, Sums<A>& s) {
  rows.template fold<F>(
      first, n,
      [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
          __attribute__((always_inline)) {
            Accumulator<A> of_p, of_q, value;
            each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
              const Prob<Pack<A>> x = p.at(i, w), y = F::arity == 2 ? q.at(i, w) : x;
              of_p.add(k, x.p);
              if constexpr (F::arity == 2) of_q.add(k, y.p);
              value.add(k, F::term(x, y));
            });
            s.p.add(of_p);
            if constexpr (F::arity == 2) s.q.add(of_q);
            s.value.add(value);
          });
}
template <class F, class A>
void fold_terms(Pair<A>& rows, int64_t first, int64_t n, Sums<A>& s) {
  rows.template fold<F>(
      first, n,
      [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
          __attribute__((always_inline)) {
            Accumulator<A> value, by_lp, by_lq;
            each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
              const Prob<Pack<A>> x = p.at(i, w), y = q.at(i, w);
              value.add(k, F::term(x, y));
              by_lp.add(k, d_lp<F>(x, y));
              by_lq.add(k, F::d_lq(x, y));
            });
            s.value.add(value);
            s.p.add(by_lp);
            s.q.add(by_lq);
          });
}
template <class F, class A>
void fold_centred(Pair<A>& rows, int64_t first, int64_t n, Sums<A>& s) {
  rows.template fold<F>(
      first, n,
      [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
          __attribute__((always_inline)) {
            Accumulator<A> value;
            each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
              value.add(k, F::centred(p.at(i, w), q.at(i, w)));
            });
            s.value.add(value);
          });
}

// The moments after their references moved by dp and dq: p falls by e^dp, q by e^dq, and every
// score by score(dp, dq).
template <class F, class A>
void move_references(Sums<A>& s, Pack<A> dp, Pack<A> dq) {
  const auto move = [](auto v, auto p, auto by, auto score) { return shifted(v, p, by, score); };
  const auto scale = [](auto v, auto by) { return v * by; };
  const Pack<A> by_p = exp(dp), by_q = exp(dq);
  if constexpr (F::linear) {
    const Pack<A> score = F::score(dp, dq);
    s.value.now = move(s.value.now, s.p.now, by_p, score);
    s.value.before = map(move, s.value.before, s.p.before, Wide<A>(by_p), Wide<A>(score));
  }
  s.p.now = scale(s.p.now, by_p);
  s.p.before = map(scale, s.p.before, Wide<A>(by_p));
  s.q.now = scale(s.q.now, by_q);
  s.q.before = map(scale, s.q.before, Wide<A>(by_q));
}

}  // namespace
}  // namespace torch_infotheory
