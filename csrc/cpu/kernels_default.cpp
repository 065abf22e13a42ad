// kernels_default.cpp -- the CPU kernels for the baseline instruction set. The target is set before
// any include.
#if defined(__x86_64__) && !defined(__clang__)
// gcc 12 moves packs of 8 bytes through MMX registers and leaves the x87 unit, which long double is
// computed with, marked as in use.
#pragma GCC target("no-mmx")
#endif
#define TI_PACK_BYTES 16
#define TI_ISA kernels_default
#include "cpu/kernels_of_isa.h"
