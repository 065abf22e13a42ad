// reduce.inl -- from the classes of a team's rows to their values and totals, for every formula.
//
// Linear formulas read a row once: moments relative to a moving reference, corrected when the
// reference moves and once more when the normalizers are known. Other formulas read it again for
// the terms. Where a divergence comes out small, its row is read again in double by the formula's
// centered term.
//
// Knows sources and the names score, term, slope_p, d_lq, centered; must not know any formula by
// name, tensors, threads, or torch. Read next: values.inl.
#pragma once
#include "cpu/near.inl"
#include "cpu/results.inl"

namespace torch_infotheory {
namespace {

// A team's rows on the way to their outcomes.
template <class F, class A>
struct Reduction {
  using Lane = A;
  Pair<A> rows;
  int64_t at = 0;  // the first of its rows, in the run
  Sums<A> sums;
  Results& out;

  Reduction(const Rows& r, bool lanes_are_rows, A* tile_p, A* tile_q, Results* results)
      : rows(r, lanes_are_rows, tile_p, tile_q), out(*results) {}

  bool has_tiles() const { return rows.has_tiles(); }
  void move_to(const Run& run, int64_t j) {
    at = j;
    sums = Sums<A>();
    rows.move_to(run, j);
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
  void keep_moments() {
    if (rows.target.dense)  // or else these are 0, as the results are to begin with
      put(out.p, sums.p), put(out.sum, sums.value), put(out.high_p, rows.p.high);
    if constexpr (F::arity == 2) put(out.q, sums.q), put(out.high_q, rows.q.high);
    go_on();
  }
  // The second reading, where the first was not enough.
  void take_terms(int64_t first, int64_t n) {
    fold_terms<F>(rows, first, n, sums);
    sums.count_block();
  }
  // A third one, of divergences that came out small; rows from `at` on.
  void take_centered(double* to) {
    sums = Sums<A>();
    rows.normalize({out.high_p + at, out.log_p + at}, {out.high_q + at, out.log_q + at});
    rows.each_stretch([&](int64_t first, int64_t n) {
      fold_centered<F>(rows, first, n, sums);
      sums.count_block();
    });
    put(to, sums.value);
  }
  // The same without double, where has_near; and the sums of p - q.
  void take_near(double* to, double* differences) {
    const auto apart = [](Pack<double> a, Pack<double> b) { return a - b; };
    const auto in_lanes = [&](const double* numbers) {
      return of_rows<A>(rows.team, numbers + at);
    };
    Pack<A> shift_high, shift_low;
    split(map(apart, in_lanes(out.high_p), in_lanes(out.high_q)),
          map(apart, in_lanes(out.log_p), in_lanes(out.log_q)), shift_high, shift_low);
    sums = Sums<A>();
    rows.normalize({out.high_p + at, out.log_p + at}, {out.high_q + at, out.log_q + at});
    rows.each_stretch([&](int64_t first, int64_t n) {
      fold_near<F>(rows, first, n, shift_high, shift_low, sums);
      sums.count_block();
    });
    put(to, sums.value), put(differences, sums.p);
  }
  void keep_terms() { put(out.value, sums.value), put(out.d_lp, sums.p), put(out.d_lq, sums.q); }
  // What is known once n rows from row `from` of a run on have been read.
  void settle(int64_t from, int64_t n) {
    if constexpr (F::linear)
      outcomes(from, n);
    else
      out.show_nan(from, n);
  }

  // ---- the same for a row that was cut: what is known of a part of it, and of all parts
  void store_moments(PartOfRow& to) const {
    to.high_p = double(rows.p.high.v[0]), to.high_q = double(rows.q.high.v[0]);
    to.p = sums.p.all().total(), to.q = sums.q.all().total(), to.value = sums.value.all().total();
  }
  void store_terms(PartOfRow& to) const {
    to.value = sums.value.all().total();
    to.d_lp = sums.p.all().total(), to.d_lq = sums.q.all().total();
  }
  void merge(const PartOfRow* parts, int64_t n) {
    Moments<double> all{0, 0, 0, parts[0].high_p, parts[0].high_q};
    for (int64_t i = 1; i < n; ++i) {
      all.high_p = parts[i].high_p > all.high_p ? parts[i].high_p : all.high_p;
      all.high_q = parts[i].high_q > all.high_q ? parts[i].high_q : all.high_q;
    }
    for (int64_t i = 0; i < n; ++i) {
      Moments<double> x{parts[i].p, parts[i].q, parts[i].value, 0, 0};
      shift<F>(x, parts[i].high_p - all.high_p, parts[i].high_q - all.high_q);
      all.p += x.p, all.q += x.q, all.value += x.value;
    }
    out.p[0] = all.p, out.q[0] = all.q, out.sum[0] = all.value;
    out.high_p[0] = all.high_p, out.high_q[0] = all.high_q;
    go_on();
  }
  void add_terms(const PartOfRow* parts, int64_t n) {
    if constexpr (!F::linear) {
      out.value[0] = out.d_lp[0] = out.d_lq[0] = 0;
      for (int64_t i = 0; i < n; ++i) {
        out.value[0] += parts[i].value;
        out.d_lp[0] += parts[i].d_lp, out.d_lq[0] += parts[i].d_lq;
      }
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
  // Into the results: of each lane its own, or of the one row that was dealt to all.
  TI_LANE void put(double* to, const Total<A>& sum) const {
    const Wide<A> all = sum.all();
    if (rows.team.lanes_are_rows)
      all.store_lanes(to + at);
    else
      to[at] = all.total();
  }
  TI_LANE void put(double* to, Pack<A> reference) const {
    if (rows.team.lanes_are_rows)
      Wide<A>(reference).store_lanes(to + at);
    else
      to[at] = double(reference.v[0]);
  }
  void outcomes(int64_t from, int64_t n) {
    out.settle<F>(from, n, rows.p.is_logits(), F::arity == 2 && rows.q.is_logits());
  }
  // To the second reading.
  void go_on() {
    if constexpr (!F::linear) {
      outcomes(at, rows.team.rows);
      rows.normalize({out.high_p + at, out.log_p + at}, {out.high_q + at, out.log_q + at});
      sums = Sums<A>();
    }
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
  for (int i = 0; i < n; ++i) teams[i].keep_moments();
  if constexpr (!F::linear) {
    each([](Reduction<F, A>& t, int64_t first, int64_t classes) { t.take_terms(first, classes); });
    for (int i = 0; i < n; ++i) teams[i].keep_terms();
  }
}

// A team's rows, in double and by the centered term where their totals allow it.
template <class F>
void reduce_small(Reduction<F, double>& team) {
  Results& out = team.out;
  const int64_t at = team.at, n = team.rows.team.rows;
  reduce(&team, 1);
  team.settle(at, n);
  double centered[Results::most];
  team.take_centered(centered);
  for (int64_t j = at; j < at + n; ++j)
    if (totals_agree(team.rows.r, out.mass_p[j], out.mass_q[j], 0)) out.value[j] = centered[j];
}

}  // namespace
}  // namespace torch_infotheory
