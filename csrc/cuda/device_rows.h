// device_rows.h -- the argument of a kernel: core/rows.h's Rows, its arrays, and scratch memory.
#pragma once
#include "core/rows.h"
#include "cuda/launch_config.h"

namespace torch_infotheory {

// Allocates pieces of one block of scratch memory. Without memory it only counts, so that the same
// code computes the size of the block and then assigns its pieces.
class Scratch {
 public:
  explicit Scratch(double* memory = nullptr) : memory_(memory) {}
  template <class T>
  T* allocate(int64_t n) {
    static_assert(alignof(T) <= alignof(double));
    double* const piece = memory_ ? memory_ + used_ : nullptr;
    used_ += ceil_div(n * int64_t(sizeof(T)), sizeof(double));
    return reinterpret_cast<T*>(piece);
  }
  int64_t used() const { return used_; }  // in doubles

 private:
  double* memory_;
  int64_t used_ = 0;
};

// Intermediate results of joint tables, see tables.cuh.
struct TableSums {
  // For each line and column: first the sums, then the logarithms of the marginals.
  double *log_px = nullptr, *log_py = nullptr;
  double *line_high = nullptr, *column_high = nullptr;  // the references of the sums
  double* line_value = nullptr;
  double *total = nullptr, *z_high = nullptr, *z_log = nullptr;  // for each table

  TableSums() = default;
  TableSums(const Rows& r, Scratch& scratch) {
    const int64_t lines = r.rows * r.x_classes, columns = r.rows * r.classes;
    for (double** per_line : {&log_px, &line_high, &line_value})
      *per_line = scratch.allocate<double>(lines);
    for (double** per_column : {&log_py, &column_high})
      *per_column = scratch.allocate<double>(columns);
    for (double** per_table : {&total, &z_high, &z_log})
      *per_table = scratch.allocate<double>(r.rows);
  }
};

// Passed to kernels by value. Rows::sizes and Operand::row_strides point to host memory, so their
// arrays are copied here.
struct DeviceRows {
  enum OperandIndex { kP, kQ, kValue, kG, kGradient, kOperands };

  Rows rows;
  int64_t sizes[kMaxRank], strides[kOperands][kMaxRank];
  Geometry geometry;
  Type compute_type;  // also of Rows::weight

  PartOfRow* partials = nullptr;  // [rows, segments], if rows have several segments
  bool normalized = false;        // `saved` already has the normalizers
  // [rows], for divergences: how a value near 0 is computed again.
  enum Refinement : unsigned char { kNotRefined, kInDouble, kFromDifferences };
  unsigned char* refinement = nullptr;
  bool has_near = false;            // rows have exact differences, in float
  TableSums tables;                 // of joint tables
  const double* divisor = nullptr;  // of a mean over labels; computed on the device

  DeviceRows(const Rows& r, const Geometry& g, bool in_double)
      : rows(r), geometry(g), compute_type(in_double ? kDouble : kFloat) {
    const Operand* const operands[] = {&r.p, &r.q, &r.value, &r.g, &r.gradients[r.wrt]};
    for (int d = 0; d < r.rank; ++d) {
      sizes[d] = r.sizes[d];
      for (int i = 0; i < kOperands; ++i)
        strides[i][d] = operands[i]->row_strides ? operands[i]->row_strides[d] : 0;
    }
  }
  void allocate_scratch(Scratch& scratch, bool is_table, bool backward) {
    if (is_table) tables = TableSums(rows, scratch);
    if (backward) return;
    if (!is_table && geometry.segments > 1 && !rows.elementwise)
      partials = scratch.allocate<PartOfRow>(rows.rows * geometry.segments);
    refinement = scratch.allocate<unsigned char>(rows.rows);
  }
};

}  // namespace torch_infotheory
