// panel.h -- rows of few classes, transposed into a panel so that each row has a lane.
#pragma once
#include "cpu/memory/blocks.h"
#include "cpu/simd/transpose.h"

namespace torch_infotheory {
namespace {

// Up to this many contiguous classes a row alone would leave most lanes idle or in tails.
constexpr int64_t kFewClasses = 64;

// A row in each lane, one pack for each class.
template <class A>
struct Panel {
  alignas(64) A data[kFewClasses * Pack<A>::width];
};
// The rows of a group in memory.
struct StridedRows {
  void* data;
  int64_t class_stride, row_stride, classes, rows;
};
template <class A>
using CopyPanel = void (*)(const StridedRows& rows, A* panel);

// Calls visit(first, n, stride) for ranges of at most `width` classes, with a constant stride where
// it is 1.
template <int width, class Visit>
TI_LANE void each_square(const StridedRows& rows, Visit visit) {
  for (int64_t first = 0; first < rows.classes; first += width) {
    const int64_t left = rows.classes - first, n = left < width ? left : width;
    if (rows.class_stride == 1)
      visit(first, n, 1);
    else
      visit(first, n, rows.class_stride);
  }
}
template <class A, class T>
void load_panel(const StridedRows& rows, A* panel) {
  constexpr int width = Pack<A>::width;
  const T* x = static_cast<const T*>(rows.data);
  if (rows.row_stride == 1) {
    for (int64_t c = 0; c < rows.classes; ++c, x += rows.class_stride)
      store(panel + c * width, load_lanes<A>(x, 1, rows.rows, A(0)));
    return;
  }
  // A lane without a row repeats the last one, and is not used.
  each_square<width>(rows,
                     [&](int64_t first, int64_t n, int64_t stride) __attribute__((always_inline)) {
                       Pack<A> square[width];
                       const T* row = x + first * stride;
#pragma GCC unroll 16
                       for (int j = 0; j < width; ++j) {
                         square[j] = load_lanes<A>(row, stride, n, A(0));
                         row += j + 1 < rows.rows ? rows.row_stride : 0;
                       }
                       transpose(square);
#pragma GCC unroll 16
                       for (int c = 0; c < width; ++c)
                         if (c < n) store(panel + (first + c) * width, square[c]);
                     });
}
template <class A, class T>
void store_panel(const StridedRows& rows, A* panel) {
  constexpr int width = Pack<A>::width;
  T* x = static_cast<T*>(rows.data);
  if (rows.row_stride == 1) {
    for (int64_t c = 0; c < rows.classes; ++c, x += rows.class_stride)
      store_lanes(x, 1, rows.rows, load<A>(panel + c * width));
    return;
  }
  each_square<width>(rows,
                     [&](int64_t first, int64_t n, int64_t stride) __attribute__((always_inline)) {
                       Pack<A> square[width];
#pragma GCC unroll 16
                       for (int c = 0; c < width; ++c)
                         square[c] = c < n ? load<A>(panel + (first + c) * width) : Pack<A>(0);
                       transpose(square);
                       T* row = x + first * stride;
#pragma GCC unroll 16
                       for (int j = 0; j < width; ++j, row += rows.row_stride)
                         if (j < rows.rows) store_lanes(row, stride, n, square[j]);
                     });
}

}  // namespace
}  // namespace torch_infotheory
