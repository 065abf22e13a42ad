// histogram.cuh -- soft histograms: what samples add to the cells of a table, and what cells give
// back to samples.
//
// A warp adds the samples of its part one after the other, to a table of its own, and a lane has a
// cell of the window: no two lanes meet, so that nothing is atomic and results repeat bit for bit.
// In double, because a cell may receive millions of samples. Knows windows; must not know tensors.
// Read next: kernels_histogram.cu.
#pragma once
#include "core/histogram.h"
#include "cuda/memory.cuh"
#include "cuda/team.cuh"

namespace torch_infotheory {
namespace {

__device__ __forceinline__ double load_sample(const Samples& s, int64_t row, int64_t i) {
  return load_one<double>(s.data, s.type, row * s.row_stride + i * s.stride);
}
__device__ __forceinline__ bool counts(const Histogram& h, int64_t row, int64_t i) {
  return !h.mask || h.mask[row * h.mask_row_stride + i * h.mask_stride];
}

// The range of a variable in a row.
template <class W>
__device__ __forceinline__ Axis axis_of(const Histogram& h, int variable, int64_t row) {
  return Axis(h.range + 4 * row + 2 * variable, h.bins - W::support + 1, h.orders[variable]);
}
// The first cell of a sample in one variable, and the weights of this one and the next.
template <class W>
__device__ __forceinline__ int weigh(const Axis& axis, int64_t order, double sample,
                                     double (&w)[W::support]) {
  const Place at(axis, order, sample);
  if (order == 0) {
    W::weights(at.fraction, 0, w);
  } else {
    W::weights(at.fraction, order, w);
    for (int k = 0; k < W::support; ++k) w[k] *= at.factor;
  }
  return at.cell;
}

// The table of every part, in shared memory where it has room there. One warp for each.
template <class W>
__global__ void __launch_bounds__(kWarp, 1)
    add_samples(const __grid_constant__ Histogram h, bool in_shared) {
  constexpr int support = W::support;
  TI_DYNAMIC_SHARED(shared);
  __shared__ double by_x[kWarp][support], by_y[kWarp][support];
  __shared__ int64_t first_cell[kWarp];
  const int lane = int(threadIdx.x);
  const int64_t cells = h.bins * h.bins;
  for (int64_t unit = blockIdx.x; unit < h.rows * h.parts; unit += gridDim.x) {
    double* const table = in_shared ? reinterpret_cast<double*>(shared) : h.table + unit * cells;
    for (int64_t i = lane; i < cells; i += kWarp) table[i] = 0;
    const int64_t row = unit / h.parts, begin = unit % h.parts * h.samples_per_part(),
                  of_part = begin + h.samples_per_part(),
                  end = of_part < h.samples ? of_part : h.samples;
    const Axis axis_x = axis_of<W>(h, 0, row), axis_y = axis_of<W>(h, 1, row);
    for (int64_t first = begin; first < end; first += kWarp) {
      const int64_t left = end - first, i = first + lane;
      if (lane < left) {
        const bool there = counts(h, row, i);
        double x[support], y[support];
        const double sample_x = there ? load_sample(h.variables[0], row, i) : axis_x.low,
                     sample_y = there ? load_sample(h.variables[1], row, i) : axis_y.low;
        const int at_x = weigh<W>(axis_x, h.orders[0], sample_x, x),
                  at_y = weigh<W>(axis_y, h.orders[1], sample_y, y);
        const double weight = there ? h.weight.data ? load_sample(h.weight, row, i) : 1 : 0;
        for (int k = 0; k < support; ++k)
          by_x[lane][k] = there ? x[k] * weight : 0, by_y[lane][k] = y[k];
        first_cell[lane] = at_x * h.bins + at_y;
      }
      __syncthreads();  // also: every cell is 0
      for (int j = 0; j < kWarp && j < left; ++j) {
        for (int c = lane; c < support * support; c += kWarp)
          table[first_cell[j] + c / support * h.bins + c % support] +=
              by_x[j][c / support] * by_y[j][c % support];
        __syncthreads();  // the next sample may add to the same cells
      }
    }
    if (in_shared)
      for (int64_t i = lane; i < cells; i += kWarp) h.table[unit * cells + i] = table[i];
  }
}

// In the order of the parts, into the first one. A thread for each cell.
__global__ void __launch_bounds__(kMostThreads, 1) add_parts(const __grid_constant__ Histogram h) {
  const int64_t cells = h.bins * h.bins, step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < h.rows * cells; i += step) {
    double* const cell = h.table + i / cells * h.parts * cells + i % cells;
    double sum = *cell;
    for (int64_t part = 1; part < h.parts; ++part) sum += cell[part * cells];
    *cell = sum;
  }
}

// A sample that is no number makes none of any cell of its row. A block for each row.
__global__ void __launch_bounds__(kMostThreads, 1)
    write_table(const __grid_constant__ Histogram h) {
  const Team block(int(blockDim.x));
  const int64_t cells = h.bins * h.bins;
  block.each(h.rows, [&](int64_t row, bool) {
    const double* const table = h.table + row * h.parts * cells;
    double total[] = {0};
    for (int64_t i = block.rank; i < cells; i += block.lanes) total[0] += table[i];
    combine<1>(block, total, Sum());
    const bool is_number = total[0] == total[0];
    for (int64_t i = block.rank; i < cells; i += block.lanes)
      store_one(const_cast<void*>(h.out.data), h.out.type,
                row * h.out.row_stride + i * h.out.stride, is_number ? table[i] : total[0]);
  });
}

// What the cells around every sample give back. A thread for each.
template <class W>
__global__ void __launch_bounds__(kMostThreads, 1) read_cells(const __grid_constant__ Histogram h) {
  constexpr int support = W::support;
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t n = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; n < h.rows * h.samples;
       n += step) {
    const int64_t row = n / h.samples, i = n % h.samples;
    double sum = 0;
    if (counts(h, row, i)) {
      double x[support], y[support];
      const int at_x = weigh<W>(axis_of<W>(h, 0, row), h.orders[0],
                                load_sample(h.variables[0], row, i), x),
                at_y = weigh<W>(axis_of<W>(h, 1, row), h.orders[1],
                                load_sample(h.variables[1], row, i), y);
      const double* const cells = h.table + row * h.bins * h.bins + at_x * h.bins + at_y;
      for (int k = 0; k < support; ++k) {
        double line = 0;
        for (int l = 0; l < support; ++l) line += y[l] * cells[k * h.bins + l];
        sum += x[k] * line;
      }
    }
    store_one(const_cast<void*>(h.out.data), h.out.type, row * h.out.row_stride + i * h.out.stride,
              sum);
  }
}

}  // namespace
}  // namespace torch_infotheory
