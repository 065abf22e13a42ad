// devices.cpp -- which devices this build has kernels for, and the fallback for other devices.
//
// setup.py and CMakeLists.txt define TI_CUDA, the architectures of the CUDA kernels, or
// TI_WITHOUT_CUDA, the reason why there are none.
#include "dispatch/devices.h"

#include <ATen/ATen.h>
#include <torch/headeronly/version.h>

#include <array>
#include <atomic>

#include "dispatch/arguments.h"
#include "torch_infotheory/build.h"

#if !defined(TI_CUDA)
#define TI_CUDA ""
#endif
#if !defined(TI_WITHOUT_CUDA)
#define TI_WITHOUT_CUDA ""
#endif

namespace torch_infotheory {

Build build() {
#if defined(__clang__)
  const char* compiler = __VERSION__;
#else
  const char* compiler = "gcc " __VERSION__;
#endif
  return {.compiler = compiler,
          .torch = TORCH_VERSION,
          .instruction_sets = kCpuInstructionSets,
          .instruction_set = cpu_instruction_set(),
          .cuda = TI_CUDA,
          .why_not_cuda = TI_WITHOUT_CUDA};
}

namespace {

// All transforms, and the modes that would create a tensor without memory.
const c10::DispatchKeySet kAbove = c10::autograd_dispatch_keyset_with_ADInplaceOrView |
                                   c10::functorch_transforms_ks | c10::python_ks |
                                   c10::DispatchKeySet(c10::DispatchKey::Functionalize);

bool computes_in_double(at::DeviceType device) {
  const c10::impl::ExcludeDispatchKeyGuard plain(kAbove);
  try {
    at::ones({1}, at::TensorOptions(device).dtype(at::kDouble)).neg();
    return true;
  } catch (const std::exception&) {  // backends throw various types
    return false;
  }
}

constexpr size_t kDevices = at::COMPILE_TIME_MAX_DEVICE_TYPES;

}  // namespace

at::ScalarType probed_widest_type(at::DeviceType device) {
  enum Answer { kUnknown, kRefuses, kComputes };
  static std::array<std::atomic<Answer>, kDevices> answers{};
  auto& answer = answers[size_t(device)];
  if (answer == kUnknown) answer = computes_in_double(device) ? kComputes : kRefuses;
  return answer == kComputes ? at::kDouble : at::kFloat;
}

void warn_without_kernel(const char* op, const Tensor& input) {
  static std::array<std::atomic_flag, kDevices> warned;
  const at::Device device = input.device();
  const bool has_kernels = device.is_cpu() || device.is_meta() || (device.is_cuda() && *TI_CUDA);
  if (has_kernels || !is_plain_tensor(input) || warned[size_t(device.type())].test_and_set())
    return;
  const std::string why =
      !device.is_cuda()
          ? c10::str("has no kernels for ", device.type(), " tensors")
          : c10::str("was built without CUDA kernels, because ", TI_WITHOUT_CUDA,
                     " (to have them, install the CUDA toolkit that fits torch.version.cuda, let "
                     "CUDA_HOME name it, and build again: pip install --no-build-isolation "
                     "--no-cache-dir .)");
  TORCH_WARN(op, ": torch_infotheory ", why, "; operations of torch give the same results, and ",
             "take more time and memory");
}

}  // namespace torch_infotheory
