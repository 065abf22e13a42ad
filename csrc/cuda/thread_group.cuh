// thread_group.cuh -- the threads that share a row, and their all-reduce.
#pragma once
#include "cuda/device.h"

namespace torch_infotheory {
namespace {

// Some lanes of a warp, or the whole block. `size` is a power of two, the same in the whole grid.
struct ThreadGroup {
  int size, rank;    // threads of the group, and this thread's number among them
  int index, count;  // this group's number in the block, and the groups of a block

  __device__ __forceinline__ explicit ThreadGroup(int size)
      : size(size),
        rank(int(threadIdx.x) & (size - 1)),
        index(int(threadIdx.x) / size),
        count(int(blockDim.x) / size) {}

  // Calls work(task, active) for the tasks of [0, tasks) assigned to this group. Every thread of a
  // block makes the same number of calls, because barriers and shuffles need all of them; in the
  // last call `active` is false if no task is left for the group.
  template <class Work>
  __device__ __forceinline__ void for_each(int64_t tasks, Work work) const {
    const int64_t step = int64_t(gridDim.x) * count;
    for (int64_t first = int64_t(blockIdx.x) * count; first < tasks; first += step)
      work(first + index, first + index < tasks);
  }
};

template <class V>
__device__ __forceinline__ V shuffle(V x, int step) {
  return __shfl_xor_sync(0xffffffffu, x, step);
}
struct Sum {
  template <class V>
  __device__ __forceinline__ V operator()(V a, V b) const {
    return a + b;
  }
};
struct Maximum {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ __forceinline__ double operator()(double a, double b) const { return fmax(a, b); }
};

// Reduces each of the first n elements of x over the threads of a group. Every thread receives the
// same bits. All threads of the block have to call this.
template <int n, class V, int capacity, class Op>
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, V (&x)[capacity], Op op) {
  for (int step = (group.size < kWarp ? group.size : kWarp) / 2; step > 0; step /= 2)
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = op(x[k], shuffle(x[k], step));
  if (group.size <= kWarp) return;
  __shared__ V per_warp[n][kMaxThreads / kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  __syncthreads();  // other threads may still read the results of an earlier call
  if (lane == 0)
#pragma unroll
    for (int k = 0; k < n; ++k) per_warp[k][warp] = x[k];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < n; ++k) x[k] = per_warp[k][lane & (warps - 1)];
  for (int step = warps / 2; step > 0; step /= 2)
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = op(x[k], shuffle(x[k], step));
}

}  // namespace
}  // namespace torch_infotheory
