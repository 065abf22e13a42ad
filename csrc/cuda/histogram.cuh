// histogram.cuh -- soft histograms: scatters samples to the cells of a table and gathers them back.
//
// Each warp has a table of its own and adds the samples of its part one after another, with one
// lane for each cell of the window. No two lanes write to the same cell, so no atomics are needed
// and results are bitwise reproducible. Sums are in double, because a cell may receive millions of
// samples.
#pragma once
#include "core/histogram.h"
#include "cuda/memory.cuh"
#include "cuda/thread_group.cuh"

namespace torch_infotheory {
namespace {

__device__ __forceinline__ double load_sample(const Samples& s, int64_t row, int64_t i) {
  return load_element<double>(s.data, s.type, row * s.row_stride + i * s.stride);
}
__device__ __forceinline__ bool counts(const Histogram& h, int64_t row, int64_t i) {
  return !h.mask || h.mask[row * h.mask_row_stride + i * h.mask_stride];
}

template <class W>
__device__ __forceinline__ Axis axis_of(const Histogram& h, int variable, int64_t row) {
  return Axis(h.range + 4 * row + 2 * variable, h.bins - W::support + 1, h.orders[variable]);
}
// Returns the first cell of a sample in one variable, and in w the weights of it and the next ones.
template <class W>
__device__ __forceinline__ int window_weights(const Axis& axis, int64_t order, double sample,
                                              double (&w)[W::support]) {
  const Place place(axis, order, sample);
  if (order == 0) {
    W::weights(place.fraction, 0, w);
  } else {
    W::weights(place.fraction, order, w);
    for (int k = 0; k < W::support; ++k) w[k] *= place.factor;
  }
  return place.cell;
}

// The table of every part, in shared memory if it fits. A warp for each part.
template <class W>
__global__ void __launch_bounds__(kWarp, 1)
    add_samples(const __grid_constant__ Histogram h, bool in_shared) {
  constexpr int support = W::support;
  TI_DYNAMIC_SHARED(shared);
  __shared__ double weights_x[kWarp][support], weights_y[kWarp][support];
  __shared__ int64_t first_cell[kWarp];
  const int lane = int(threadIdx.x);
  const int64_t cells = h.bins * h.bins;
  for (int64_t part = blockIdx.x; part < h.rows * h.parts; part += gridDim.x) {
    double* const table = in_shared ? reinterpret_cast<double*>(shared) : h.table + part * cells;
    for (int64_t i = lane; i < cells; i += kWarp) table[i] = 0;
    const int64_t row = part / h.parts, begin = part % h.parts * h.samples_per_part(),
                  end_of_part = begin + h.samples_per_part(),
                  end = end_of_part < h.samples ? end_of_part : h.samples;
    const Axis axis_x = axis_of<W>(h, 0, row), axis_y = axis_of<W>(h, 1, row);
    for (int64_t first = begin; first < end; first += kWarp) {
      const int64_t left = end - first, i = first + lane;
      if (lane < left) {
        const bool used = counts(h, row, i);
        double x[support], y[support];
        const double sample_x = used ? load_sample(h.variables[0], row, i) : axis_x.low,
                     sample_y = used ? load_sample(h.variables[1], row, i) : axis_y.low;
        const int cell_x = window_weights<W>(axis_x, h.orders[0], sample_x, x),
                  cell_y = window_weights<W>(axis_y, h.orders[1], sample_y, y);
        const double weight = used ? h.weight.data ? load_sample(h.weight, row, i) : 1 : 0;
        for (int k = 0; k < support; ++k)
          weights_x[lane][k] = used ? x[k] * weight : 0, weights_y[lane][k] = y[k];
        first_cell[lane] = cell_x * h.bins + cell_y;
      }
      __syncthreads();  // the samples are in shared memory, and every cell is 0
      for (int j = 0; j < kWarp && j < left; ++j) {
        for (int c = lane; c < support * support; c += kWarp)
          table[first_cell[j] + c / support * h.bins + c % support] +=
              weights_x[j][c / support] * weights_y[j][c % support];
        __syncthreads();  // the next sample may add to the same cells
      }
    }
    if (in_shared)
      for (int64_t i = lane; i < cells; i += kWarp) h.table[part * cells + i] = table[i];
  }
}

// Adds the tables of the parts to the first one, in their order. A thread for each cell.
__global__ void __launch_bounds__(kMaxThreads, 1) add_parts(const __grid_constant__ Histogram h) {
  const int64_t cells = h.bins * h.bins, step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < h.rows * cells; i += step) {
    double* const cell = h.table + i / cells * h.parts * cells + i % cells;
    double sum = *cell;
    for (int64_t part = 1; part < h.parts; ++part) sum += cell[part * cells];
    *cell = sum;
  }
}

// Rounds the sums. A NaN sample makes every cell of its row NaN. A block for each row.
__global__ void __launch_bounds__(kMaxThreads, 1) write_table(const __grid_constant__ Histogram h) {
  const ThreadGroup block(int(blockDim.x));
  const int64_t cells = h.bins * h.bins;
  block.for_each(h.rows, [&](int64_t row, bool) {
    const double* const table = h.table + row * h.parts * cells;
    double total[] = {0};
    for (int64_t i = block.rank; i < cells; i += block.size) total[0] += table[i];
    all_reduce<1>(block, total, Sum());
    const bool has_nan = total[0] != total[0];
    for (int64_t i = block.rank; i < cells; i += block.size)
      store_element(const_cast<void*>(h.out.data), h.out.type,
                    row * h.out.row_stride + i * h.out.stride, has_nan ? total[0] : table[i]);
  });
}

// The weighted sum of the cells around every sample. A thread for each sample.
template <class W>
__global__ void __launch_bounds__(kMaxThreads, 1) read_cells(const __grid_constant__ Histogram h) {
  constexpr int support = W::support;
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t n = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; n < h.rows * h.samples;
       n += step) {
    const int64_t row = n / h.samples, i = n % h.samples;
    double sum = 0;
    if (counts(h, row, i)) {
      double x[support], y[support];
      const int cell_x = window_weights<W>(axis_of<W>(h, 0, row), h.orders[0],
                                           load_sample(h.variables[0], row, i), x),
                cell_y = window_weights<W>(axis_of<W>(h, 1, row), h.orders[1],
                                           load_sample(h.variables[1], row, i), y);
      const double* const cells = h.table + row * h.bins * h.bins + cell_x * h.bins + cell_y;
      for (int k = 0; k < support; ++k) {
        double line = 0;
        for (int l = 0; l < support; ++l) line += y[l] * cells[k * h.bins + l];
        sum += x[k] * line;
      }
    }
    store_element(const_cast<void*>(h.out.data), h.out.type,
                  row * h.out.row_stride + i * h.out.stride, sum);
  }
}

}  // namespace
}  // namespace torch_infotheory
