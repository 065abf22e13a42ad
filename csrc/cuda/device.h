// device.h -- the words of the CUDA toolkit that kernels and launches use.
//
// The only file with <<<>>>. A header of the same name stands in for it where kernels are tested on
// a CPU. Must not know torch, rows, or formulas. Read next: team.cuh.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda/launch_config.h"

#undef NDEBUG  // the assertion below is the error message of a bad class label in every build
#include <assert.h>

#define TI_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

namespace torch_infotheory::device {

using Stream = cudaStream_t;

// As in torch, a class label out of range ends the process's use of the device.
__device__ __forceinline__ void device_check(bool label_is_a_class) { assert(label_is_a_class); }

// Dynamic shared memory of a block where two of them share a processor of the current device.
inline size_t shared_memory() {
  int device = 0, of_processor = 0, reserved = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&of_processor, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
  cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device);
  const int half = of_processor / 2 - reserved - int(kSharedBySums);
  return std::max(int(kSharedMemory), half);
}

// Errors of both are found by check_launches of stream.h. A kernel is always granted the same
// amount, for another thread may be about to launch it.
template <class... P, class... A>
void launch(void (*kernel)(P...), const Geometry& g, Stream stream, const A&... arguments) {
  if (g.shared > kSharedMemory)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_memory()));
  kernel<<<g.grid, g.block, g.shared, stream>>>(P(arguments)...);
}

}  // namespace torch_infotheory::device
