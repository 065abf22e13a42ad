// sum_rows.cuh -- sums the values of all rows, and the weights that a mean over labels divides by.
//
// In double and in an order that depends only on the number of rows.
#pragma once
#include "cuda/kernels.h"
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// The weight of a row in a mean over labels.
__device__ __forceinline__ double row_weight(const DeviceRows& d, int64_t row) {
  const Label label(d.rows, offsets_of(d, row), true);
  device::device_check(!label.out_of_range);
  return label.counts ? class_weight(d, label.index) : 0;
}

// The sum of get(i) over this block's share of [0, count).
template <class Get>
__device__ __forceinline__ BlockTotals block_sum(int64_t count, Get get) {
  const int64_t threads = int64_t(gridDim.x) * blockDim.x;
  double sums[] = {0, 0};
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
    const BlockTotals x = get(i);
    sums[0] += x.value;
    sums[1] += x.weight;
  }
  all_reduce<2>(ThreadGroup(int(blockDim.x)), sums, Sum());
  return {sums[0], sums[1]};
}

// Sums row_values, which has `count` elements if it is there, and the weights of the rows.
__global__ void __launch_bounds__(kMaxThreads, 1)
    sum_rows(const __grid_constant__ DeviceRows d, int64_t count, bool weighted,
             BlockTotals* totals) {
  const BlockTotals x = block_sum(count, [&](int64_t i) {
    return BlockTotals{d.rows.row_values ? d.rows.row_values[i] : 0,
                       weighted ? row_weight(d, i) : 0};
  });
  if (threadIdx.x == 0) totals[blockIdx.x] = x;
}

// Runs as one block. Stores the reduced value or, for backward, the divisor of a mean.
__global__ void __launch_bounds__(kMaxThreads, 1)
    finalize_sum(const BlockTotals* totals, int64_t blocks, double factor, bool weighted,
                 void* value, Type type, double* weights) {
  const BlockTotals x = block_sum(blocks, [&](int64_t i) { return totals[i]; });
  if (threadIdx.x > 0) return;
  if (weights)
    *weights = x.weight;
  else
    store_element(value, type, 0, factor * x.value / (weighted ? x.weight : 1));
}

}  // namespace
}  // namespace torch_infotheory
