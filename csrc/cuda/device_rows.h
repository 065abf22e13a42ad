// device_rows.h -- the border struct of core/rows.h as a kernel takes it, by value.
//
// Knows layouts; must not know CUDA, tensors, or formulas. Read next: walk.cuh.
#pragma once
#include "core/rows.h"
#include "cuda/launch_config.h"

namespace torch_infotheory {

// What a part of a row was reduced to: sums relative to the highest logit of each operand.
struct Partial {
  double high_p, high_q, p, q, value, d_lp, d_lq;
};

// Rows::sizes and Operand::row_strides point to memory of the host; here are their copies.
struct DeviceRows {
  enum Place { kP, kQ, kValue, kG, kGradient, kPlaces };

  Rows rows;
  int64_t sizes[kMaxRank], strides[kPlaces][kMaxRank];
  Geometry geometry;
  Type compute_type;  // also of Rows::weight

  Partial* partials = nullptr;      // of every part of every row, where rows are cut
  bool normalised = false;          // `saved` holds the normalisers already
  unsigned char* small = nullptr;   // of every row, for divergences: to be computed again in double
  double* tables = nullptr;         // see tables.cuh
  const double* divisor = nullptr;  // of a mean over labels, which only the device knows

  DeviceRows(const Rows& r, const Geometry& g, bool in_double, double* scratch)
      : rows(r), geometry(g), compute_type(in_double ? kDouble : kFloat) {
    const Operand* const operands[] = {&r.p, &r.q, &r.value, &r.g, &r.gradient};
    for (int d = 0; d < r.rank; ++d) {
      sizes[d] = r.sizes[d];
      for (int i = 0; i < kPlaces; ++i)
        strides[i][d] = operands[i]->row_strides ? operands[i]->row_strides[d] : 0;
    }
    partials = reinterpret_cast<Partial*>(scratch);
    small = reinterpret_cast<unsigned char*>(scratch + room_of_partials(r, g));
    tables = scratch;
  }

  // What the scratch memory of a call has to hold, in numbers of double.
  static int64_t room_of_partials(const Rows& r, const Geometry& g) {
    constexpr int64_t numbers = sizeof(Partial) / sizeof(double);
    return g.parts > 1 && !r.elementwise ? r.rows * g.parts * numbers : 0;
  }
  static int64_t room(const Rows& r, const Geometry& g) {
    return room_of_partials(r, g) + quotient_up(r.rows, sizeof(double));
  }
  // For each line and column of a table two numbers, and four for the table.
  static int64_t room_of_tables(const Rows& r) {
    return r.rows * (3 * r.x_classes + 2 * r.classes + 4);
  }
};

}  // namespace torch_infotheory
