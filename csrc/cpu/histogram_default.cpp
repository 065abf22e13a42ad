// histogram_default.cpp -- soft histograms for one instruction set. The target is set before any
// include.
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("no-mmx")  // as in kernels_default.cpp
#endif
#define TI_PACK_BYTES 16
#define TI_ISA histogram_default
#include "cpu/histogram.h"
