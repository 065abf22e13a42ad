// kernels_avx512.cpp -- the CPU kernels for AVX-512. The target is set before any include.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                    \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c")
#endif
#define TI_PACK_BYTES 64
#define TI_ISA kernels_avx512
#include "cpu/kernels_of_isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
