// values.inl -- the values of rows, and what backward needs of them: normalizers and totals of
// d / d log.
//
// Knows sources and the names of a formula's parts; must not know any formula by name, tensors,
// threads, or torch. Read first: reduce.inl; next: gradient.inl.
#pragma once
#include "cpu/labels.inl"
#include "cpu/teams.inl"

namespace torch_infotheory {
namespace {

// The total of some rows from `row` on, added to the sum that they belong to.
inline void add_to_sum(const Rows& r, double* sums, int64_t row, double total) {
  double& sum = sums[row / r.rows_per_sum];
  sum = row % r.rows_per_sum ? sum + total : total;
}
// Numbers of n rows; several side by side, for one sum alone would wait for each addition.
inline void add_up(const Rows& r, double* sums, int64_t row, const double* numbers, int64_t n) {
  constexpr int64_t at_once = 8;
  double part[at_once] = {};
  int64_t j = 0;
  for (; j + at_once <= n; j += at_once)
    for (int64_t k = 0; k < at_once; ++k) part[k] += numbers[j + k];
  for (int64_t k = 0; j + k < n; ++k) part[k] += numbers[j + k];
  add_to_sum(r, sums, row,
             across<double, at_once>(
                 part, [](auto x, auto y) __attribute__((always_inline)) { return x + y; }));
}
// The values of a run's rows, in the unit asked for.
inline void store_values(const Rows& r, const Run& run, double* value) {
  for (int64_t j = 0; j < run.n; ++j) value[j] *= r.scale;
  store_numbers(r.value, run.at.value, row_stride(r, r.value), value, run.n);
}
// What is kept of a run's rows.
template <class F>
void keep(const Rows& r, const Run& run, Results& x, const double* weight) {
  const double* const saved[] = {x.high_p, x.log_p, x.d_lp, x.high_q, x.log_q, x.d_lq};
  const int64_t bytes = run.n * sizeof(double);
  for (int i = 0; r.saved && i < kSavedNumbers * F::arity; ++i)
    __builtin_memcpy(r.saved + i * r.rows + run.at.row, saved[i], bytes);
  if (!r.row_values) return store_values(r, run, x.value);
  add_up(r, r.row_values, run.at.row, x.value, run.n);
  if (r.row_weights) add_up(r, r.row_weights, run.at.row, weight, run.n);
}

// The peaks of labels, which no reduction has seen.
template <class F>
void add_peaks(const Labels& labels, double kept, bool logits, Results& out) {
  using V = Pack<double>;
  labels.each(kept, logits, {out.high_q, out.log_q},
              [&](int64_t j, const Prob<V>& p, const Prob<V>& q) __attribute__((always_inline)) {
                store(out.value + j, load<double>(out.value + j) + F::term(p, q));
                store(out.d_lq + j, load<double>(out.d_lq + j) + F::d_lq(p, q));
              });
  if (!labels.all_count) out.clear_where_zero(labels.counting, labels.n);
}

// visit(team) for teams of a run with a row of `small`, where they are.
template <class R, class Visit>
void each_team_with(const bool* small, const Run& run, R& rows, Visit visit) {
  using A = typename R::Lane;
  Team& team = rows.rows.team;
  for (int64_t first = 0; first < run.n; first += team.rows) {
    team.template take<A>(run.n - first);
    bool any_of_team = false;
    for (int64_t j = first; j < first + team.rows; ++j) any_of_team |= small[j];
    if (!any_of_team) continue;
    rows.move_to(run, first);
    visit(first, first + team.rows);
  }
}
// Those of the small rows of a run whose differences are exact; returns whether others are left.
template <class F, class A>
bool mend_near(const Rows& r, const Run& run, Results& out, bool* small) {
  const bool normalized = r.p.kind == kLogits && r.q.kind == kLogits;
  const double curvature = normalized ? formula<F>(r.parameter).curvature() : 0;
  double value[Results::most], difference[Results::most];
  bool near[Run::most], any_near = false, any_left = false;
  for (int64_t j = 0; j < run.n; ++j) {
    // Totals at the edge of their rounding are for double to judge.
    near[j] = small[j] && totals_agree(r, out.mass_p[j], out.mass_q[j], 0, 0.5);
    any_near |= near[j], any_left |= small[j] && !near[j];
  }
  if (!any_near) return any_left;
  Tile<A> p, q;
  Reduction<F, A> rows(r, Team::pays(r), p.of, q.of, &out);
  each_team_with(near, run, rows, [&](int64_t first, int64_t last) {
    rows.take_near(value, difference);
    for (int64_t j = first; j < last; ++j) {
      if (!near[j]) continue;
      // Normalized totals differ by what the normalizers are off; the value feels its square.
      const double off = difference[j], mended = value[j] - curvature * off * off / 2;
      out.value[j] = mended > 0 ? mended : 0;
      if constexpr (F::linear) out.d_lp[j] = out.value[j] + out.mass_p[j] * F::score(1., 0.);
      small[j] = false;
    }
  });
  return any_left;
}
// Gives divergences the totals that the centered term has and theirs has not; and those that are
// small then, anew: from exact differences or in double.
template <class F, class A>
void mend_small(const Rows& r, const Run& run, Results& out) {
  bool small[Run::most], any_small = false;
  const bool has_totals = r.p.kind != kLogits || r.q.kind != kLogits;
  for (int64_t j = 0; j < run.n; ++j) {
    const double p = out.mass_p[j], q = out.mass_q[j];
    if (F::linear && has_totals && totals_agree(r, p, q, 0)) out.value[j] += q - p;
    small[j] = out.value[j] < kSmall<A> && totals_agree(r, p, q, kRoundingOfSums);
    any_small |= small[j];
  }
  if constexpr (sizeof(A) == sizeof(float) && states_near<F>)
    if (any_small && has_near<F>(r)) any_small = mend_near<F, A>(r, run, out, small);
  if (!any_small) return;
  Tile<double> p, q;
  Results exact;
  Reduction<F, double> rows(r, Team::pays(r), p.of, q.of, &exact);
  each_team_with(small, run, rows, [&](int64_t first, int64_t last) {
    reduce_small(rows);
    for (int64_t j = first; j < last; ++j)
      if (small[j]) out.set(j, exact);
  });
}

// What is to do before the classes of a run's rows are read, and once they are.
template <class F, class A>
struct Finish {
  Rows& r;
  const Target<A> target;
  Labels labels;

  explicit Finish(Rows& rows) : r(rows), target(rows) {}
  void begin(const Run& run) { labels.read(r, run, target); }
  void end(const Run& run, Results& out) {
    if constexpr (takes_labels<F>)
      if (r.p.kind == kLabels) {
        labels.look_up(r, run);
        add_peaks<F>(labels, target.smoothing.kept, r.q.kind == kLogits, out);
      }
    if constexpr (F::divergence)
      if (!r.elementwise) mend_small<F, A>(r, run, out);
    keep<F>(r, run, out, labels.weight);
  }
};

// One term for each class.
template <class F, class A>
void write_terms(Rows& r, int64_t begin, int64_t end) {
  const Write<A> out = writer<A>(r.value.type);
  const int64_t size = size_of(r.value.type);
  alignas(64) A terms[kBlock];
  const F f = formula<F>(r.parameter);
  Pair<A> row(r, /*lanes_are_rows=*/false, nullptr, nullptr);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    row.move_to({at, 1}, 0);
    char* to = static_cast<char*>(const_cast<void*>(r.value.data)) + at.value * size;
    row.each_stretch([&](int64_t first, int64_t n) {
      row.template fold<F>(
          first, n,
          [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
              __attribute__((always_inline)) {
                each_pack(packs, whole, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
                  const Prob<Pack<A>> x = p.at(i, w), y = q.at(i, w);
                  const Pack<A> term = f.term(x, y) * Pack<A>(r.scale);
                  store(terms + i * Pack<A>::width, with_nan(term, x.p, y.p));
                });
              });
      out(terms, to + first * r.value.class_stride * size,
          Walk::along_classes(r.value.class_stride, n, Pack<A>::width));
    });
  }
}

template <class F, class A>
void forward_segments(Rows& r, int64_t begin, int64_t end) {
  Results out;
  Reduction<F, A> team(r, false, nullptr, nullptr, &out);
  const auto move_to = [&](const Run& row) {
    team.move_to(row, 0);
    if (r.stage != Stage::kMoments) team.merge(r.parts + row.at.row * r.segments(), r.segments());
  };
  const auto each = [&](auto take, auto store) {
    each_segment(r, begin, end, [&](int64_t row, int64_t unit, int64_t first, int64_t last) {
      move_to({Cursor(r, row), 1});
      each_stretch(last - first, kBlock, [&](int64_t from, int64_t n) { take(first + from, n); });
      store(r.parts[unit]);
    });
  };
  if (r.stage == Stage::kMoments)
    each([&](int64_t first, int64_t n) { team.take(first, n); },
         [&](PartOfRow& part) { team.store_moments(part); });
  if constexpr (!F::linear)
    if (r.stage == Stage::kTerms)
      each([&](int64_t first, int64_t n) { team.take_terms(first, n); },
           [&](PartOfRow& part) { team.store_terms(part); });
  if (r.stage != Stage::kFinish) return;
  Finish<F, A> finish(r);
  for (int64_t row = begin; row < end; ++row) {
    const Cursor at(r, row);
    const Run run{at, 1};
    finish.begin(run);
    move_to(run);
    team.add_terms(r.parts + row * r.segments(), r.segments());
    team.settle(0, 1);
    finish.end(run, out);
  }
}

template <class F, class A>
void forward_rows(Rows& r, int64_t begin, int64_t end) {
  Room<A> room;
  Results out;
  const bool by_rows = Team::pays(r);
  Teams<Reduction<F, A>> teams(r, by_rows, room.p.of, room.q.of, &out);
  Finish<F, A> finish(r);
  each_run(r, begin, end, [&](const Run& run) {
    finish.begin(run);
    for (int64_t j = 0; j < run.n;) {
      if (!by_rows && !finish.labels.counts(j)) {
        out.clear(j++);
        continue;
      }
      const int n = teams.move_to(run, j);
      reduce(teams.of, n);
    }
    teams.of[0].settle(0, run.n);
    finish.end(run, out);
  });
}

}  // namespace
}  // namespace torch_infotheory
