// run_rows.h -- runs a kernel over all rows of a call, on torch's threads.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "core/sources.h"
#include "cpu/kernels.h"
#include "cpu/rows/iterate.h"
#include "cpu/threads.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kElementsPerThread = 32768;  // fewer do not pay for waking a thread

// Few rows of more classes than this are cut: by their size, not by the number of threads, so that
// results do not depend on it.
constexpr int64_t kSegmentOfRow = 65536, kFewRows = 8;
bool is_cut(const Rows& rows) {
  return rows.rows <= kFewRows && rows.classes > kSegmentOfRow && !rows.elementwise &&
         !rows.gathers();
}
void run_cut(Kernel kernel, Rows& rows, bool backward) {
  rows.segment = kSegmentOfRow;
  std::vector<PartOfRow> parts(rows.rows * rows.segments());
  rows.parts = parts.data();
  const auto run_stage = [&](Stage stage, int64_t units) {
    rows.stage = stage;
    parallel_for(units, 1, [&](int64_t begin, int64_t end) { kernel(rows, begin, end, nullptr); });
  };
  run_stage(Stage::kMoments, int64_t(parts.size()));
  if (backward) return;
  run_stage(Stage::kTerms, int64_t(parts.size()));
  run_stage(Stage::kFinish, rows.rows);
}

// The number of rows in a piece of work, which depends on sizes alone. A sum over rows adds up the
// sums of its pieces.
int64_t rows_per_piece(const Rows& rows, bool backward) {
  const bool one_number = rows.gathers() && !backward;
  const int64_t per_row = one_number ? 1 : std::max<int64_t>(1, rows.classes * rows.x_classes),
                least = std::max<int64_t>(1, kElementsPerThread / per_row);
  return least < RowRange::most ? least : least / RowRange::most * RowRange::most;
}
int64_t pieces_of(const Rows& rows, int64_t each) { return (rows.rows + each - 1) / each; }
// The number of rows whose values are added up one after the other, in a piece of `each` rows: the
// sums of few rows are added pairwise, which keeps the rounding of a sum over many rows small.
int64_t rows_per_sum(const Rows& rows, int64_t each) {
  return std::min(each, rows.gathers() ? RowRange::most_gathered : RowRange::most);
}
double pairwise_sum(const double* x, int64_t n) {
  if (n <= 8) return std::accumulate(x, x + n, 0.);
  return pairwise_sum(x, n / 2) + pairwise_sum(x + n / 2, n - n / 2);
}

void run_pieces(Kernel kernel, Rows& rows, int64_t each, bool is_table = false) {
  parallel_for(pieces_of(rows, each), 1, [&](int64_t begin, int64_t end) {
    std::vector<double> scratch(is_table ? scratch_of(rows) : 0);
    kernel(rows, begin * each, std::min(end * each, rows.rows), scratch.data());
  });
}
void run(Kernel kernel, Rows& rows, bool is_table, bool backward) {
  if (!is_table && is_cut(rows)) return run_cut(kernel, rows, backward);
  run_pieces(kernel, rows, rows_per_piece(rows, backward), is_table);
}

// Elements without rows are contiguous memory, cut into segments that do not depend on the number
// of threads.
constexpr int64_t kSegment = 8192;
int64_t segments_of(int64_t elements) { return (elements + kSegment - 1) / kSegment; }

void run_flat(Kernel kernel, const Rows& rows, int64_t elements) {
  parallel_for(
      segments_of(elements), kElementsPerThread / kSegment, [&](int64_t begin, int64_t end) {
        for (int64_t s = begin; s < end; ++s) {
          Rows part = rows;
          const int64_t first = s * kSegment;
          for (Operand* x :
               {&part.p, &part.q, &part.value, &part.gradients[0], &part.gradients[1], &part.g}) {
            x->row_strides = nullptr;
            if (!x->data || (x == &part.g && !part.g_per_class)) continue;
            x->class_stride = 1;
            x->data = static_cast<const char*>(x->data) + first * size_of(x->type);
          }
          part.rank = 0;
          part.rows = 1;
          part.classes = std::min(kSegment, elements - first);
          if (part.row_values) part.row_values += s;
          kernel(part, 0, 1, nullptr);
        }
      });
}

}  // namespace
}  // namespace torch_infotheory
