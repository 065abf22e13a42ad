// labels.inl -- what the class indices of a team's rows contribute: a peak in p, read and written
// alone.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// picks.inl, rows.inl.
#pragma once
#include "cpu/reduce.inl"

namespace torch_infotheory {
namespace {

// Whether a row with this label counts; one that is out of range is noted.
TI_LANE bool counts(Rows& r, int64_t label) {
  if (label == r.ignore_index) return false;
  if (label >= 0 && label < r.classes) return true;
  __atomic_store_n(&r.bad_label, label, __ATOMIC_RELAXED);
  __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
  return false;
}

// The labels of a team's rows, and log q at each of them. Rows without labels all count.
template <class A>
struct Labels {
  static constexpr int width = Pack<A>::width;
  static constexpr int64_t kNone = -1;  // the label of a row that does not count
  int64_t label[width];
  double log_q[width], peak[width], background[width];
  bool all_count, any_counts;

  void read(Rows& r, const Cursor& at, const Pair<A>& rows) {
    all_count = any_counts = true;
    if (r.p.kind != kLabels) return;
    const int64_t n = rows.team.rows, step = row_stride(r, r.p);
    for (int64_t j = n; j < width; ++j) label[j] = kNone;
    with_labels(r.p, [&](const auto* x) {
      for (int64_t j = 0; j < n; ++j) label[j] = x[at.p + j * step];
    });
    // Without branches: which rows are ignored cannot be foreseen.
    int64_t counting = 0;
    bool all_in_range = true;
    for (int64_t j = 0; j < width; ++j) {
      const bool in_range = uint64_t(label[j]) < uint64_t(r.classes),
                 ignored = label[j] == r.ignore_index, here = (j < n) & in_range & !ignored;
      all_in_range &= (j >= n) | in_range | ignored;
      counting += here;
      peak[j] = here, background[j] = 0;
    }
    for (int64_t j = 0; j < n && !all_in_range; ++j) counts(r, label[j]);
    for (int64_t j = 0; j < width; ++j) label[j] = peak[j] > 0 ? label[j] : kNone;
    all_count = counting == n, any_counts = counting > 0;
    read_log_q(r, at.q, rows.q);
    if (rows.target.plain) return;
    for (int64_t j = 0; j < n; ++j)
      if (label[j] >= 0)
        peak[j] = rows.target.peak(label[j]), background[j] = rows.target.background(label[j]);
  }
  // Calls visit(V(), i, q), q at the labels of the rows that visit gets, given their normalisers.
  template <class Visit>
  TI_LANE void each(const Team& team, bool logits, const Normalisers<A>& zq, Visit visit) const {
    each_of_team<A>(team, [&](auto v, int i) __attribute__((always_inline)) {
      const auto log_at =
          logits ? lanes_at(v, log_q + i) - lanes_at(v, zq.z + i) - lanes_at(v, zq.rest + i)
                 : lanes_at(v, log_q + i);
      visit(v, i, Prob<decltype(v)>{exp(log_at), log_at});
    });
  }

 private:
  void read_log_q(const Rows& r, int64_t at, const Source<A>& q) {
    const int64_t step = row_stride(r, r.q);
    if (q.tile)
      for (int64_t j = 0; j < width; ++j) {
        const double x = q.tile[(label[j] < 0 ? 0 : label[j]) * width + j];
        log_q[j] = label[j] < 0 ? 0 : x;
      }
    else
      for (int64_t j = 0; j < width; ++j)
        log_q[j] = label[j] < 0 ? 0 : load_number(r.q, at + j * step + label[j] * r.q.class_stride);
  }
};

}  // namespace
}  // namespace torch_infotheory
