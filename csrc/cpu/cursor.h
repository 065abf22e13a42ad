// cursor.h -- walks rows in order, run after run, and keeps the place of each operand, whatever its
// strides.
//
// Knows the border struct of core/rows.h; must not know kinds, types, formulas, or torch.
#pragma once
#include "core/rows.h"

namespace torch_infotheory {
namespace {

struct Cursor {
  const Rows* r;
  int64_t row, p = 0, q = 0, value = 0, g = 0, gradient = 0;  // offsets, in elements
  int64_t index[kMaxRank];

  Cursor(const Rows& rows, int64_t begin) : r(&rows), row(begin) {
    int64_t rest = begin;
    for (int d = r->rank - 1; d >= 0; --d) {
      index[d] = rest % r->sizes[d];
      rest /= r->sizes[d];
      move(d, index[d]);
    }
  }
  Cursor(const Cursor& other) { *this = other; }
  Cursor& operator=(const Cursor& other) {  // of the index only what is in use
    r = other.r, row = other.row;
    p = other.p, q = other.q, value = other.value, g = other.g, gradient = other.gradient;
    for (int d = 0; d < r->rank; ++d) index[d] = other.index[d];
    return *this;
  }
  void next() { skip(1); }
  // Over n rows of the last dimension, and on to its next line where it ends there.
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
    gradient += by(r->gradient);
  }
};

// Rows that follow each other in the last dimension. What a row costs besides its classes is paid
// for all rows of a run together, several in a pack.
struct Run {
  static constexpr int64_t most = 64;
  const Cursor& at;  // the first of them
  int64_t n;
};
// visit(run) over rows [begin, end). The rows of a run belong to one sum.
template <int64_t most = Run::most, class Visit>
TI_LANE void each_run(const Rows& r, int64_t begin, int64_t end, Visit visit) {
  for (Cursor at(r, begin); at.row < end;) {
    const int64_t in_line = r.rank ? r.sizes[r.rank - 1] - at.index[r.rank - 1] : 1;
    int64_t n = in_line < end - at.row ? in_line : end - at.row;
    if (n > most) n = most;
    const bool sums = r.row_values || r.row_weights;
    const int64_t in_sum = sums ? r.rows_per_sum - at.row % r.rows_per_sum : n;
    const Run run{at, n < in_sum ? n : in_sum};
    visit(run);
    at.skip(run.n);
  }
}

}  // namespace
}  // namespace torch_infotheory
