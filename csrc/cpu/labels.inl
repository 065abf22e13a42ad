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

// The labels of a run's rows, and log q at each of them. Rows without labels all count.
struct Labels {
  static constexpr int64_t kNone = -1;  // the label of a row that does not count
  static constexpr int step = Pack<double>::width;
  int64_t n = 0, label[Run::most];
  double log_q[Run::most], peak[Run::most], background[Run::most];
  double counting[Run::most];  // 1, or 0 for a row that does not
  bool all_count = true, any_counts = true;

  template <class A>
  void read(Rows& r, const Run& run, const Target<A>& target) {
    if (r.p.kind != kLabels) return;
    n = run.n;
    const int64_t lines = row_stride(r, r.p);
    with_labels(r.p, [&](const auto* x) {
      for (int64_t j = 0; j < n; ++j) label[j] = x[run.at.p + j * lines];
    });
    int64_t others = 0, bad = 0;
    for (int64_t j = 0; j < n; ++j) {
      const bool out = uint64_t(label[j]) >= uint64_t(r.classes),
                 ignored = label[j] == r.ignore_index;
      others += out | ignored;
      bad += out & !ignored;
    }
    if (bad) note_bad(r);
    all_count = others == 0, any_counts = others < n;
    for (int64_t j = 0; j < n && !all_count; ++j)
      if (uint64_t(label[j]) >= uint64_t(r.classes) || label[j] == r.ignore_index) label[j] = kNone;
    for (int64_t j = 0; j < n; ++j) {
      counting[j] = peak[j] = label[j] != kNone;
      background[j] = 0;
    }
    if (target.plain || !any_counts) return;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t c = place(j);
      peak[j] = label[j] == kNone ? 0 : target.peak(c);
      background[j] = label[j] == kNone ? 0 : target.background(c);
    }
  }
  bool counts(int64_t j) const { return all_count || label[j] != kNone; }
  // log q at the labels, or what stands for it in memory.
  void look_up(const Rows& r, const Run& run) {
    const int64_t lines = row_stride(r, r.q);
    if (!any_counts) __builtin_memset(log_q, 0, sizeof log_q);
    if (!any_counts) return;
    load_numbers(
        r.q, n, [&](int64_t j) { return run.at.q + j * lines + place(j) * r.q.class_stride; },
        log_q);
    for (int64_t j = 0; j < n && !all_count; ++j) log_q[j] = label[j] == kNone ? 0 : log_q[j];
  }
  // visit(j, q): q at the labels of rows [j, j + step), given the normalisers of logits.
  template <class Visit>
  TI_LANE void each(bool logits, const Normalisers& zq, Visit visit) const {
    for (int64_t j = 0; j < n; j += step) {
      Pack<double> log = load<double>(log_q + j);
      if (logits) log = log - load<double>(zq.z + j) - load<double>(zq.rest + j);
      visit(j, Prob<Pack<double>>{exp(log), log});
    }
  }
  // visit(j, label) for rows that count, with a label in [first, last).
  template <class Visit>
  TI_LANE void each_within(int64_t first, int64_t last, Visit visit) const {
    int64_t row[Run::most], rows = 0;
    for (int64_t j = 0; j < n; ++j) {
      row[rows] = j;
      rows += (label[j] >= first) & (label[j] < last);
    }
    for (int64_t i = 0; i < rows; ++i) visit(row[i], label[row[i]]);
  }

 private:
  // Of a row that does not count, any class.
  int64_t place(int64_t j) const { return label[j] == kNone ? 0 : label[j]; }
  // One label out of range, any of them.
  void note_bad(Rows& r) const {
    for (int64_t j = 0; j < n; ++j) {
      if (label[j] == r.ignore_index || uint64_t(label[j]) < uint64_t(r.classes)) continue;
      __atomic_store_n(&r.bad_label, label[j], __ATOMIC_RELAXED);
      __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
    }
  }
};

}  // namespace
}  // namespace torch_infotheory
