// devices.h -- queries about devices: instruction sets, support of float64, missing kernels.
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
// The one that the CPU kernels use.
std::string cpu_instruction_set();

// The widest type that a device supports: float64, or else float32.
at::ScalarType probed_widest_type(at::DeviceType device);
inline at::ScalarType widest_type(at::Device device) {
  return device.is_cpu() || device.is_cuda() || device.is_meta()
             ? at::kDouble
             : probed_widest_type(device.type());
}

// Warns, once per device type, that `op` is composed of ATen ops because this build has no kernels
// for the device of `input`.
void warn_without_kernel(const char* op, const at::Tensor& input);

}  // namespace torch_infotheory
