// reduce.h -- from the classes of a row group to its moments and outcomes, for every row formula.
//
// Linear formulas read a row once: moments relative to a moving reference, corrected when the
// reference moves and once more when the normalizers are known. Other formulas read it a second
// time, for the terms or for the exponents of a logarithm of a sum. Rows whose divergence is small
// are read again by refine.h.
#pragma once
#include "cpu/rows/near.h"

namespace torch_infotheory {
namespace {

// The reduction of a row group (operand.h): one row, or one row per lane. A is the compute type,
// float or double.
template <class F, class A>
struct Reduction {
  using Lane = A;
  using SumsOfPass = SumsOfTerms<F, A>;
  const F& f;
  Pair<A> rows;
  int64_t at = 0;  // its first row, within the range
  RowSums<A> sums;
  SumsOfPass terms;  // of the second pass
  OutcomesOfRange& out;

  // If the panels are null, rows are read in place.
  Reduction(const Rows& r, const F* formula, bool lanes_are_rows, A* panel_p, A* panel_q,
            OutcomesOfRange* results)
      : f(*formula), rows(r, lanes_are_rows, panel_p, panel_q), out(*results) {}

  bool has_panels() const { return rows.has_panels(); }
  void move_to(const RowRange& range, int64_t j) {
    at = j;
    sums = RowSums<A>();
    rows.move_to(range, j);
  }
  // The first pass.
  void add_block(int64_t first, int64_t n) {
    const Pack<A> dp = rows.p.update_max(rows.group, first, n),
                  dq = F::arity == 2 ? rows.q.update_max(rows.group, first, n) : Pack<A>(0);
    // Before the first block of a row there are no sums to rescale.
    if (first > 0 && (any(dp < Pack<A>(0), dp) || any(dq < Pack<A>(0), dq)))
      move_references<F>(sums, dp, dq);
    add_moments(first, n);
    sums.count_block();
  }
  void finish_first_pass() {
    // Labels add nothing here unless smoothed; add_label_terms adds their own terms later.
    if (rows.target.is_dense)
      save(out.p, sums.p), save(out.sum, sums.value), save(out.high_p, rows.p.high);
    if constexpr (F::arity == 2) save(out.q, sums.q), save(out.high_q, rows.q.high);
    begin_second_pass();
  }
  // The second pass, of formulas that are not linear.
  void add_terms_of_block(int64_t first, int64_t n) {
    terms.add(f, rows, first, n);
    terms.count_block();
  }
  // One more pass, for small divergences: their values as sums of centered terms (core/sources.h).
  // Requires the normalizers in `out`.
  void reduce_centered(double* to) {
    sums = RowSums<A>();
    rows.p.read_probabilities(), rows.q.read_probabilities();
    rows.normalize({out.high_p + at, out.log_p + at}, {out.high_q + at, out.log_q + at});
    rows.each_block([&](int64_t first, int64_t n) {
      fold_centered(f, rows, first, n, sums);
      sums.count_block();
    });
    save(to, sums.value);
  }
  // Like reduce_centered, but from exact differences, so that A may be float; saves the sums of
  // p - q, too. Requires has_near(f, r).
  void reduce_near(double* to, double* differences) {
    const auto subtract = [](Pack<double> a, Pack<double> b) { return a - b; };
    const auto lanes = [&](const double* numbers) { return in_lanes<A>(rows.group, numbers + at); };
    Pack<A> shift_high, shift_low;
    split(map(subtract, lanes(out.high_p), lanes(out.high_q)),
          map(subtract, lanes(out.log_p), lanes(out.log_q)), shift_high, shift_low);
    sums = RowSums<A>();
    rows.normalize({out.high_p + at, out.log_p + at}, {out.high_q + at, out.log_q + at});
    rows.each_block([&](int64_t first, int64_t n) {
      fold_near(f, rows, first, n, shift_high, shift_low, sums);
      sums.count_block();
    });
    save(to, sums.value), save(differences, sums.p);
  }
  void save_terms() {
    terms.save(out, [&](double* to, const auto& lanes)
                        __attribute__((always_inline)) { save(to, lanes); });
  }
  // Computes the outcomes of n rows of the range, starting at row `from`.
  void finalize(int64_t from, int64_t n) {
    if constexpr (F::linear)
      outcomes(from, n);
    else
      out.finish_terms<SumsOfPass>(f, from, n);
  }

  // ---- a row whose segments are reduced by several threads: the sums of a part, and of all parts
  void save_moments(PartOfRow& to) const {
    to.high_p = double(rows.p.high.v[0]), to.high_q = double(rows.q.high.v[0]);
    to.p = sums.p.all().total(), to.q = sums.q.all().total(), to.value = sums.value.all().total();
  }
  void save_terms(PartOfRow& to) const { terms.save(to); }
  void merge(const PartOfRow* parts, int64_t n) {
    Moments<double> all{0, 0, 0, parts[0].high_p, parts[0].high_q};
    for (int64_t i = 1; i < n; ++i) {
      all.high_p = parts[i].high_p > all.high_p ? parts[i].high_p : all.high_p;
      all.high_q = parts[i].high_q > all.high_q ? parts[i].high_q : all.high_q;
    }
    for (int64_t i = 0; i < n; ++i) {
      // For other formulas save_terms may be writing `value` on another thread.
      Moments<double> x{parts[i].p, parts[i].q, F::linear ? parts[i].value : 0, 0, 0};
      shift<F>(x, parts[i].high_p - all.high_p, parts[i].high_q - all.high_q);
      all.p += x.p, all.q += x.q, all.value += x.value;
    }
    out.p[0] = all.p, out.q[0] = all.q, out.sum[0] = all.value;
    out.high_p[0] = all.high_p, out.high_q[0] = all.high_q;
    begin_second_pass();
  }
  void add_terms(const PartOfRow* parts, int64_t n) {
    if constexpr (!F::linear) SumsOfPass::merge(parts, n, out);
  }

 private:
  // The sums of probabilities and, for linear formulas with a dense target, of terms.
  void add_moments(int64_t first, int64_t n) {
    if constexpr (F::linear)
      if (rows.target.is_dense) return fold_moments(f, rows, first, n, sums);
    Block<A> scratch;
    sums.p.now = sums.p.now + rows.p.sum_of_block(rows.group, first, n, scratch);
    if constexpr (F::arity == 2)
      sums.q.now = sums.q.now + rows.q.sum_of_block(rows.group, first, n, scratch);
  }
  // Saves the sum of each lane, or of all lanes where they share a row.
  TI_LANE void save(double* to, const LaneSum<A>& sum) const {
    const InDouble<A> all = sum.all();
    if (rows.group.lanes_are_rows)
      all.store_lanes(to + at);
    else
      to[at] = all.total();
  }
  TI_LANE void save(double* to, Pack<A> reference) const {
    if (rows.group.lanes_are_rows)
      InDouble<A>(reference).store_lanes(to + at);
    else
      to[at] = double(reference.v[0]);
  }
  void outcomes(int64_t from, int64_t n) {
    out.finalize<F>(from, n, rows.p.is_logits(), F::arity == 2 && rows.q.is_logits());
  }
  void begin_second_pass() {
    if constexpr (!F::linear) {
      outcomes(at, rows.group.rows);
      rows.normalize({out.high_p + at, out.log_p + at}, {out.high_q + at, out.log_q + at});
      terms = SumsOfPass();
      SumsOfPass::prepare(rows);
    }
  }
};

// The first and the second pass over n row groups in lockstep, because a class of adjacent rows is
// in one cache line.
template <class F, class A>
void reduce(Reduction<F, A>* groups, int n) {
  const auto each = [&](auto add) __attribute__((always_inline)) {
    groups->rows.each_block([&](int64_t first, int64_t classes) {
      for (int i = 0; i < n; ++i) add(groups[i], first, classes);
    });
  };
  each([](Reduction<F, A>& group, int64_t first, int64_t classes) {
    group.add_block(first, classes);
  });
  for (int i = 0; i < n; ++i) groups[i].finish_first_pass();
  if constexpr (!F::linear) {
    each([](Reduction<F, A>& group, int64_t first, int64_t classes) {
      group.add_terms_of_block(first, classes);
    });
    for (int i = 0; i < n; ++i) groups[i].save_terms();
  }
}

}  // namespace
}  // namespace torch_infotheory
