// kernels_avx2.cpp -- the CPU kernels for AVX2. The target is set before any include.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#define TI_PACK_BYTES 32
#define TI_ISA kernels_avx2
#include "cpu/kernels_of_isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
