// lane.h -- how a function on a lane is declared: a lane of a SIMD pack or a thread of a GPU.
//
// Apart from lanes.h, for it holds no code: it may be included before an instruction set is chosen.
#pragma once
#include "core/compiler.h"

#if defined(__CUDACC__)
#define TI_LANE __host__ __device__ __forceinline__
#else
// One missed inlining costs a factor of 2 to 5 in the row loops.
#define TI_LANE inline __attribute__((always_inline))
#endif
