// fold.h -- the sums over the classes of a row group, relative to a reference that moves.
#pragma once
#include "cpu/rows/outputs.h"
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
  TI_LANE void scale(Pack<A> by) {
    const auto multiply = [](auto v, auto by) { return v * by; };
    now = multiply(now, by);
    before = map(multiply, before, InDouble<A>(by));
  }
  TI_LANE InDouble<A> all() const {
    return map([](Pack<double> a, Pack<double> b) { return a + b; }, before, InDouble<A>(now));
  }
};

// Sums of p, q and the terms of a formula. In the second pass `p` and `q` sum the derivatives by log
// p and log q; in that of near.h `p` sums p - q.
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
void fold_moments(const F& f, Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s) {
  fold_classes<F>(rows, first, n, s,
                  [&](int k, const Prob<Pack<A>>& p, const Prob<Pack<A>>& q, FourWay<A>& sum_p,
                      FourWay<A>& sum_q, FourWay<A>& value) __attribute__((always_inline)) {
                    sum_p.add(k, p.p);
                    if constexpr (F::arity == 2) sum_q.add(k, q.p);
                    value.add(k, f.term(p, q));
                  });
}
template <class F, class A>
void fold_centered(const F& f, Pair<A>& rows, int64_t first, int64_t n, RowSums<A>& s) {
  fold_classes<F>(rows, first, n, s,
                  [&](int k, const Prob<Pack<A>>& p, const Prob<Pack<A>>& q, FourWay<A>&,
                      FourWay<A>&, FourWay<A>& value)
                      __attribute__((always_inline)) { value.add(k, f.centered(p, q)); });
}

// The moments after the references of p and q decreased by dp and dq.
template <class F, class A>
void move_references(RowSums<A>& s, Pack<A> dp, Pack<A> dq) {
  const Pack<A> by_p = exp(dp), by_q = exp(dq);
  if constexpr (F::linear) {
    const auto move = [](auto v, auto p, auto by, auto score) { return shifted(v, p, by, score); };
    const Pack<A> score = F::score(dp, dq);
    s.value.now = move(s.value.now, s.p.now, by_p, score);
    s.value.before = map(move, s.value.before, s.p.before, InDouble<A>(by_p), InDouble<A>(score));
  }
  s.p.scale(by_p), s.q.scale(by_q);
}

// ---- the second pass, of formulas that are not linear: a type for each way to sum ----

// The terms and their derivatives.
template <class A>
struct TermSums : RowSums<A> {
  using RowSums<A>::p, RowSums<A>::q, RowSums<A>::value;
  TI_LANE TermSums() {}
  TI_LANE static void prepare(Pair<A>&) {}
  template <class F>
  void add(const F& f, Pair<A>& rows, int64_t first, int64_t n) {
    fold_classes<F>(rows, first, n, *this,
                    [&](int k, const Prob<Pack<A>>& p, const Prob<Pack<A>>& q, FourWay<A>& by_lp,
                        FourWay<A>& by_lq, FourWay<A>& sum) __attribute__((always_inline)) {
                      const Terms<Pack<A>> x = terms(f, p, q);
                      sum.add(k, x.value);
                      if constexpr (states_totals<F>) return;
                      by_lp.add(k, x.d_lp);
                      if constexpr (F::arity == 2) by_lq.add(k, x.d_lq);
                    });
  }
  template <class Save>
  TI_LANE void save(OutcomesOfRange& out, Save save) const {
    save(out.value, value), save(out.d_lp, p), save(out.d_lq, q);
  }
  void save(PartOfRow& to) const {
    to.value = value.all().total(), to.d_lp = p.all().total(), to.d_lq = q.all().total();
  }
  static void merge(const PartOfRow* parts, int64_t n, OutcomesOfRange& out) {
    out.value[0] = out.d_lp[0] = out.d_lq[0] = 0;
    for (int64_t i = 0; i < n; ++i) {
      out.value[0] += parts[i].value;
      out.d_lp[0] += parts[i].d_lp, out.d_lq[0] += parts[i].d_lq;
    }
  }
  template <class F>
  TI_LANE static void finish(const F& f, OutcomesOfRange& out, int64_t j) {
    if constexpr (states_totals<F>) {
      const auto at = [&](const double* x) { return load<double>(x + j); };
      const Totals<Pack<double>> totals = f.totals(at(out.value), at(out.p_sum), at(out.q_sum));
      store(out.d_lp + j, totals.d_lp), store(out.d_lq + j, totals.d_lq);
    }
  }
};
// Of a logarithm of a sum: e^exponent, relative to a reference that moves. Until `finish`, the
// reference is in the place of the derivative by log p.
template <class A>
struct ExponentSums : RowSums<A> {
  using RowSums<A>::value;
  Pack<A> reference = Pack<A>(-Format<A>::largest);
  TI_LANE ExponentSums() {}
  TI_LANE static void prepare(Pair<A>& rows) { rows.p.read_logarithms(), rows.q.read_logarithms(); }
  template <class F>
  void add(const F& f, Pair<A>& rows, int64_t first, int64_t n) {
    constexpr int width = Pack<A>::width;
    alignas(64) A exponents[kBlock];
    Pack<A> top = reference;
    rows.template fold<F>(
        first, n,
        [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
            __attribute__((always_inline)) {
              each_pack(packs, whole, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
                const Pack<A> x = f.exponent(p.at(i, w), q.at(i, w));
                top = select(x > top, x, top);
                store(exponents + i * width, x);
              });
            });
    const Pack<A> old = reference, most(Format<A>::largest);
    if (move_up(rows.group, select(top > most, most, top), reference))
      value.scale(exp(old - reference));
    FourWay<A> sum;
    const int64_t packs = rows.group.template packs<A>(n);
    each_pack(packs, packs, [&](int64_t i, int k, auto) __attribute__((always_inline)) {
      sum.add(k, exp(load<A>(exponents + i * width) - reference));
    });
    value.add(sum);
  }
  template <class Save>
  TI_LANE void save(OutcomesOfRange& out, Save save) const {
    save(out.value, value), save(out.d_lp, reference);
  }
  void save(PartOfRow& to) const {
    to.value = value.all().total(), to.d_lp = double(reference.v[0]);
  }
  static void merge(const PartOfRow* parts, int64_t n, OutcomesOfRange& out) {
    out.value[0] = 0, out.d_lp[0] = parts[0].d_lp;
    for (int64_t i = 1; i < n; ++i)
      if (parts[i].d_lp > out.d_lp[0]) out.d_lp[0] = parts[i].d_lp;
    for (int64_t i = 0; i < n; ++i)
      out.value[0] += parts[i].value * ::exp(parts[i].d_lp - out.d_lp[0]);
  }
  template <class F>
  TI_LANE static void finish(const F& f, OutcomesOfRange& out, int64_t j) {
    const auto at = [&](const double* x) { return load<double>(x + j); };
    const Pack<double> log_sum = at(out.d_lp) + log(at(out.value));
    store(out.value + j, f.value(log_sum, log(at(out.p_sum))));
    store(out.d_lp + j, log_sum), store(out.d_lq + j, log_sum);
  }
};
template <class F, class A>
using SumsOfTerms = std::conditional_t<is_log_sum<F>, ExponentSums<A>, TermSums<A>>;

}  // namespace
}  // namespace torch_infotheory
