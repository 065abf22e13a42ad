// labels.inl -- what the class indices of a team's rows contribute: a peak in p, read and written
// alone.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// rows.inl.
#pragma once
#include "cpu/reduce.inl"

namespace torch_infotheory {
namespace {

enum class Label { kNone, kCounts, kIgnored, kBad };

inline Label read_label(Rows& r, int64_t offset, int64_t& label) {
  label = label_at(r.p, offset);
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
      kind[j] = read_label(r, at.p + j * step, label[j]);
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
  TI_LANE void each(const Team& team, bool logits, const double* zq, Visit visit) const {
    each_of_team<A>(team, [&](auto v, int i) __attribute__((always_inline)) {
      const auto log_at =
          logits ? lanes_at(v, log_q + i) - lanes_at(v, zq + i) : lanes_at(v, log_q + i);
      visit(v, i, Prob<decltype(v)>{exp(log_at), log_at});
    });
  }
};

// visit(row, offset of its label, of its first class, of what is written for it), line by line.
template <class Visit>
TI_LANE void each_row(const Rows& r, int64_t begin, int64_t end, int64_t Cursor::* written,
                      const Operand& to, Visit visit) {
  constexpr int64_t ahead = 16;  // rows whose class is asked for before it is read
  const int64_t p = row_stride(r, r.p), q = row_stride(r, r.q), out = row_stride(r, to);
  int64_t n = 1;
  for (Cursor at(r, begin); at.row < end; at.skip(n)) {
    const int64_t left = end - at.row;
    if (r.rank) n = r.sizes[r.rank - 1] - at.index[r.rank - 1];
    if (left < n) n = left;
    for (int64_t j = 0; j < n; ++j) {
      if (j + ahead < n) {
        const int64_t label = label_at(r.p, at.p + (j + ahead) * p);
        if (label >= 0 && label < r.classes)
          __builtin_prefetch(static_cast<const char*>(r.q.data) +
                             (at.q + (j + ahead) * q + label * r.q.class_stride) *
                                 size_of(r.q.type));
      }
      visit(at.row + j, at.p + j * p, at.q + j * q, at.*written + j * out);
    }
  }
}

template <class F, class A>
void pick(Rows& r, int64_t begin, int64_t end) {
  const Target<A> target(r);
  for (int i = 0; i < 2 * F::arity; ++i)
    __builtin_memset(r.saved + i * r.rows + begin, 0, (end - begin) * sizeof(double));
  each_row(r, begin, end, &Cursor::value, r.value,
           [&](int64_t row, int64_t at_p, int64_t at_q, int64_t to) {
             int64_t label = 0;
             double value = 0;
             if (read_label(r, at_p, label) == Label::kCounts) {
               const double log_q = load_number(r.q, at_q + label * r.q.class_stride);
               value = F::term(Prob<double>{target.peak(label), 0}, Prob<double>{0, log_q});
             }
             if (r.row_values)
               r.row_values[row] = value;
             else
               store_number(r.value, to, value * r.scale);
           });
}

template <class F, class A>
void scatter(Rows& r, int64_t begin, int64_t end) {
  const Target<A> target(r);
  const Operand& to = r.gradient;
  const int64_t size = size_of(to.type);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    char* row = static_cast<char*>(const_cast<void*>(to.data)) + at.gradient * size;
    if (to.class_stride == 1)
      __builtin_memset(row, 0, r.classes * size);
    else
      for (int64_t c = 0; c < r.classes; ++c)
        __builtin_memset(row + c * to.class_stride * size, 0, size);
    int64_t label = 0;
    if (read_label(r, at.p, label) != Label::kCounts) continue;
    // The derivative by log q does not depend on q: the formula is linear in it.
    const Prob<double> p{target.peak(label), 0}, q{0, 0};
    store_number(to, at.gradient + label * to.class_stride,
                 r.scale * load_number(r.g, at.g) * gradient_by_q<F, kLogProbs>(p, q, 0.));
  }
}

}  // namespace
}  // namespace torch_infotheory
