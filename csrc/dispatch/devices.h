// devices.h -- what a device says about its kernels.
#pragma once
#include <ATen/core/Tensor.h>

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

// The widest type that a device computes in: float64, unless it refuses it.
at::ScalarType probed_widest_type(at::DeviceType device);
inline at::ScalarType widest_type(at::Device device) {
  return device.is_cpu() || device.is_cuda() || device.is_meta()
             ? at::kDouble
             : probed_widest_type(device.type());
}

// Says, once for each kind of device, that `op` runs as operations of torch because its tensors are
// where this build has no kernels.
void warn_without_kernel(const char* op, const at::Tensor& of);

}  // namespace torch_infotheory
