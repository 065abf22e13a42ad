// segment.cuh -- the rows and classes that fall to a thread group, and how it goes through them.
#pragma once
#include "cuda/device.h"
#include "cuda/device_rows.h"

namespace torch_infotheory {
namespace {

// The offset of a row in each operand, in elements.
struct RowOffsets {
  int64_t by_operand[DeviceRows::kOperands];
};
__device__ __forceinline__ RowOffsets offsets_of(const DeviceRows& d, int64_t row) {
  RowOffsets offsets = {};
  for (int i = d.rows.rank - 1; i >= 0; --i) {
    int64_t index = row;
    if (i > 0) {
      row /= d.sizes[i];
      index -= row * d.sizes[i];
    }
#pragma unroll
    for (int k = 0; k < DeviceRows::kOperands; ++k)
      offsets.by_operand[k] += index * d.strides[k][i];
  }
  return offsets;
}

// Consecutive classes of a row. Most rows are a single segment.
struct Segment {
  int64_t row, first_class;
  int classes;
  RowOffsets offsets;  // of the row
};
__device__ __forceinline__ Segment segment_of(const DeviceRows& d, int64_t task, bool active) {
  if (!active) return {};
  const Geometry& g = d.geometry;
  const int64_t row = g.segments == 1 ? task : task / g.segments,
                first = (task - row * g.segments) * g.segment_classes,
                left = d.rows.classes - first;
  return {row, first, int(left < g.segment_classes ? left : g.segment_classes), offsets_of(d, row)};
}

// How the classes of a segment are read: `packs` packs after `head` single classes, and what is
// left one by one.
struct AccessPattern {
  int classes, head, packs;

  __device__ __forceinline__ static AccessPattern one_by_one(int classes) {
    return {classes, 0, 0};
  }
  // In packs if all operands have the same misalignment.
  template <int n, class... Others>
  __device__ __forceinline__ static AccessPattern in_packs(int classes, int misaligned,
                                                           Others... others) {
    if (misaligned < 0 || ((others != misaligned) || ...)) return {classes, 0, 0};
    int head = (n - misaligned) % n;
    if (head > classes) head = classes;
    return {classes, head, (classes - head) / n};
  }
};

// The classes, counted from the first of the segment, to which n numbers belong. kNoClass is never
// among them.
constexpr int kNoClass = -2;
template <int n>
struct ConsecutiveClasses {
  int first;
  __device__ __forceinline__ int operator[](int k) const { return first + k; }
  __device__ __forceinline__ bool has(int) const { return true; }
  __device__ __forceinline__ bool contains(int c) const {
    return unsigned(c - first) < unsigned(n);
  }
};
// -1 where there is no class.
template <int n>
struct SingleClasses {
  int index[n];
  __device__ __forceinline__ int operator[](int k) const { return index[k]; }
  __device__ __forceinline__ bool has(int k) const { return index[k] >= 0; }
  __device__ __forceinline__ bool contains(int c) const {
    bool any = false;
#pragma unroll
    for (int k = 0; k < n; ++k) any |= index[k] == c;
    return any;
  }
};

}  // namespace
}  // namespace torch_infotheory
