// devices.cpp -- which devices this build has kernels for, and what the row ops say on any other.
//
// setup.py and CMakeLists.txt define TI_CUDA, the architectures of the CUDA kernels, or
// TI_WITHOUT_CUDA, why there are none. Must not know how a row is reduced.
#include "dispatch/devices.h"

#include <torch/headeronly/version.h>
#include <torch/library.h>

#include "dispatch/ops.h"
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
  return {compiler, TORCH_VERSION,  kCpuInstructionSets, cpu_instruction_set(),
          TI_CUDA,  TI_WITHOUT_CUDA};
}

namespace {

// "kl_divergence" of the op "torch_infotheory::_kl_divergence_backward".
std::string quantity(std::string op) {
  const std::string backward = "_backward";
  op.erase(0, op.find("::") + 3);
  const size_t end = op.size() - std::min(op.size(), backward.size());
  return op.compare(end, backward.size(), backward) == 0 ? op.substr(0, end) : op;
}

// The dispatcher comes here where a device has no kernel of its own. Its own message would list
// the keys that have one.
void refuse(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& first = torch::jit::peek(*stack, 0, op.schema().arguments().size());
  const at::Device device = first.toTensor().device();
  const std::string name = quantity(op.schema().name());
  TORCH_CHECK_NOT_IMPLEMENTED(
      !device.is_cuda(), name, ": torch_infotheory was built without CUDA kernels, because ",
      TI_WITHOUT_CUDA, "; install the CUDA toolkit that fits torch.version.cuda, let CUDA_HOME ",
      "name it, and build again: pip install --no-build-isolation --no-cache-dir .");
  TORCH_CHECK_NOT_IMPLEMENTED(false, name, ": torch_infotheory has no kernels for ", device.type(),
                              " tensors; move them to the CPU");
}

TORCH_LIBRARY_IMPL(torch_infotheory, CompositeExplicitAutograd, m) {
  each_formula([&](auto formula) {
    using F = typename decltype(formula)::type;
    for (const std::string& name : {forward_name<F>(), backward_name<F>()})
      m.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse>());
  });
}

}  // namespace
}  // namespace torch_infotheory
