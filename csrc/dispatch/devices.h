// devices.h -- what a device says about its kernels.
#pragma once
#include <string>

namespace torch_infotheory {

constexpr const char* kCpuInstructionSets =
#if defined(__x86_64__)
    "default avx2 avx512";
#else
    "default";
#endif
// Which of them the CPU kernels use.
std::string cpu_instruction_set();

}  // namespace torch_infotheory
