// labels.inl -- what the class indices of a team's rows contribute: a peak in p, read and written
// alone.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// picks.inl, rows.inl.
#pragma once
#include "cpu/reduce.inl"

namespace torch_infotheory {
namespace {

enum class Label { kNone, kCounts, kIgnored, kBad };

TI_LANE Label kind_of(Rows& r, int64_t label) {
  if (label == r.ignore_index) return Label::kIgnored;
  if (label >= 0 && label < r.classes) return Label::kCounts;
  __atomic_store_n(&r.bad_label, label, __ATOMIC_RELAXED);
  __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
  return Label::kBad;
}

// The labels of a team's rows, and log q at each of them.
template <class A>
struct Labels {
  static constexpr int width = Pack<A>::width;
  Label kind[width];
  int64_t label[width];
  double log_q[width], peak[width], background[width];
  bool all_count, any_counts;

  void read(Rows& r, const Cursor& at, const Pair<A>& rows) {
    all_count = true, any_counts = false;
    const int64_t step = row_stride(r, r.p), step_q = row_stride(r, r.q);
    for (int j = 0; j < width; ++j) {
      kind[j] = Label::kNone;
      log_q[j] = peak[j] = background[j] = 0;
    }
    for (int j = 0; j < rows.team.rows && r.p.kind == kLabels; ++j) {
      label[j] = label_at(r.p, at.p + j * step);
      kind[j] = kind_of(r, label[j]);
      if (kind[j] != Label::kCounts) continue;
      log_q[j] = rows.q.tile ? double(rows.q.tile[label[j] * width + j])
                             : load_number(r.q, at.q + j * step_q + label[j] * r.q.class_stride);
      peak[j] = rows.target.plain ? 1 : rows.target.peak(label[j]);
      background[j] = rows.target.plain ? 0 : rows.target.background(label[j]);
    }
    for (int j = 0; j < rows.team.rows; ++j) {
      all_count &= counts(j);
      any_counts |= counts(j);
    }
  }
  bool counts(int64_t j) const { return kind[j] == Label::kNone || kind[j] == Label::kCounts; }
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
};

}  // namespace
}  // namespace torch_infotheory
