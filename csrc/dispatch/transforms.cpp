// transforms.cpp -- Meta and autocast of every row op, each written once.
//
// Knows the shape rules; must not know how a row is reduced. Read next: vmap.cpp.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

// Meta: the shape rules and nothing else.
template <class F>
std::tuple<Tensor, Tensor> forward_meta(const Tensor& p, const optional<Tensor>& q,
                                        const optional<Tensor>& weight, int64_t dim, int64_t kinds,
                                        int64_t reduction, int64_t ignore_index,
                                        double label_smoothing, double scale,
                                        optional<ScalarType> dtype) {
  const Options o{dim, kinds, reduction, ignore_index, label_smoothing, scale};
  check_operands<F, c10::SymInt>({p, q, weight}, o);
  return allocate<F, c10::SymInt>({p, q, weight}, o, dtype);
}
template <class F>
Tensor backward_meta(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                     const optional<Tensor>& weight, const Tensor& saved, int64_t dim,
                     int64_t kinds, int64_t reduction, int64_t ignore_index, double label_smoothing,
                     double scale, int64_t wrt) {
  check_backward_operands<F, c10::SymInt>(
      g, saved, {p, q, weight}, {dim, kinds, reduction, ignore_index, label_smoothing, scale}, wrt);
  return allocate_gradient<c10::SymInt>(wrt ? *q : p);
}

// Autocast: a float32 result, without a float32 copy of the input.
template <class F, c10::DeviceType device>
std::tuple<Tensor, Tensor> forward_autocast(const Tensor& p, const optional<Tensor>& q,
                                            const optional<Tensor>& weight, int64_t dim,
                                            int64_t kinds, int64_t reduction, int64_t ignore_index,
                                            double label_smoothing, double scale,
                                            optional<ScalarType> dtype) {
  c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const Options o{dim, kinds, reduction, ignore_index, label_smoothing, scale};
  const Operands x{p, q, weight};
  if (!dtype && value_type(x, o, dtype) != at::kDouble) dtype = at::kFloat;
  return call_forward<F>(x, o, dtype);
}

TORCH_LIBRARY_IMPL(torch_infotheory, Meta, m) {
  each_row_op([&](auto formula) {
    using F = decltype(formula);
    m.impl(forward_name<F>().c_str(), &forward_meta<F>);
    m.impl(backward_name<F>().c_str(), &backward_meta<F>);
  });
}
template <c10::DeviceType device>
void register_autocast(torch::Library& m) {
  each_row_op([&](auto formula) {
    using F = decltype(formula);
    m.impl(forward_name<F>().c_str(), &forward_autocast<F, device>);
  });
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastCPU, m) { register_autocast<c10::DeviceType::CPU>(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastCUDA, m) {
  register_autocast<c10::DeviceType::CUDA>(m);
}

}  // namespace
}  // namespace torch_infotheory
