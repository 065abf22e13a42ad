// kernels.h -- launches the kernels of every formula from the host.
//
// The kernels_*.cu files compile without torch, and in parallel.
#pragma once
#include "core/histogram.h"
#include "cuda/device.h"
#include "cuda/device_rows.h"
#include "cuda/plan.h"

namespace torch_infotheory {

// The geometry and the scratch memory of `d` are set.
using DeviceKernel = void (*)(DeviceRows d, const Plan& plan, device::Stream stream);
// A formula is given by its index in RowFormulas or TableFormulas.
DeviceKernel row_forward(int formula);
DeviceKernel row_backward(int formula);

DeviceKernel table_forward(int formula);
DeviceKernel table_backward(int formula);

// The sums over the rows of a block: their values and, in a mean over labels, their weights.
struct BlockTotals {
  double value, weight;
};
inline BlockTotals* allocate_totals(Scratch& scratch, int64_t count) {
  return scratch.allocate<BlockTotals>(sum_geometry(count).grid);
}
// Stores the sum of the `count` row_values times `factor`, divided by the sum of the rows' weights
// if `weighted`. With `weights`, stores only the sum of the weights, there. `totals` has one
// element for each block.
void reduce_rows(const DeviceRows& d, int64_t count, bool weighted, double factor,
                 BlockTotals* totals, double* weights, device::Stream stream);

// Soft histograms: from samples to `out` by way of `table`, and from `table` to `out`.
void scatter_samples(const Histogram& h, device::Stream stream);
void gather_cells(const Histogram& h, device::Stream stream);

}  // namespace torch_infotheory
