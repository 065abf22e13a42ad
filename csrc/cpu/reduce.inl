// reduce.inl -- from blocks to the value of a row and its totals, for every formula.
//
// Linear formulas read a row once: moments relative to a moving reference, corrected when the
// reference moves and once more when the normalisers are known. Other formulas read it again for
// the terms. Where a divergence comes out small, its row is read again in double by the formula's
// centred term.
//
// Knows sources and the names score, term, slope_p, d_lq, centred; must not know any formula by
// name, tensors, threads, or torch. Read next: rows.inl.
#pragma once
#include "cpu/lanes.inl"

namespace torch_infotheory {
namespace {

// f(i, k) over the packs of a block, k = 0..3 in turn: four sums in flight hide the latency of an
// addition.
template <class A, class F>
TI_LANE void each_of_block(int64_t numbers, F f) {
  constexpr int64_t width = Pack<A>::width;
  int64_t i = 0;
  for (; i + 3 * width < numbers; i += 4 * width) {
    f(i, 0);
    f(i + width, 1);
    f(i + 2 * width, 2);
    f(i + 3 * width, 3);
  }
  for (; i < numbers; i += width) f(i, 0);
}
template <class A>
TI_LANE void add(Wide<A>& sum, Pack<A> x) {
  sum = map([](Pack<double> a, Pack<double> b) { return a + b; }, sum, Wide<A>(x));
}
template <class A>
struct Accumulator {
  Pack<A> part[4];
  TI_LANE
  Accumulator() {  // written out: gcc gives an implicit constructor the baseline instruction set
    for (Pack<A>& x : part) x = Pack<A>(0);
  }
  TI_LANE void add(int k, Pack<A> x) { part[k] = part[k] + x; }
  TI_LANE Pack<A> total() const { return (part[0] + part[1]) + (part[2] + part[3]); }
  // Each block is summed in A and added in double, so that no sum of A is longer than a block.
  TI_LANE void flush_to(Wide<A>& sum) const { torch_infotheory::add(sum, total()); }
};

// What a formula sums, lane by lane.
template <class A>
struct Sums {
  Wide<A> p, q, value, d_lp, d_lq;
  TI_LANE Sums() : p(0.), q(0.), value(0.), d_lp(0.), d_lq(0.) {}
};

template <class F, class A>
void fold_moments(const Block<A>& a, const Block<A>& b, int64_t numbers, Sums<A>& s) {
  Accumulator<A> p, q, value;
  each_of_block<A>(numbers, [&](int64_t i, int k) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = a.at(i), y = F::arity == 2 ? b.at(i) : x;
    p.add(k, x.p);
    if constexpr (F::arity == 2) q.add(k, y.p);
    if constexpr (F::linear) value.add(k, F::term(x, y));
  });
  p.flush_to(s.p);
  if constexpr (F::arity == 2) q.flush_to(s.q);
  if constexpr (F::linear) value.flush_to(s.value);
}
template <class F, class A>
void fold_terms(const Block<A>& a, const Block<A>& b, int64_t numbers, Sums<A>& s) {
  Accumulator<A> value, by_lp, by_lq;
  each_of_block<A>(numbers, [&](int64_t i, int k) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = a.at(i), y = b.at(i);
    value.add(k, F::term(x, y));
    by_lp.add(k, d_lp<F>(x, y));
    by_lq.add(k, F::d_lq(x, y));
  });
  value.flush_to(s.value);
  by_lp.flush_to(s.d_lp);
  by_lq.flush_to(s.d_lq);
}
template <class F, class A>
void fold_centred(const Block<A>& a, const Block<A>& b, int64_t numbers, Wide<A>& sum) {
  Accumulator<A> value;
  each_of_block<A>(numbers, [&](int64_t i, int k) __attribute__((always_inline)) {
    value.add(k, F::centred(a.at(i), b.at(i)));
  });
  value.flush_to(sum);
}

// The moments after their references moved by dp and dq: p falls by e^dp, q by e^dq, and every
// score by score(dp, dq).
template <class F, class A>
void move_references(Sums<A>& s, Pack<A> dp, Pack<A> dq) {
  using P = Pack<double>;
  const Wide<A> by_p(exp(dp)), by_q(exp(dq)), log_p(dp), log_q(dq);
  if constexpr (F::linear)
    s.value = map([](P v, P p, P e, P lp, P lq) { return times0(e, v + p * F::score(lp, lq)); },
                  s.value, s.p, by_p, log_p, log_q);
  s.p = map([](P v, P e) { return v * e; }, s.p, by_p);
  s.q = map([](P v, P e) { return v * e; }, s.q, by_q);
}

// Results of a team, one lane per row.
template <class A>
struct Results {
  Wide<A> value, zp, zq, d_lp, d_lq;
  Wide<A> mass_p, mass_q;  // the totals that p and q state; 1 for logits
  TI_LANE Results() : value(0.), zp(0.), zq(0.), d_lp(0.), d_lq(0.), mass_p(0.), mass_q(0.) {}
};

template <class A>
void share(Wide<A>& sum) {
  sum = Wide<A>(sum.total());
}

template <class F, class A>
Results<A> reduce(Pair<A>& rows) {
  using P = Pack<double>;
  Sums<A> s;
  {
    Block<A> a, b;
    rows.each_stretch([&](int64_t first, int64_t n) {
      const Pack<A> dp = rows.p.raise(rows.team, first, n),
                    dq = F::arity == 2 ? rows.q.raise(rows.team, first, n) : Pack<A>(0);
      if (first > 0 && (any(dp < Pack<A>(0), dp) || any(dq < Pack<A>(0), dq)))
        move_references<F>(s, dp, dq);
      if (F::linear && rows.target.dense) {
        rows.template fill<F::arity>(first, n, a, b);
        fold_moments<F>(a, b, rows.team.template numbers<A>(n), s);
      } else {
        add(s.p, rows.p.mass_of_block(rows.team, first, n, a));
        if constexpr (F::arity == 2) add(s.q, rows.q.mass_of_block(rows.team, first, n, b));
      }
    });
  }
  const bool dealt = !rows.team.lanes_are_rows;
  if (dealt) {  // one reference for all lanes, then one sum
    const Pack<A> p(highest(rows.p.high)), q(highest(rows.q.high));
    move_references<F>(s, Source<A>::moved(rows.p.high, p),
                       F::arity == 2 ? Source<A>::moved(rows.q.high, q) : Pack<A>(0));
    rows.p.high = p;
    rows.q.high = q;
    share(s.p), share(s.q), share(s.value);
  }
  const bool p_logits = rows.p.is_logits(), q_logits = F::arity == 2 && rows.q.is_logits();
  const auto log_total = [](bool logits, const Wide<A>& sum) {
    return logits ? map([](P x) { return log(x); }, sum) : Wide<A>(0.);
  };
  const Wide<A> log_p = log_total(p_logits, s.p), log_q = log_total(q_logits, s.q), one(1.),
                high_p(rows.p.high), high_q(rows.q.high);
  const auto plus = [](P a, P b) { return a + b; };
  Results<A> out;
  out.zp = map(plus, high_p, log_p);
  out.zq = map(plus, high_q, log_q);
  out.mass_p = p_logits ? one : s.p;
  out.mass_q = q_logits ? one : s.q;
  if constexpr (F::linear) {
    out.value = map(
        [](P v, P p, P total, P lp, P lq) { return (v + times0(p, F::score(-lp, -lq))) / total; },
        s.value, s.p, p_logits ? s.p : one, log_p, log_q);
    out.d_lp =
        map([](P v, P mass) { return v + mass * F::score(P(1), P(0)); }, out.value, out.mass_p);
    out.d_lq = map([](P mass) { return mass * F::score(P(0), P(1)); }, out.mass_p);
  } else {
    Sums<A> t;
    rows.normalise(out.zp, out.zq);
    rows.template each_block<F::arity>(
        [&](int64_t, int64_t n, const Block<A>& a, const Block<A>& b) {
          fold_terms<F>(a, b, rows.team.template numbers<A>(n), t);
        });
    if (dealt) share(t.value), share(t.d_lp), share(t.d_lq);
    out.value = t.value;
    out.d_lp = t.d_lp;
    out.d_lq = t.d_lq;
  }
  // A NaN must show even where its factor is 0.
  out.value =
      map([](P v, P p, P q) { return select(p + q == p + q, v, P(NAN)); }, out.value, s.p, s.q);
  return out;
}

// Below this a divergence has lost digits to cancellation: one reading in float is good to about
// 1e-6 at logits of scale 1 and 4e-5 at scale 30. The second number is what float adds to the
// rounding of the totals.
constexpr double kSmall = 0x1p-4, kRoundingOfSums = 1e-5;

// Whether p and q have one total, so that the centred term sums to the same value.
inline bool totals_agree(const Rows& r, double p, double q, double slack) {
  const double of_p = rounding_of_totals(r.p), of_q = rounding_of_totals(r.q);
  return fabs(p - q) <= ((of_p > of_q ? of_p : of_q) + slack) * (p > q ? p : q);
}

// The row at `at`, in double and by the centred term.
template <class F>
Results<double> reduce_small(const Rows& r, const Cursor& at) {
  Pair<double> row(r, /*lanes_are_rows=*/false);
  row.move_to(at, at.row + 1);
  Results<double> out = reduce<F>(row);
  if (!totals_agree(r, out.mass_p[0], out.mass_q[0], 0)) return out;
  Wide<double> sum(0.);
  row.normalise(out.zp, out.zq);
  row.each_block<2>([&](int64_t, int64_t n, const Block<double>& a, const Block<double>& b) {
    fold_centred<F>(a, b, row.team.numbers<double>(n), sum);
  });
  share(sum);
  out.value = sum;
  return out;
}

}  // namespace
}  // namespace torch_infotheory
