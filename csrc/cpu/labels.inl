// labels.inl -- what the class indices of a run's rows contribute: a peak in p, read and written
// alone.
//
// Which rows are ignored cannot be foreseen, so nothing here branches on it. Knows sources; must
// not know any formula by name, tensors, threads, or torch. Read next: values.inl, picks.inl.
#pragma once
#include "cpu/reduce.inl"

namespace torch_infotheory {
namespace {

// Only formulas linear in p are given labels.
template <class F>
constexpr bool takes_labels = F::linear && F::arity == 2;

// The labels of as many rows as there are lanes of doubles. A row that does not count has class 0.
struct LabelsOfRows {
  Indices place, counts;  // `counts`: all bits, or none
  TI_LANE Pack<double> kept(Pack<double> x) const { return number(bits(x) & counts, x); }
};
// Numbers x[0], x[stride], ... in the first lanes, `rest` in the others.
template <class T>
TI_LANE Indices load_indices(const T* x, int64_t stride, int64_t n, int64_t rest) {
  constexpr int width = Pack<double>::width;
  if (stride == 1 && n >= width) return __builtin_convertvector((load_raw<T, width>(x)), Indices);
  Indices some = Indices{} + rest;
  for (int64_t k = 0; k < width && k < n; ++k) some[k] = x[k * stride];
  return some;
}
// One label out of range, any of them.
inline void note_bad(Rows& r, const Run& run) {
  for (int64_t j = 0; j < run.n; ++j) {
    const int64_t c = label_at(r.p, run.at.p + j * row_stride(r, r.p));
    if (!ClassIndex<int64_t>(c, r.classes, r.ignore_index).bad) continue;
    __atomic_store_n(&r.bad_label, c, __ATOMIC_RELAXED);
    __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
  }
}
// visit(j, labels of rows from j on) over a run. Rows behind its last do not count.
template <class T, class Visit>
TI_LANE void each_labels(Rows& r, const Run& run, const T* labels, Visit visit) {
  const int64_t n = run.n, step = row_stride(r, r.p), classes = r.classes, ignored = r.ignore_index;
  const T* x = labels + run.at.p;
  Indices bad{};
  for (int64_t j = 0; j < n; j += Pack<double>::width) {
    const Indices c = load_indices(x + j * step, step, n - j, ignored);
    const ClassIndex<Indices> index(c, classes, ignored);
    bad |= index.bad;
    visit(j, LabelsOfRows{c & index.counts, index.counts});
  }
  if (any(bad, Pack<double>())) note_bad(r, run);
}

// The labels of a run's rows, and log q at each of them. A row that does not count has class 0,
// with weight 0; without labels, all rows count.
struct Labels {
  static constexpr int step = Pack<double>::width;
  int64_t n = 0, label[Run::most];
  double log_q[Run::most], weight[Run::most];
  double counting[Run::most];  // 1, or 0 for a row that does not
  bool all_count = true, any_counts = true;

  template <class A>
  void read(Rows& r, const Run& run, const Target<A>& target) {
    if (r.p.kind != kLabels) return;
    n = run.n;
    Pack<double> rows(0);
    with_labels(r.p, [&](const auto* x) __attribute__((always_inline)) {
      each_labels(r, run, x, [&](int64_t j, const LabelsOfRows& of) __attribute__((always_inline)) {
        const Pack<double> one = of.kept(Pack<double>(1));
        rows = rows + one;
        store(counting + j, one);
        store(weight + j, of.kept(target.weights_of(of.place)));
        __builtin_memcpy(label + j, &of.place, sizeof of.place);
      });
    });
    const double counted = sum(rows);
    all_count = counted == n, any_counts = counted > 0;
  }
  bool counts(int64_t j) const { return all_count || counting[j] != 0; }
  // log q at the labels, or what stands for it in memory.
  void look_up(const Rows& r, const Run& run) {
    if (!any_counts) __builtin_memset(log_q, 0, sizeof log_q);
    if (!any_counts) return;
    const int64_t lines = row_stride(r, r.q);
    load_numbers(
        r.q, n, [&](int64_t j) { return run.at.q + j * lines + label[j] * r.q.class_stride; },
        log_q);
    if (!all_count) clear_where_zero(log_q, counting, n);
  }
  // visit(j, p, q): p, so many times the weights, and q at the labels of rows [j, j + step), given
  // the normalizers of logits.
  template <class Visit>
  TI_LANE void each(double times, bool logits, const Normalizers& zq, Visit visit) const {
    using V = Pack<double>;
    for (int64_t j = 0; j < n; j += step) {
      V log = load<double>(log_q + j);
      if (logits) log = (log - load<double>(zq.high + j)) - load<double>(zq.log + j);
      visit(j, Prob<V>{load<double>(weight + j) * V(times), V(0)}, Prob<V>{exp(log), log});
    }
  }
  // visit(j, label) for labels in [first, last) of so many classes; of a row that does not count
  // too.
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
