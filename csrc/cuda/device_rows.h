// device_rows.h -- the border struct of core/rows.h as a kernel takes it, by value.
//
// Knows layouts; must not know CUDA, tensors, or formulas. Read next: walk.cuh.
#pragma once
#include "core/rows.h"
#include "cuda/launch_config.h"

namespace torch_infotheory {

// Scratch memory, handed out piece by piece. Without memory it only counts, so that what a call
// needs and where it lies are said in one place.
class Scratch {
 public:
  explicit Scratch(double* memory = nullptr) : memory_(memory) {}
  template <class T>
  T* take(int64_t n) {
    static_assert(alignof(T) <= alignof(double));
    double* const piece = memory_ ? memory_ + taken_ : nullptr;
    taken_ += quotient_up(n * int64_t(sizeof(T)), sizeof(double));
    return reinterpret_cast<T*>(piece);
  }
  int64_t taken() const { return taken_; }  // in numbers of double

 private:
  double* memory_;
  int64_t taken_ = 0;
};

// What the tables of a call are reduced to on the way, see tables.cuh.
struct TableSums {
  double *log_px = nullptr, *log_py = nullptr;          // of every line and column
  double *line_high = nullptr, *column_high = nullptr;  // what they were summed relative to
  double* line_value = nullptr;                         // the value of the cells of a line
  double *total = nullptr, *z_high = nullptr, *z_log = nullptr;  // of every table

  TableSums() = default;
  TableSums(const Rows& r, Scratch& scratch) {
    const int64_t lines = r.rows * r.x_classes, columns = r.rows * r.classes;
    for (double** of_lines : {&log_px, &line_high, &line_value})
      *of_lines = scratch.take<double>(lines);
    for (double** of_columns : {&log_py, &column_high}) *of_columns = scratch.take<double>(columns);
    for (double** of_tables : {&total, &z_high, &z_log}) *of_tables = scratch.take<double>(r.rows);
  }
};

// Rows::sizes and Operand::row_strides point to memory of the host; here are their copies.
struct DeviceRows {
  enum Place { kP, kQ, kValue, kG, kGradient, kPlaces };

  Rows rows;
  int64_t sizes[kMaxRank], strides[kPlaces][kMaxRank];
  Geometry geometry;
  Type compute_type;  // also of Rows::weight

  PartOfRow* partials = nullptr;    // of every part of every row, where rows are cut
  bool normalised = false;          // `saved` holds the normalizers already
  unsigned char* small = nullptr;   // of every row, for divergences: to be computed again in double
  TableSums tables;                 // of joint tables
  const double* divisor = nullptr;  // of a mean over labels, which only the device knows

  DeviceRows(const Rows& r, const Geometry& g, bool in_double)
      : rows(r), geometry(g), compute_type(in_double ? kDouble : kFloat) {
    const Operand* const operands[] = {&r.p, &r.q, &r.value, &r.g, &r.gradient};
    for (int d = 0; d < r.rank; ++d) {
      sizes[d] = r.sizes[d];
      for (int i = 0; i < kPlaces; ++i)
        strides[i][d] = operands[i]->row_strides ? operands[i]->row_strides[d] : 0;
    }
  }
  void take_scratch(Scratch& scratch, bool is_table, bool backward) {
    if (is_table) tables = TableSums(rows, scratch);
    if (backward) return;
    if (!is_table && geometry.parts > 1 && !rows.elementwise)
      partials = scratch.take<PartOfRow>(rows.rows * geometry.parts);
    small = scratch.take<unsigned char>(rows.rows);
  }
};

}  // namespace torch_infotheory
