// team.cuh -- the threads that share a row, and what they do together.
//
// Knows threads; must not know memory layout, kinds, or formulas. Read next: memory.cuh.
#pragma once
#include "cuda/device.h"

namespace torch_infotheory {
namespace {

// `lanes` is a power of two, the same in the whole grid: lanes of one warp, or the whole block.
struct Team {
  int lanes, rank, index,
      count;  // threads of a team, this thread in it; this team, teams of a block
  __device__ __forceinline__ explicit Team(int lanes)
      : lanes(lanes),
        rank(int(threadIdx.x) & (lanes - 1)),
        index(int(threadIdx.x) / lanes),
        count(int(blockDim.x) / lanes) {}

  // work(unit, there) for the units of [0, units) that are this team's. Every thread of a block
  // makes as many turns, so that warps and blocks stay together; in the last one `there` is false
  // where the team has no unit.
  template <class Work>
  __device__ __forceinline__ void each(int64_t units, Work work) const {
    const int64_t step = int64_t(gridDim.x) * count;
    for (int64_t first = int64_t(blockIdx.x) * count; first < units; first += step)
      work(first + index, first + index < units);
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

// The first n numbers become those of all threads of the team together, in every one of them and to
// the same bit. Every thread of the block takes part.
template <int n, class V, int room, class Merge>
__device__ __forceinline__ void combine(const Team& team, V (&x)[room], Merge merge) {
  for (int step = (team.lanes < kWarp ? team.lanes : kWarp) / 2; step > 0; step /= 2)
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = merge(x[k], shuffle(x[k], step));
  if (team.lanes <= kWarp) return;
  __shared__ V of_warp[n][kMostThreads / kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  __syncthreads();  // the numbers of an earlier call may still be read
  if (lane == 0)
#pragma unroll
    for (int k = 0; k < n; ++k) of_warp[k][warp] = x[k];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < n; ++k) x[k] = of_warp[k][lane & (warps - 1)];
  for (int step = warps / 2; step > 0; step /= 2)
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = merge(x[k], shuffle(x[k], step));
}

}  // namespace
}  // namespace torch_infotheory
