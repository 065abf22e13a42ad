// reduce.inl -- from the classes of a team's rows to their values and totals, for every formula.
//
// Linear formulas read a row once: moments relative to a moving reference, corrected when the
// reference moves and once more when the normalisers are known. Other formulas read it again for
// the terms. Where a divergence comes out small, its row is read again in double by the formula's
// centred term.
//
// Knows sources and the names score, term, slope_p, d_lq, centred; must not know any formula by
// name, tensors, threads, or torch. Read next: rows.inl.
#pragma once
#include "cpu/sums.inl"

namespace torch_infotheory {
namespace {

// One double or a pack of them, by the type of the first argument or of the value.
TI_LANE double lanes_at(double, const double* x) { return *x; }
TI_LANE Pack<double> lanes_at(Pack<double>, const double* x) { return load<double>(x); }
TI_LANE void put(double* to, double x) { *to = x; }
TI_LANE void put(double* to, Pack<double> x) { store(to, x); }

// What comes of a row. V holds a row, or several: the arithmetic is the same.
template <class V>
struct Outcome {
  V value, zp, zq, d_lp, d_lq;
  V rest_p, rest_q;  // of the normalisers
  V mass_p, mass_q;  // the totals that p and q state; 1 for logits
};

// a + b - sum, exactly.                                     Knuth, The Art of Computer Programming,
// volume 2, theorem 4.2.2B.
template <class V>
TI_LANE V rest_of(V a, V b, V sum) {
  const V of_b = sum - a;
  return (a - (sum - of_b)) + (b - of_b);
}

// The sums of a row or of several.
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
  if constexpr (F::linear) {
    const V value = (s.value + times0(s.p, F::score(-log_p, -log_q))) / (p_logits ? s.p : one);
    // A NaN must show even where its factor is 0.
    out.value = select(s.p + s.q == s.p + s.q, value, V(NAN));
    out.d_lp = value + out.mass_p * F::score(V(1), V(0));
    out.d_lq = out.mass_p * F::score(V(0), V(1));
  }
  return out;
}

// Outcomes of a team, row by row.
template <class A>
struct Results {
  static constexpr int width = Pack<A>::width;
  Normalisers<A> zp, zq;
  double value[width], d_lp[width], d_lq[width], mass_p[width], mass_q[width];
  // From row j on, as many as V holds.
  template <class V>
  TI_LANE void set(int64_t j, const Outcome<V>& x) {
    put(value + j, x.value);
    put(zp.z + j, x.zp), put(zp.rest + j, x.rest_p);
    put(zq.z + j, x.zq), put(zq.rest + j, x.rest_q);
    put(d_lp + j, x.d_lp), put(d_lq + j, x.d_lq);
    put(mass_p + j, x.mass_p), put(mass_q + j, x.mass_q);
  }
  void clear(int64_t j) { value[j] = zp.z[j] = zq.z[j] = d_lp[j] = d_lq[j] = 0; }
  // Row j: the first of another team.
  template <class B>
  void set(int64_t j, const Results<B>& x) {
    value[j] = x.value[0], zp.z[j] = x.zp.z[0], zq.z[j] = x.zq.z[0];
    d_lp[j] = x.d_lp[0], d_lq[j] = x.d_lq[0];
  }
};

// visit(V(), i) for the rows of a team: for the one row that was dealt to the lanes as double, or
// for as many as a pack of double holds from row i on.
template <class A, class Visit>
TI_LANE void each_of_team(const Team& team, Visit visit) {
  constexpr int step = Pack<double>::width;
  if (!team.lanes_are_rows) return visit(double(), 0);
  for (int i = 0; i < Pack<A>::width; i += step) visit(Pack<double>(0), i);
}
// What visit gets of a sum, and of a pack.
template <class A>
TI_LANE double lanes_of(double, const Wide<A>& x, int) {
  return x.total();
}
template <class A>
TI_LANE Pack<double> lanes_of(Pack<double>, const Wide<A>& x, int i) {
  return x.part[i / Pack<double>::width];
}
template <class A>
TI_LANE double reference_of(double, Pack<A> x, int) {
  return double(x.v[0]);  // one reference for all lanes
}
template <class A>
TI_LANE Pack<double> reference_of(Pack<double>, Pack<A> x, int i) {
  return Wide<A>(x).part[i / Pack<double>::width];
}

// A team's rows on the way to their outcomes.
template <class F, class A>
struct Reduction {
  Pair<A> rows;
  Cursor at;
  Sums<A> sums;
  Results<A> out;

  Reduction(const Rows& r, bool lanes_are_rows, A* tile_p, A* tile_q)
      : rows(r, lanes_are_rows, tile_p, tile_q), at(r, 0) {}

  void move_to(const Cursor& to, int64_t end) {
    at = to;
    sums = Sums<A>();
    rows.move_to(at, end);
  }
  // The first reading.
  void take(int64_t first, int64_t n) {
    const Pack<A> dp = rows.p.raise(rows.team, first, n),
                  dq = F::arity == 2 ? rows.q.raise(rows.team, first, n) : Pack<A>(0);
    if (first > 0 && (any(dp < Pack<A>(0), dp) || any(dq < Pack<A>(0), dq)))
      move_references<F>(sums, dp, dq);
    add_moments(first, n);
    sums.count_block();
  }
  void normalise() {
    const Wide<A> p = sums.p.all(), q = sums.q.all(), value = sums.value.all();
    each_of_team<A>(rows.team, [&](auto v, int i) __attribute__((always_inline)) {
      set_outcome(i, Moments<decltype(v)>{lanes_of(v, p, i), lanes_of(v, q, i),
                                          lanes_of(v, value, i), reference_of(v, rows.p.high, i),
                                          reference_of(v, rows.q.high, i)});
    });
    go_on();
  }
  // The second reading, where the first was not enough.
  void take_terms(int64_t first, int64_t n) {
    fold_terms<F>(rows, first, n, sums);
    sums.count_block();
  }
  void finish() {
    if constexpr (!F::linear) {
      const Wide<A> value = sums.value.all(), d_lp = sums.d_lp.all(), d_lq = sums.d_lq.all();
      each_of_team<A>(rows.team, [&](auto v, int i) __attribute__((always_inline)) {
        set_terms(i, lanes_of(v, value, i), lanes_of(v, d_lp, i), lanes_of(v, d_lq, i));
      });
    }
  }

  // ---- the same for a row that was cut: what is known of a part of it, and of all parts
  void store_moments(Part& to) const {
    to.high_p = double(rows.p.high.v[0]), to.high_q = double(rows.q.high.v[0]);
    to.p = sums.p.all().total(), to.q = sums.q.all().total(), to.value = sums.value.all().total();
  }
  void store_terms(Part& to) const {
    to.value = sums.value.all().total();
    to.d_lp = sums.d_lp.all().total(), to.d_lq = sums.d_lq.all().total();
  }
  void merge(const Part* parts, int64_t n) {
    Moments<double> all{0, 0, 0, parts[0].high_p, parts[0].high_q};
    for (int64_t i = 1; i < n; ++i) {
      all.high_p = parts[i].high_p > all.high_p ? parts[i].high_p : all.high_p;
      all.high_q = parts[i].high_q > all.high_q ? parts[i].high_q : all.high_q;
    }
    for (int64_t i = 0; i < n; ++i) {
      const Part& x = parts[i];
      const double dp = x.high_p - all.high_p, dq = x.high_q - all.high_q, by_p = exp(dp);
      all.p += x.p * by_p;
      all.q += x.q * exp(dq);
      if constexpr (F::linear) all.value += times0(by_p, x.value + x.p * F::score(dp, dq));
    }
    set_outcome(0, all);
    go_on();
  }
  void add_terms(const Part* parts, int64_t n) {
    if constexpr (!F::linear) {
      Part all{};
      for (int64_t i = 0; i < n; ++i)
        all.value += parts[i].value, all.d_lp += parts[i].d_lp, all.d_lq += parts[i].d_lq;
      set_terms(0, all.value, all.d_lp, all.d_lq);
    }
  }

 private:
  // The masses and, where the value can be summed before they are known, its terms.
  void add_moments(int64_t first, int64_t n) {
    if constexpr (F::linear)
      if (rows.target.dense) return fold_moments<F>(rows, first, n, sums);
    Block<A> scratch;
    sums.p.now = sums.p.now + rows.p.mass_of_block(rows.team, first, n, scratch);
    if constexpr (F::arity == 2)
      sums.q.now = sums.q.now + rows.q.mass_of_block(rows.team, first, n, scratch);
  }
  template <class V>
  TI_LANE void set_outcome(int i, const Moments<V>& m) {
    out.set(i, outcome<F>(m, rows.p.is_logits(), F::arity == 2 && rows.q.is_logits()));
  }
  template <class V>
  TI_LANE void set_terms(int i, V value, V d_lp, V d_lq) {
    const V mass = lanes_at(value, out.mass_p + i) + lanes_at(value, out.mass_q + i);
    put(out.value + i, select(mass == mass, value, V(NAN)));
    put(out.d_lp + i, d_lp);
    put(out.d_lq + i, d_lq);
  }
  // To the second reading.
  void go_on() {
    if (F::linear) return;
    rows.normalise(out.zp, out.zq);
    sums = Sums<A>();
  }
};

// All readings of teams that lie side by side, in step: so that their classes, far apart in memory,
// are fetched together.
template <class F, class A>
void reduce(Reduction<F, A>* teams, int n) {
  const auto each = [&](auto take) __attribute__((always_inline)) {
    teams->rows.each_stretch([&](int64_t first, int64_t classes) {
      for (int i = 0; i < n; ++i) take(teams[i], first, classes);
    });
  };
  each([](Reduction<F, A>& t, int64_t first, int64_t classes) { t.take(first, classes); });
  for (int i = 0; i < n; ++i) teams[i].normalise();
  if constexpr (!F::linear)
    each([](Reduction<F, A>& t, int64_t first, int64_t classes) { t.take_terms(first, classes); });
  for (int i = 0; i < n; ++i) teams[i].finish();
}

// The row at `at`, in double and by the centred term.
template <class F>
void reduce_small(Reduction<F, double>& row, const Cursor& at) {
  row.move_to(at, at.row + 1);
  reduce(&row, 1);
  if (!totals_agree(row.rows.r, row.out.mass_p[0], row.out.mass_q[0], 0)) return;
  Sums<double> sums;
  row.rows.normalise(row.out.zp, row.out.zq);
  row.rows.each_stretch([&](int64_t first, int64_t n) {
    fold_centred<F>(row.rows, first, n, sums);
    sums.count_block();
  });
  row.out.value[0] = sums.value.all().total();
}

}  // namespace
}  // namespace torch_infotheory
