// histogram_avx2.cpp -- soft histograms for one instruction set. The target is set before any
// include.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#define TI_PACK_BYTES 32
#define TI_ISA histogram_avx2
#include "cpu/histogram.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
