// kernels.h -- the kernels of every formula, launched from the host.
//
// Compiled without torch, one file for each direction. Knows formulas by their position in
// core/formulas.h; must not know tensors. Read next: kernels_forward.cu.
#pragma once
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

// The sum of row_values times `factor`, divided by the weights of the labels if `weigh`; or these
// weights alone, to `weights`. `scratch` has room_of_sums.
void reduce_rows(const DeviceRows& d, int64_t numbers, bool weigh, double factor, double* scratch,
                 double* weights, device::Stream stream);
inline int64_t room_of_sums(int64_t numbers) { return 2 * int64_t(sum_geometry(numbers).grid); }

}  // namespace torch_infotheory
