// pack_avx512.cpp -- packs of 64 bytes, on a machine that has the instructions. main() is compiled
// for every machine, so the target is set after the headers that it shares.
#define TI_PACK_BYTES 64
#include "check.h"
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                    \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c")
#endif
#include "pack.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

int main() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return torch_infotheory::test_pack("avx512, packs of 64 bytes");
  puts("not run: avx512, which this machine lacks");
}
#else
int main() { puts("not run: avx512, which this machine lacks"); }
#endif
