// tiles.inl -- rows that are worked on together, turned so that each of them has a lane.
//
// Knows packs and where rows lie; must not know kinds, formulas, or torch. Read next: readers.inl.
#pragma once
#include "cpu/blocks.inl"
#include "cpu/square.h"

namespace torch_infotheory {
namespace {

// The rows of a team where they lie, and a tile of one pack per class, a row in each lane.
struct Field {
  void* at;
  int64_t class_stride, row_stride, classes, rows;
};
template <class A>
using Turn = void (*)(const Field& field, A* tile);

// visit(first, n, stride) over the classes of a field, as many at a time as a pack has lanes; with
// a stride that the compiler knows where they lie side by side.
template <int width, class Visit>
TI_LANE void each_square(const Field& field, Visit visit) {
  for (int64_t first = 0; first < field.classes; first += width) {
    const int64_t left = field.classes - first, n = left < width ? left : width;
    if (field.class_stride == 1)
      visit(first, n, 1);
    else
      visit(first, n, field.class_stride);
  }
}
template <class A, class T>
void to_tile(const Field& field, A* tile) {
  constexpr int width = Pack<A>::width;
  const T* x = static_cast<const T*>(field.at);
  if (field.row_stride == 1) {
    for (int64_t c = 0; c < field.classes; ++c, x += field.class_stride)
      store(tile + c * width, load_lanes<A>(x, 1, field.rows, A(0)));
    return;
  }
  // A lane without a row repeats the last one: nothing comes of it.
  each_square<width>(field,
                     [&](int64_t first, int64_t n, int64_t stride) __attribute__((always_inline)) {
                       Pack<A> square[width];
                       const T* row = x + first * stride;
#pragma GCC unroll 16
                       for (int j = 0; j < width; ++j) {
                         square[j] = load_lanes<A>(row, stride, n, A(0));
                         row += j + 1 < field.rows ? field.row_stride : 0;
                       }
                       transpose(square);
#pragma GCC unroll 16
                       for (int c = 0; c < width; ++c)
                         if (c < n) store(tile + (first + c) * width, square[c]);
                     });
}
template <class A, class T>
void from_tile(const Field& field, A* tile) {
  constexpr int width = Pack<A>::width;
  T* x = static_cast<T*>(field.at);
  if (field.row_stride == 1) {
    for (int64_t c = 0; c < field.classes; ++c, x += field.class_stride)
      store_lanes(x, 1, field.rows, load<A>(tile + c * width));
    return;
  }
  each_square<width>(field,
                     [&](int64_t first, int64_t n, int64_t stride) __attribute__((always_inline)) {
                       Pack<A> square[width];
#pragma GCC unroll 16
                       for (int c = 0; c < width; ++c)
                         square[c] = c < n ? load<A>(tile + (first + c) * width) : Pack<A>(0);
                       transpose(square);
                       T* row = x + first * stride;
#pragma GCC unroll 16
                       for (int j = 0; j < width; ++j, row += field.row_stride)
                         if (j < field.rows) store_lanes(row, stride, n, square[j]);
                     });
}

}  // namespace
}  // namespace torch_infotheory
