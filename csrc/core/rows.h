// rows.h -- the interface between tensors and kernels: plain structs of pointers, sizes and
// options.
//
// dispatch/call.h fills them, the kernels read them.
#pragma once
#include <stdint.h>

#include "core/compiler.h"

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

// With labels that are not smoothed and with log-probabilities, one class of each row is gathered:
// nothing else is read, and nothing is saved for backward.
TI_LANE constexpr bool gathers(Kind p, Kind q, double label_smoothing) {
  return p == kLabels && label_smoothing == 0 && q != kLogits;
}

// What forward saves of a row for each operand: the two parts of its log-normalizer, see Outcome in
// core/row.h, and the total of d / d log.
enum Saved : int { kHigh, kLogSum, kTotal, kSavedNumbers };

// The input of a row op that derivatives are taken with respect to. The numbers are part of the row
// ops' schema.
enum Wrt : int64_t { kWrtP = 0, kWrtQ = 1, kWrtBoth = 2 };

constexpr int kMaxRank = 64;  // of a torch tensor

// One tensor of a call, with any strides: one per row dimension (0 where it is broadcast), and one
// between classes.
struct Operand {
  const void* data = nullptr;
  Kind kind = kProbs;
  Type type = kFloat;
  int64_t class_stride = 0;
  const int64_t* row_strides = nullptr;
  // Divides logits as they are read; the quotients are rounded to the type computed with.
  double temperature = 1;
  Type quotient = kFloat;
};

// The sums over a part of a row, relative to the references of this part.
struct PartOfRow {
  double high_p, high_q, p, q, value, d_lp, d_lq;
};
// Few long rows are cut into segments, so that several threads can work on one. A unit of work is a
// segment in the first two stages and in backward, and a row in the last stage.
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
  double scale = 1;      // unit of the logarithm, mean, all in one factor
  double parameter = 0;  // of the formula, if it has one

  double* saved = nullptr;  // [arity * kSavedNumbers, rows]; null where backward needs nothing

  // Every element is on its own: rows have no meaning, and nothing is normalized or centered.
  bool elementwise = false;

  // forward: one value per row or, where rows have no meaning, one per class
  Operand value;
  // Instead of `value`, where the rows are reduced: sums of `rows_per_sum` consecutive values each,
  // in double, and with labels the sums of the weights of these rows in a mean.
  double *row_values = nullptr, *row_weights = nullptr;
  int64_t rows_per_sum = 1;

  // backward: d / d p, d / d q or both; g has one number per row or, where `g_per_class`, one per
  // class
  Operand g, gradients[2];
  bool g_per_class = false;
  Wrt wrt = kWrtP;  // not kWrtBoth where the kinds of p and q differ, or on CUDA

  TI_LANE bool gathers() const {
    return torch_infotheory::gathers(p.kind, q.kind, label_smoothing);
  }
  bool pointwise() const { return elementwise && !row_values; }
  // The column of `saved` with this number of every row.
  TI_LANE double* saved_of(int operand, Saved number) const {
    return saved + (operand * kSavedNumbers + number) * rows;
  }
  // What forward saved of a row, or 0 where it saves nothing.
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

}  // namespace torch_infotheory
