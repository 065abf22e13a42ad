// kernels_default.cpp -- the CPU skeletons for one instruction set. The target is set before any
// include.
#define TI_PACK_BYTES 16
#define TI_ISA kernels_default
#include "cpu/tables.inl"
