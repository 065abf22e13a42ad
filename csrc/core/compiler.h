// compiler.h -- which compilers the sources are written for; how inlined functions are declared.
//
// setup.py and CMakeLists.txt preprocess it before anything is compiled, so that an older one is
// refused in one sentence and not in pages. Holds no code.
#pragma once

#if defined(__clang__) ? __clang_major__ < 14 : __GNUC__ < 11
#error torch_infotheory: needs g++ 11, clang++ 14 or a newer one (CXX names the compiler to use)
#endif

// How a function on a lane is declared: a lane of a SIMD pack, or a thread of a GPU. Not in
// arithmetic.h, because core/rows.h is also included before an instruction set is chosen.
#if defined(__CUDACC__)
#define TI_LANE __host__ __device__ __forceinline__
#else
// One missed inlining costs a factor of 2 to 5 in the row loops.
#define TI_LANE inline __attribute__((always_inline))
#endif
