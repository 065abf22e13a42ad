// labels.h -- the class indices of a range of rows, and the term of each label, which is read and
// written on its own.
//
// Which rows are ignored is unpredictable, so that nothing here branches on it.
#pragma once
#include "cpu/rows/outputs.h"
#include "cpu/rows/pair.h"

namespace torch_infotheory {
namespace {

// Only formulas linear in p accept labels.
template <class F>
constexpr bool takes_labels = F::linear && F::arity == 2;

// The labels of a pack of rows. A row that does not count has class 0.
struct LabelsOfRows {
  Indices place, counts;  // `counts`: all bits, or none
  TI_LANE Pack<double> masked(Pack<double> x) const { return number(bits(x) & counts, x); }
};
// x[0], x[stride], ... in the first lanes, `fill` in the others.
template <class T>
TI_LANE Indices load_indices(const T* x, int64_t stride, int64_t n, int64_t fill) {
  constexpr int width = Pack<double>::width;
  if (stride == 1 && n >= width) return __builtin_convertvector((load_raw<T, width>(x)), Indices);
  Indices some = Indices{} + fill;
  for (int64_t k = 0; k < width && k < n; ++k) some[k] = x[k * stride];
  return some;
}
// Notes one of the labels that are out of range.
inline void note_bad(Rows& r, const RowRange& range) {
  for (int64_t j = 0; j < range.n; ++j) {
    const int64_t c = label_at(r.p, range.at.p + j * row_stride(r, r.p));
    if (!ClassIndex<int64_t>(c, r.classes, r.ignore_index).bad) continue;
    __atomic_store_n(&r.bad_label, c, __ATOMIC_RELAXED);
    __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
  }
}
// Calls visit(j, labels of the pack of rows from j on) for a range. Rows past its end do not count.
template <class T, class Visit>
TI_LANE void each_labels(Rows& r, const RowRange& range, const T* labels, Visit visit) {
  const int64_t n = range.n, step = row_stride(r, r.p), classes = r.classes,
                ignored = r.ignore_index;
  const T* x = labels + range.at.p;
  Indices bad{};
  for (int64_t j = 0; j < n; j += Pack<double>::width) {
    const Indices c = load_indices(x + j * step, step, n - j, ignored);
    const ClassIndex<Indices> index(c, classes, ignored);
    bad |= index.bad;
    visit(j, LabelsOfRows{c & index.counts, index.counts});
  }
  if (any(bad, Pack<double>())) note_bad(r, range);
}

// The labels of a range of rows, and log q at each of them. A row that does not count has class 0
// and weight 0; without labels, all rows count.
struct Labels {
  static constexpr int step = Pack<double>::width;
  int64_t n = 0, label[RowRange::most];
  double log_q[RowRange::most], weight[RowRange::most];
  double counting[RowRange::most];  // 1, or 0 for a row that does not count
  bool all_count = true, any_counts = true;

  template <class A>
  void read(Rows& r, const RowRange& range, const Target<A>& target) {
    if (r.p.kind != kLabels) return;
    n = range.n;
    Pack<double> rows(0);
    with_labels(r.p, [&](const auto* x) __attribute__((always_inline)) {
      each_labels(r, range, x,
                  [&](int64_t j, const LabelsOfRows& y) __attribute__((always_inline)) {
                    const Pack<double> one = y.masked(Pack<double>(1));
                    rows = rows + one;
                    store(counting + j, one);
                    store(weight + j, y.masked(target.weights_of(y.place)));
                    __builtin_memcpy(label + j, &y.place, sizeof y.place);
                  });
    });
    const double counted = sum(rows);
    all_count = counted == n, any_counts = counted > 0;
  }
  bool counts(int64_t j) const { return all_count || counting[j] != 0; }
  // Gathers log q at the labels; for logits, the logits, divided by the temperature.
  void look_up(const Rows& r, const RowRange& range) {
    if (!any_counts) __builtin_memset(log_q, 0, sizeof log_q);
    if (!any_counts) return;
    const int64_t lines = row_stride(r, r.q);
    load_numbers(
        r.q, n, [&](int64_t j) { return range.at.q + j * lines + label[j] * r.q.class_stride; },
        log_q);
    if (r.q.temperature != 1)
      for (int64_t j = 0; j < n; ++j) log_q[j] = tempered(log_q[j], r.q);
    if (!all_count) clear_where_zero(log_q, counting, n);
  }
  // As look_up, but reads no class outside [first, last), for which log_q is any number.
  void look_up_within(const Rows& r, const RowRange& range, int64_t first, int64_t last) {
    if (r.p.kind != kLabels) return;
    if (last - first < r.classes && (label[0] < first || label[0] >= last))
      log_q[0] = 0;  // parts of rows are visited one row at a time
    else
      look_up(r, range);
  }
  // Calls visit(j, p, q) for packs of rows [j, j + step): p is `times` the weight and q that of the
  // label. `zq` has the normalizers of logits.
  template <class Visit>
  TI_LANE void each(double times, bool logits, const Normalizers& zq, Visit visit) const {
    using V = Pack<double>;
    for (int64_t j = 0; j < n; j += step) {
      V log = load<double>(log_q + j);
      if (logits) log = (log - load<double>(zq.high + j)) - load<double>(zq.log + j);
      visit(j, Prob<V>{load<double>(weight + j) * V(times), V(0)}, Prob<V>{exp(log), log});
    }
  }
  // Calls visit(j, label) for labels in [first, last) of `classes`, rows that do not count
  // included.
  template <class Visit>
  TI_LANE void each_within(int64_t first, int64_t last, int64_t classes, Visit visit) const {
    if (!any_counts) return;
    if (last - first == classes)
      for (int64_t j = 0; j < n; ++j) visit(j, label[j]);
    else
      for (int64_t j = 0; j < n; ++j)
        if (label[j] >= first && label[j] < last) visit(j, label[j]);
  }
};

}  // namespace
}  // namespace torch_infotheory
