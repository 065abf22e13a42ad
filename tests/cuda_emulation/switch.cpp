// switch.cpp -- lets calls on CPU tensors reach the CUDA kernels.
//
// The emulated library registers the kernels of csrc/cuda at the CUDA key, unchanged. BackendSelect
// stands between autograd and the kernel of every device: while the switch is on, a call that would
// go to the CPU key is sent to the CUDA key instead, whose pointers may well be those of CPU
// tensors here. Everything above, autograd and shape checks included, is what a CUDA tensor would
// meet.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "dispatch/devices.h"

// Of the extension's, for devices without kernels: no such tensor comes here.
at::ScalarType torch_infotheory::probed_widest_type(at::DeviceType) { return at::kDouble; }

namespace {

bool is_on = false;

void choose(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  using c10::DispatchKey;
  const auto below =
      keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, DispatchKey::BackendSelect);
  const bool emulate = is_on && below.highestPriorityTypeId() == DispatchKey::CPU &&
                       op.hasKernelForDispatchKey(DispatchKey::CUDA);
  op.redispatchBoxed(emulate ? c10::DispatchKeySet(DispatchKey::CUDA) : below, stack);
}

TORCH_LIBRARY_IMPL(torch_infotheory, BackendSelect, m) {
  for (const auto& op : c10::Dispatcher::singleton().getAllOpNames())
    if (op.name.rfind("torch_infotheory::_", 0) == 0)
      m.impl(op.name.c_str(), torch::CppFunction::makeFromBoxedFunction<&choose>());
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void cuda_emulation_switch(bool on) {
  is_on = on;
}
