// pack_avx2.cpp -- packs of 32 bytes, on a machine that has the instructions. main() is compiled
// for every machine, so the target is set after the headers that it shares.
#define TI_PACK_BYTES 32
#include "check.h"
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#include "pack.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

int main() {
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return torch_infotheory::test_pack("avx2, packs of 32 bytes");
  puts("not run: avx2, which this machine lacks");
}
#else
int main() { puts("not run: avx2, which this machine lacks"); }
#endif
