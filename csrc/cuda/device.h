// device.h -- what kernels and launches use of the CUDA toolkit.
//
// The only file with <<<>>>, because tests on the CPU replace it by a header of the same name.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda/launch_config.h"

#undef NDEBUG  // every build reports a class label out of range by the assertion below
#include <assert.h>

#define TI_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

namespace torch_infotheory::device {

using Stream = cudaStream_t;

// As in PyTorch, a class label out of range makes the CUDA context unusable.
__device__ __forceinline__ void device_check(bool label_is_a_class) { assert(label_is_a_class); }

// x, computed where this is called. Otherwise the compiler computes what is cheap again wherever it
// is used: arithmetic in double, once for each class.
__device__ __forceinline__ float computed_once(float x) {
  asm volatile("" : "+f"(x));
  return x;
}
__device__ __forceinline__ double computed_once(double x) {
  asm volatile("" : "+d"(x));
  return x;
}
__device__ __forceinline__ bool computed_once(bool x) {
  int word = x;
  asm volatile("" : "+r"(word));
  return word != 0;
}

// The dynamic shared memory of a block if two blocks share a multiprocessor of the current device.
inline size_t max_dynamic_shared() {
  int device = 0, per_multiprocessor = 0, reserved = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&per_multiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
  cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device);
  const int half = per_multiprocessor / 2 - reserved - int(kStaticShared);
  return std::max(int(kDefaultDynamicShared), half);
}

// check_launches of stream.h reports errors of both calls. The limit of a kernel is always set to
// the same value, because another thread may be about to launch it.
template <class... P, class... A>
void launch(void (*kernel)(P...), const Geometry& g, Stream stream, const A&... arguments) {
  if (g.shared > kDefaultDynamicShared)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         int(max_dynamic_shared()));
  kernel<<<g.grid, g.block, g.shared, stream>>>(P(arguments)...);
}

}  // namespace torch_infotheory::device
