// kernels.h -- the kernels of every formula, launched from the host.
//
// Compiled without torch, one file for each direction. Knows formulas by their position in
// core/formulas.h; must not know tensors. Read next: kernels_forward.cu.
#pragma once
#include "core/histogram.h"
#include "cuda/device.h"
#include "cuda/device_rows.h"
#include "cuda/plan.h"

namespace torch_infotheory {

// `rows` as in the CPU's kernels; the geometry and the scratch memory of DeviceRows are set.
using DeviceKernel = void (*)(DeviceRows d, const Plan& plan, device::Stream stream);
// By the position in RowFormulas or in TableFormulas.
DeviceKernel row_forward(int formula);
DeviceKernel row_backward(int formula);

DeviceKernel table_forward(int formula);
DeviceKernel table_backward(int formula);

// What a block adds up; rows: their weights, where labels state them.
struct BlockTotals {
  double value, rows;
};
inline BlockTotals* take_totals(Scratch& scratch, int64_t numbers) {
  return scratch.take<BlockTotals>(sum_geometry(numbers).grid);
}
// The sum of row_values times `factor`, divided by the weights of the labels if `weigh`; or these
// weights alone, to `weights`. `totals` has one for each block.
void reduce_rows(const DeviceRows& d, int64_t numbers, bool weigh, double factor,
                 BlockTotals* totals, double* weights, device::Stream stream);

// Soft histograms: the parts of `table` are added up to `out`; `out` from `table`.
void scatter_samples(const Histogram& h, device::Stream stream);
void gather_cells(const Histogram& h, device::Stream stream);

}  // namespace torch_infotheory
