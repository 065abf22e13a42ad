// values.inl -- the values of rows, and what backward needs of them: normalisers and totals of
// d / d log.
//
// Knows sources and the names of a formula's parts; must not know any formula by name, tensors,
// threads, or torch. Read first: reduce.inl; next: gradient.inl.
#pragma once
#include "cpu/picks.inl"
#include "cpu/teams.inl"

namespace torch_infotheory {
namespace {

// What is kept of a team's rows.
template <class F, class A>
void keep(const Rows& r, const Cursor& at, int64_t n, const Results<A>& x) {
  const double* const kept[] = {x.zp.z, x.d_lp, x.zq.z, x.d_lq};
  for (int i = 0; r.saved && i < 2 * F::arity; ++i) {
    double* to = r.saved + i * r.rows + at.row;
    for (int64_t j = 0; j < n; ++j) to[j] = kept[i][j];
  }
  if (r.row_values) {
    for (int64_t j = 0; j < n; ++j) r.row_values[at.row + j] = x.value[j];
  } else {
    double scaled[Results<A>::width];
    for (int64_t j = 0; j < n; ++j) scaled[j] = x.value[j] * r.scale;
    store_numbers(r.value, at.value, row_stride(r, r.value), scaled, n);
  }
}

// The peaks of labels, which the reduction has not seen.
template <class F, class A>
void add_peaks(Reduction<F, A>& team, const Labels<A>& labels) {
  const bool logits = team.rows.q.is_logits();
  labels.each(team.rows.team, logits, team.out.zq,
              [&](auto v, int i, const auto& q) __attribute__((always_inline)) {
                using V = decltype(v);
                const Prob<V> p{lanes_at(v, labels.peak + i), V(0)};
                put(team.out.value + i, lanes_at(v, team.out.value + i) + F::term(p, q));
                put(team.out.d_lq + i, lanes_at(v, team.out.d_lq + i) + F::d_lq(p, q));
              });
}

// What is left to do once a team's rows are reduced.
template <class F, class A>
struct Finish {
  Rows& r;
  Labels<A> labels;
  Reduction<F, double> small;

  explicit Finish(Rows& rows) : r(rows), small(rows, false, nullptr, nullptr) {}
  void operator()(Reduction<F, A>& team) {
    const int64_t size = team.rows.team.rows;
    labels.read(r, team.at, team.rows);
    if (r.p.kind == kLabels) add_peaks(team, labels);
    for (int64_t j = 0; j < size && !labels.all_count; ++j)
      if (labels.label[j] < 0) team.out.clear(j);
    if constexpr (F::divergence)
      for (int64_t j = 0; j < size && !r.elementwise; ++j)
        if (team.out.value[j] < kSmall<A> &&
            totals_agree(r, team.out.mass_p[j], team.out.mass_q[j], kRoundingOfSums)) {
          Cursor row = team.at;
          row.skip(j);
          reduce_small(small, row);
          team.out.set(j, small.out);
        }
    keep<F>(r, team.at, size, team.out);
  }
};

// One term for each class.
template <class F, class A>
void write_terms(Rows& r, int64_t begin, int64_t end) {
  const Write<A> out = writer<A>(r.value.type);
  const int64_t size = size_of(r.value.type);
  alignas(64) A terms[kBlock];
  Pair<A> row(r, /*lanes_are_rows=*/false, nullptr, nullptr);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    row.move_to(at, end);
    char* to = static_cast<char*>(const_cast<void*>(r.value.data)) + at.value * size;
    row.each_stretch([&](int64_t first, int64_t n) {
      row.template fold<F::arity>(
          first, n,
          [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
              __attribute__((always_inline)) {
                each_pack(packs, whole, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
                  const Prob<Pack<A>> x = p.at(i, w), y = q.at(i, w);
                  const Pack<A> total = x.p + y.p, term = F::term(x, y) * Pack<A>(r.scale);
                  // as in outcome: a NaN must show
                  store(terms + i * Pack<A>::width, select(total == total, term, Pack<A>(NAN)));
                });
              });
      out(terms, to + first * r.value.class_stride * size,
          Walk::along_classes(r.value.class_stride, n, Pack<A>::width));
    });
  }
}

template <class F, class A>
void forward_segments(Rows& r, int64_t begin, int64_t end) {
  Reduction<F, A> team(r, false, nullptr, nullptr);
  const auto each = [&](int64_t row, int64_t first, int64_t last, auto take) {
    team.move_to(Cursor(r, row), row + 1);
    if (r.stage != Stage::kMoments) team.merge(r.parts + row * r.segments(), r.segments());
    each_stretch(last - first, kBlock, [&](int64_t from, int64_t n) { take(first + from, n); });
  };
  if (r.stage == Stage::kMoments)
    each_segment(r, begin, end, [&](int64_t row, int64_t unit, int64_t first, int64_t last) {
      each(row, first, last, [&](int64_t from, int64_t n) { team.take(from, n); });
      team.store_moments(r.parts[unit]);
    });
  if constexpr (!F::linear)
    if (r.stage == Stage::kTerms)
      each_segment(r, begin, end, [&](int64_t row, int64_t unit, int64_t first, int64_t last) {
        each(row, first, last, [&](int64_t from, int64_t n) { team.take_terms(from, n); });
        team.store_terms(r.parts[unit]);
      });
  if (r.stage != Stage::kFinish) return;
  Finish<F, A> finish(r);
  for (int64_t row = begin; row < end; ++row) {
    each(row, 0, 0, [](int64_t, int64_t) {});
    team.add_terms(r.parts + row * r.segments(), r.segments());
    finish(team);
  }
}

template <class F, class A>
void forward_rows(Rows& r, int64_t begin, int64_t end) {
  Room<A> room;
  Teams<Reduction<F, A>> teams(r, Team::pays(r), room.p.of, room.q.of);
  Finish<F, A> finish(r);
  for (Cursor at(r, begin); at.row < end;) {
    const int n = teams.move_to(at, end);
    reduce(teams.of, n);
    for (int i = 0; i < n; ++i) finish(teams.of[i]);
  }
}

}  // namespace
}  // namespace torch_infotheory
