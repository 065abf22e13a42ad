// iterate.h -- the order in which a kernel visits rows, and the offsets of every operand there.
#pragma once
#include "core/rows.h"

namespace torch_infotheory {
namespace {

struct RowIterator {
  const Rows* r;
  int64_t row, p = 0, q = 0, value = 0, g = 0, gradients[2] = {};  // the row; offsets in elements
  int64_t index[kMaxRank];

  RowIterator(const Rows& rows, int64_t begin) : r(&rows), row(begin) {
    int64_t rest = begin;
    for (int d = r->rank - 1; d >= 0; --d) {
      index[d] = rest % r->sizes[d];
      rest /= r->sizes[d];
      move(d, index[d]);
    }
  }
  RowIterator(const RowIterator& other) { *this = other; }
  RowIterator& operator=(const RowIterator& other) {  // copies the part of `index` that is in use
    r = other.r, row = other.row;
    p = other.p, q = other.q, value = other.value, g = other.g;
    for (int by = 0; by < 2; ++by) gradients[by] = other.gradients[by];
    for (int d = 0; d < r->rank; ++d) index[d] = other.index[d];
    return *this;
  }
  void next() { skip(1); }
  // Moves over n rows, which lie within the last dimension.
  void skip(int64_t n) {
    row += n;
    for (int d = r->rank - 1; d >= 0; --d, n = 1) {
      move(d, n);
      if ((index[d] += n) < r->sizes[d]) return;
      move(d, -r->sizes[d]);
      index[d] = 0;
    }
  }

 private:
  void move(int d, int64_t steps) {
    const auto by = [&](const Operand& x) { return x.row_strides ? steps * x.row_strides[d] : 0; };
    p += by(r->p);
    q += by(r->q);
    value += by(r->value);
    g += by(r->g);
    for (int i = 0; i < 2; ++i) gradients[i] += by(r->gradients[i]);
  }
};

inline int64_t row_stride(const Rows& r, const Operand& x) {
  return r.rank && x.row_strides ? x.row_strides[r.rank - 1] : 0;
}

// Consecutive rows within the last dimension. Per-row overhead (normalizer, label, offsets) is
// amortized over them, because it is computed for a pack of rows at a time.
struct RowRange {
  static constexpr int64_t most = 64, most_gathered = 256;
  const RowIterator& at;  // the first of them
  int64_t n;
};
// Calls visit(range) for rows [begin, end). All rows of a range belong to one sum over rows.
template <int64_t most = RowRange::most, class Visit>
TI_LANE void each_range(const Rows& r, int64_t begin, int64_t end, Visit visit) {
  for (RowIterator at(r, begin); at.row < end;) {
    const int64_t in_line = r.rank ? r.sizes[r.rank - 1] - at.index[r.rank - 1] : 1;
    int64_t n = in_line < end - at.row ? in_line : end - at.row;
    if (n > most) n = most;
    const bool sums = r.row_values || r.row_weights;
    const int64_t in_sum = sums ? r.rows_per_sum - at.row % r.rows_per_sum : n;
    const RowRange range{at, n < in_sum ? n : in_sum};
    visit(range);
    at.skip(range.n);
  }
}

// Calls visit(row, unit, first, last) for units of work: classes [first, last) of a row that is
// cut.
template <class Visit>
TI_LANE void each_segment(const Rows& r, int64_t begin, int64_t end, Visit visit) {
  const int64_t segments = r.segments();
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t first = unit % segments * r.segment, rest = r.classes - first;
    visit(unit / segments, unit, first, first + (rest < r.segment ? rest : r.segment));
  }
}

}  // namespace
}  // namespace torch_infotheory
