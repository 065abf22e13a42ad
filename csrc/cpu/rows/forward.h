// forward.h -- the values of rows, and the normalizers and totals that are saved for backward.
#pragma once
#include "cpu/rows/labels.h"
#include "cpu/rows/refine.h"

namespace torch_infotheory {
namespace {

// Saves what backward needs of a range of rows. Stores their values or, where rows are reduced,
// adds them to the sums that they belong to.
template <class F>
void save_outcomes(const Rows& r, const RowRange& range, OutcomesOfRange& x, const double* weight) {
  // Logits are normalized; for others the total takes the place of the normalizer.
  if constexpr (is_log_sum<F>)
    if (r.p.kind != kLogits)
      OutcomesOfRange::each_pack_of_rows(0, range.n, [&](int64_t j) __attribute__((always_inline)) {
        store(x.log_p + j, log(load<double>(x.p_sum + j)));
      });
  // In the order of `Saved`, for p and for q.
  const double* const saved[] = {x.high_p, x.log_p, x.d_lp, x.high_q, x.log_q, x.d_lq};
  const int64_t bytes = range.n * sizeof(double);
  for (int i = 0; r.saved && i < kSavedNumbers * F::arity; ++i)
    __builtin_memcpy(r.saved + i * r.rows + range.at.row, saved[i], bytes);
  if (!r.row_values) return store_values(r, range, x.value);
  add_up(r, r.row_values, range.at.row, x.value, range.n);
  if (r.row_weights) add_up(r, r.row_weights, range.at.row, weight, range.n);
}

// Adds the terms of the labels, which the reduction over classes leaves out.
template <class F>
void add_label_terms(const Labels& labels, double kept, bool logits, OutcomesOfRange& out) {
  using V = Pack<double>;
  labels.each(kept, logits, {out.high_q, out.log_q},
              [&](int64_t j, const Prob<V>& p, const Prob<V>& q) __attribute__((always_inline)) {
                store(out.value + j, load<double>(out.value + j) + F::term(p, q));
                store(out.d_lq + j, load<double>(out.d_lq + j) + F::d_lq(p, q));
              });
  if (!labels.all_count) out.clear_where_zero(labels.counting, labels.n);
}

// The work of a range of rows besides its reduction: labels are read before it; the terms of
// labels, refinement of small divergences and outputs come after it.
template <class F, class A>
struct RangeWork {
  Rows& r;
  const F f;
  const Target<A> target;
  Labels labels;

  explicit RangeWork(Rows& rows) : r(rows), f(formula<F>(rows.parameter)), target(rows) {}
  void begin(const RowRange& range) { labels.read(r, range, target); }
  void end(const RowRange& range, OutcomesOfRange& out) {
    if constexpr (takes_labels<F>)
      if (r.p.kind == kLabels) {
        labels.look_up(r, range);
        add_label_terms<F>(labels, target.smoothing.kept, r.q.kind == kLogits, out);
      }
    if constexpr (F::divergence)
      if (!r.elementwise) refine_small<F, A>(f, r, range, out);
    save_outcomes<F>(r, range, out, labels.weight);
  }
};

// The values of pointwise calls (core/rows.h), one for each class. Nothing is normalized or saved.
template <class F, class A>
void write_terms(Rows& r, int64_t begin, int64_t end) {
  const Write<A> out = writer<A>(r.value.type);
  const int64_t size = size_of(r.value.type);
  alignas(64) A terms[kBlock];
  const F f = formula<F>(r.parameter);
  Pair<A> row(r, /*lanes_are_rows=*/false, nullptr, nullptr);
  for (RowIterator at(r, begin); at.row < end; at.next()) {
    row.move_to({at, 1}, 0);
    char* to = static_cast<char*>(const_cast<void*>(r.value.data)) + at.value * size;
    row.each_block([&](int64_t first, int64_t n) {
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
          AccessPattern::along_classes(r.value.class_stride, n, Pack<A>::width));
    });
  }
}

// One stage of few long rows. Units [begin, end) are segments in the first two stages and rows in
// the last one.
template <class F, class A>
void forward_segments(Rows& r, int64_t begin, int64_t end) {
  OutcomesOfRange out;
  RangeWork<F, A> work(r);
  Reduction<F, A> group(r, &work.f, false, nullptr, nullptr, &out);
  const auto move_to = [&](const RowRange& row) {
    group.move_to(row, 0);
    // After the first stage every unit merges all parts of its row again, which is cheap.
    if (r.stage != Stage::kMoments) group.merge(r.parts + row.at.row * r.segments(), r.segments());
  };
  const auto each = [&](auto add, auto save) {
    each_segment(r, begin, end, [&](int64_t row, int64_t unit, int64_t first, int64_t last) {
      move_to({RowIterator(r, row), 1});
      each_block(last - first, kBlock, [&](int64_t from, int64_t n) { add(first + from, n); });
      save(r.parts[unit]);
    });
  };
  if (r.stage == Stage::kMoments)
    each([&](int64_t first, int64_t n) { group.add_block(first, n); },
         [&](PartOfRow& part) { group.save_moments(part); });
  if constexpr (!F::linear)
    if (r.stage == Stage::kTerms)
      each([&](int64_t first, int64_t n) { group.add_terms_of_block(first, n); },
           [&](PartOfRow& part) { group.save_terms(part); });
  if (r.stage != Stage::kFinish) return;
  for (int64_t row = begin; row < end; ++row) {
    const RowIterator at(r, row);
    const RowRange range{at, 1};
    work.begin(range);
    move_to(range);
    group.add_terms(r.parts + row * r.segments(), r.segments());
    group.finalize(0, 1);
    work.end(range, out);
  }
}

// Rows that are neither cut nor gathered nor pointwise; sums of elementwise values, too.
template <class F, class A>
void forward_rows(Rows& r, int64_t begin, int64_t end) {
  Workspace<A> panels;
  OutcomesOfRange out;
  const bool by_rows = RowGroup::prefers_rows(r);
  RangeWork<F, A> work(r);
  RowGroups<Reduction<F, A>> groups(r, &work.f, by_rows, panels.p.data, panels.q.data, &out);
  each_range(r, begin, end, [&](const RowRange& range) {
    work.begin(range);
    for (int64_t j = 0; j < range.n;) {
      // With a row per lane, ignored rows are reduced with the others; work.end clears them.
      if (!by_rows && !work.labels.counts(j)) {
        out.clear(j++);
        continue;
      }
      const int n = groups.move_to(range, j);
      reduce(groups.group, n);
    }
    groups.group[0].finalize(0, range.n);
    work.end(range, out);
  });
}

}  // namespace
}  // namespace torch_infotheory
