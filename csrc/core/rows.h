// rows.h -- the border between tensors and kernels: plain structs of pointers, sizes and options.
//
// The upper half (dispatch/, cpu/cpu.cpp) fills them, the row skeletons read them. Knows layouts;
// must not know formulas or torch. Read next: cpu/rows.inl.
#pragma once
#include <stdint.h>

#include "core/lane.h"

namespace torch_infotheory {

// How an operand states its distribution. The numbers are part of the row ops' schema (four bits
// for each operand).
enum Kind : int64_t {
  kProbs = 0,
  kLogProbs = 1,
  kLogits = 2,
  kLabels = 3,   // one class index per row
  kWeights = 4,  // class probabilities as a loss target: like kProbs, but negative entries are
                 // taken literally
};

enum Type : int { kFloat, kDouble, kBFloat16, kHalf, kUInt8, kInt8, kInt16, kInt32, kInt64 };

// Of a floating type, in bytes.
TI_LANE constexpr int64_t size_of(Type type) {
  return type == kDouble ? 8 : type == kFloat ? 4 : 2;
}

// Labels without a background and with log-probabilities need one class of each row: nothing else
// is read, and nothing of the row is kept.
TI_LANE constexpr bool picks(Kind p, Kind q, double label_smoothing) {
  return p == kLabels && label_smoothing == 0 && q != kLogits;
}

// What forward saves of a row for each operand: the two parts of its log-normalizer, see Outcome in
// core/row.h, and the total of d / d log.
enum Saved : int { kHigh, kLogSum, kTotal, kSavedNumbers };

constexpr int kMaxRank = 64;  // of a torch tensor

// One tensor of a call. Its rows lie anywhere: an offset per row dimension (0 where it is
// broadcast), one per class.
struct Operand {
  const void* data = nullptr;
  Kind kind = kProbs;
  Type type = kFloat;
  int64_t class_stride = 0;
  const int64_t* row_strides = nullptr;
};

// What is known of a part of a row while the rest is not: sums relative to references.
struct PartOfRow {
  double high_p, high_q, p, q, value, d_lp, d_lq;
};
// Few long rows are cut into segments, for several threads to work on one. The units of the first
// two stages, and of backward, are the segments of all rows; of the last one, the rows.
enum class Stage { kMoments, kTerms, kFinish };

// All rows of a call, `sizes[0] x ... x sizes[rank - 1]` of them with `classes` each.
// A joint table is a row whose classes have two dimensions: `classes` counts y, `x_classes` counts
// x.
struct Rows {
  int64_t classes = 0, x_classes = 1, rows = 0;
  int rank = 0;
  const int64_t* sizes = nullptr;
  Operand p, q;
  int64_t p_x_stride = 0;

  const void* weight = nullptr;  // one factor per class of p, in the type computed with
  double label_smoothing = 0;
  int64_t ignore_index = -100;
  double scale = 1;  // unit of the logarithm, mean, all in one factor

  double* saved = nullptr;  // [arity * kSavedNumbers, rows]; null where backward needs nothing

  // The classes are elements of their own and rows have no meaning: nothing is normalised or
  // centred.
  bool elementwise = false;

  // forward: one value per row or, where rows have no meaning, one per class
  Operand value;
  // Instead of `value`, unrounded and to be reduced further: the values of so many rows after each
  // other, in one sum; and with labels what these rows count for in a mean.
  double *row_values = nullptr, *row_weights = nullptr;
  int64_t rows_per_sum = 1;

  // backward: d / d p or d / d q; g has one number per row or, where `g_per_class`, one per class
  Operand g, gradient;
  bool g_per_class = false;
  bool by_q = false;

  TI_LANE bool picks() const { return torch_infotheory::picks(p.kind, q.kind, label_smoothing); }
  bool pointwise() const { return elementwise && !row_values; }
  // Where `saved` has a number of the first row.
  TI_LANE double* saved_of(int operand, Saved number) const {
    return saved + (operand * kSavedNumbers + number) * rows;
  }
  // What forward has saved of a row, or 0 where it saves nothing.
  TI_LANE double saved_at(int operand, Saved number, int64_t row) const {
    return saved ? saved_of(operand, number)[row] : 0;
  }

  int64_t segment = 0;         // classes in each; 0: rows are not cut
  PartOfRow* parts = nullptr;  // [rows, segments]
  Stage stage = Stage::kMoments;
  int64_t segments() const { return (classes + segment - 1) / segment; }

  // A label out of range is noted here (any one of them) and raised after the loop: kernels must
  // not throw.
  int64_t bad_label = 0;
  bool has_bad_label = false;
};

// [begin, end) of the rows. `scratch` is for joint tables: so many doubles.
inline int64_t scratch_of(const Rows& r) {
  const int64_t pack = 8;  // of the widest packs, for the last to end in
  return r.x_classes + 2 * r.classes + pack;
}
using Kernel = void (*)(Rows& rows, int64_t begin, int64_t end, double* scratch);

// Of one formula: computed in float (every dtype but float64) and in double.
struct Kernels {
  Kernel forward[2], backward[2];
};
struct KernelTable {
  const Kernels* rows;    // in the order of RowFormulas
  const Kernels* tables;  // in the order of TableFormulas
  Kernel weigh[2];        // the rows of labels, into row_weights
};
// One table per instruction set of cpu/kernels_*.cpp.
KernelTable kernels_default();
#if defined(__x86_64__)
KernelTable kernels_avx2();
KernelTable kernels_avx512();
#endif

}  // namespace torch_infotheory
