// sums.cuh -- the sum over all rows, and what a mean over labels divides by.
//
// In double and in an order that depends on the number of rows alone. Knows rows; must not know
// formulas. Read next: tables.cuh.
#pragma once
#include "cuda/kernels.h"
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// What a row counts for in a mean.
__device__ __forceinline__ double weight_of_row(const DeviceRows& d, int64_t row) {
  const Label label(d.rows, locate(d, row), true);
  device::device_check(!label.bad);
  return label.counts ? weight_of_class(d, label.label) : 0;
}

// out[block] = the sum of what its threads find by of(i), for i in [0, numbers).
template <class Of>
__device__ __forceinline__ BlockTotals sum_of(int64_t numbers, Of of) {
  const int64_t threads = int64_t(gridDim.x) * blockDim.x;
  double sums[] = {0, 0};
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < numbers; i += threads) {
    const BlockTotals x = of(i);
    sums[0] += x.value;
    sums[1] += x.rows;
  }
  combine<2>(Team(int(blockDim.x)), sums, Sum());
  return {sums[0], sums[1]};
}

// `numbers` of row_values, as long as the call has them; and the weights of the rows.
__global__ void __launch_bounds__(kMostThreads, 1)
    sum_rows(const __grid_constant__ DeviceRows d, int64_t numbers, bool weigh, BlockTotals* out) {
  const BlockTotals x = sum_of(numbers, [&](int64_t i) {
    return BlockTotals{d.rows.row_values ? d.rows.row_values[i] : 0,
                       weigh ? weight_of_row(d, i) : 0};
  });
  if (threadIdx.x == 0) out[blockIdx.x] = x;
}

// One block. Leaves the reduced value or, for backward, the divisor of a mean.
__global__ void __launch_bounds__(kMostThreads, 1)
    finish_sum(const BlockTotals* of_blocks, int64_t blocks, double factor, bool weigh, void* value,
               Type type, double* weights) {
  const BlockTotals x = sum_of(blocks, [&](int64_t i) { return of_blocks[i]; });
  if (threadIdx.x > 0) return;
  if (weights)
    *weights = x.rows;
  else
    store_one(value, type, 0, factor * x.value / (weigh ? x.rows : 1));
}

}  // namespace
}  // namespace torch_infotheory
