// transforms.cpp -- Meta and autocast of all row ops.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

// Meta applies the shape rules only.
template <class F>
std::tuple<Tensor, Tensor> forward_meta(const Operands& x, const Options& o,
                                        optional<ScalarType> dtype) {
  check_operands<F, c10::SymInt>(x, o);
  return allocate<F, c10::SymInt>(x, o, dtype);
}
template <class F>
Tensor backward_meta(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                     int64_t wrt) {
  check_backward_operands<F, c10::SymInt>(g, saved, x, o, wrt);
  return allocate_gradient<F, c10::SymInt>(x.input(wrt));
}

// Autocast returns float32 without converting the input, because kernels compute in float32.
template <class F, c10::DeviceType device>
std::tuple<Tensor, Tensor> forward_autocast(const Operands& x, const Options& o,
                                            optional<ScalarType> dtype) {
  c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  if (!dtype && value_type(x, o, dtype) != at::kDouble) dtype = at::kFloat;
  return call_forward<F>(x, o, dtype);
}

TORCH_LIBRARY_IMPL(torch_infotheory, Meta, m) {
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_row_op<F, &forward_meta<F>, &backward_meta<F>>(m);
  });
}
template <c10::DeviceType device>
void register_autocast(torch::Library& m) {
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_forward<F, &forward_autocast<F, device>>(m);
  });
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastCPU, m) { register_autocast<c10::DeviceType::CPU>(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastCUDA, m) {
  register_autocast<c10::DeviceType::CUDA>(m);
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastMPS, m) { register_autocast<c10::DeviceType::MPS>(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastXPU, m) { register_autocast<c10::DeviceType::XPU>(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastHPU, m) { register_autocast<c10::DeviceType::HPU>(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastPrivateUse1, m) {
  register_autocast<c10::DeviceType::PrivateUse1>(m);
}

}  // namespace
}  // namespace torch_infotheory
