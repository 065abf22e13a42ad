// kernels.h -- the kernels of every formula, one table for each instruction set.
#pragma once
#include "core/rows.h"

namespace torch_infotheory {

// The doubles of scratch memory that a joint table needs.
inline int64_t scratch_of(const Rows& r) {
  const int64_t pack = 8;  // the last line may end within the widest pack
  return r.x_classes + 2 * r.classes + pack;
}
// Computes rows [begin, end). `scratch` is for joint tables.
using Kernel = void (*)(Rows& rows, int64_t begin, int64_t end, double* scratch);

// The kernels of one formula, which compute in float (for every dtype but float64) and in double.
struct Kernels {
  Kernel forward[2], backward[2];
};
struct KernelTable {
  const Kernels* rows;          // in the order of RowFormulas
  const Kernels* tables;        // in the order of TableFormulas
  Kernel sum_label_weights[2];  // into row_weights
};
// Each is defined by the file cpu/kernels_*.cpp of its instruction set.
KernelTable kernels_default();
#if defined(__x86_64__)
KernelTable kernels_avx2();
KernelTable kernels_avx512();
#endif

}  // namespace torch_infotheory
