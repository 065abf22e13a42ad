// faults.cpp -- small kernels, most of them with one fault: shows that the emulation and the
// sanitizers find each. test_engine.py runs them; the argument is the name of a kernel.
#include <stdio.h>
#include <string.h>

#include <exception>
#include <vector>

#include "cuda/device.h"

namespace {

using torch_infotheory::device::device_check;

constexpr unsigned kThreads = 64, kBlocks = 3;

// Sums the block by shuffles in each warp and through shared memory between them.
__device__ float block_sum(float v, bool with_barrier) {
  __shared__ float warps[kThreads / 32];
  for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(0xffffffff, v, lanes);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  if (with_barrier) __syncthreads();
  const float sum = warps[0] + warps[1];
  __syncthreads();
  return sum;
}
__device__ void store(float* out, float v) {
  if (threadIdx.x == 0) out[blockIdx.x] = v;
}
__global__ void sums(const float* x, float* out) {
  store(out, block_sum(x[blockIdx.x * blockDim.x + threadIdx.x], true));
}
__global__ void missing_barrier(const float* x, float* out) {
  store(out, block_sum(x[threadIdx.x], false));
}
__global__ void beyond_the_input(const float* x, float* out) {
  store(out, x[kBlocks * kThreads - 1 + (threadIdx.x == 0)]);
}
__global__ void beyond_shared_memory(const float* x, float* out) {
  TI_DYNAMIC_SHARED(raw);
  float* row = reinterpret_cast<float*>(raw);
  row[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  store(out, row[1]);
}
__global__ void unwritten_shared_memory(const float*, float* out) {
  TI_DYNAMIC_SHARED(raw);
  store(out, reinterpret_cast<float*>(raw)[threadIdx.x]);
}
__global__ void divergent_barrier(const float* x, float* out) {
  if (threadIdx.x < 40) __syncthreads();
  store(out, x[threadIdx.x]);
}
__global__ void divergent_shuffle(const float* x, float* out) {
  float v = x[threadIdx.x];
  if (threadIdx.x % 32 < 8) v = __shfl_xor_sync(0xffffffff, v, 4);
  store(out, v);
}
__global__ void partial_mask(const float* x, float* out) {
  store(out, __shfl_xor_sync(0xff, x[threadIdx.x], 4));
}
__global__ void failed_check(const float* x, float* out) {
  device_check(threadIdx.x != 7);
  store(out, x[threadIdx.x]);
}

const struct {
  const char* name;
  void (*kernel)(const float*, float*);
} kKernels[] = {
    {"sums", sums},
    {"missing_barrier", missing_barrier},
    {"beyond_the_input", beyond_the_input},
    {"beyond_shared_memory", beyond_shared_memory},
    {"unwritten_shared_memory", unwritten_shared_memory},
    {"divergent_barrier", divergent_barrier},
    {"divergent_shuffle", divergent_shuffle},
    {"partial_mask", partial_mask},
    {"failed_check", failed_check},
};

}  // namespace

int main(int, char** arguments) {
  std::vector<float> x(kBlocks * kThreads), out(kBlocks);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  const torch_infotheory::Geometry geometry{kBlocks, kThreads, kThreads * sizeof(float)};
  for (const auto& [name, kernel] : kKernels) {
    if (strcmp(name, arguments[1])) continue;
    try {
      torch_infotheory::device::launch(kernel, geometry, {}, x.data(), out.data());
    } catch (const std::exception& e) {
      printf("raised: %s\n", e.what());
      return 0;
    }
    printf("gave: %g %g %g\n", out[0], out[1], out[2]);
    return 0;
  }
  return 2;
}
