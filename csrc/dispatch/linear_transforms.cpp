// linear_transforms.cpp -- autocast and vmap of `_linear_loss`. vmap loops over samples.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "dispatch/batched.h"
#include "dispatch/linear.h"

namespace torch_infotheory {
namespace {

// Casts the factors to the type of autocast, as torch's matrix products do. The result is float32.
template <c10::DeviceType device>
LinearResults forward_autocast(at::TensorList operands, at::IntArrayRef ints,
                               at::ArrayRef<double> floats, ScalarType dtype) {
  const c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const LinearOptions o = linear_options(ints, floats);
  LinearTensors x = linear_tensors(operands, o);
  const auto type = at::autocast::get_lower_precision_fp_from_device_type(device);
  for (size_t i = 0; i < kDifferentiable; ++i)
    if (x[i].defined() && (i < kTarget || o.has_teacher()))
      x[i] = at::autocast::cached_cast(type, x[i], device);
  const LinearCall call(x, o);
  return linear_op().call(call.tensors, call.ints, call.floats, dtype);
}

// A list of tensors at the innermost level of vmap.
struct BatchedList {
  std::vector<Batched> list;
  int64_t level, samples = 0;
  bool is_grads_batched = false;

  explicit BatchedList(at::ArrayRef<Tensor> tensors) : level(level_of(tensors)) {
    for (const Tensor& t : tensors) {
      const Batched& x = list.emplace_back(t, level);
      if (!x.batched) continue;
      samples = x.t.size(0);
      is_grads_batched = x.is_grads_batched;
    }
  }
  std::vector<Tensor> sample(int64_t s) const {
    std::vector<Tensor> out;
    for (const Batched& x : list) out.push_back(x.batched ? x.t.select(0, s) : x.t);
    return out;
  }
  // Calls call(tensors of a sample) for every sample and stacks each of the results.
  template <class Call>
  std::vector<Tensor> each(Call call) const {
    TORCH_CHECK(samples > 0, "linear loss: vmap over no samples at all");
    std::vector<std::vector<Tensor>> results;
    for (int64_t s = 0; s < samples; ++s) {
      const std::vector<Tensor> outputs = call(sample(s));
      results.resize(outputs.size());
      for (size_t i = 0; i < outputs.size(); ++i) results[i].push_back(outputs[i]);
    }
    std::vector<Tensor> out;
    for (const auto& samples_of_result : results) {
      const Tensor all = at::stack(samples_of_result);
      out.push_back(is_grads_batched ? at::makeBatched(all, {{level, 0}})
                                     : at::functorch::makeBatched(all, 0, level));
    }
    return out;
  }
};

const c10::DispatchKeySet kBatchedKeys{c10::DispatchKey::FuncTorchBatched,
                                       c10::DispatchKey::Batched};

LinearResults forward_batched(at::TensorList operands, at::IntArrayRef ints,
                              at::ArrayRef<double> floats, ScalarType dtype) {
  const c10::impl::ExcludeDispatchKeyGuard below(kBatchedKeys);
  const auto call = [&](const std::vector<Tensor>& x) {
    auto [value, out] = linear_op().call(x, ints, floats, dtype);
    out.insert(out.begin(), value);
    return out;
  };
  const BatchedList list(operands);
  auto out = list.level < 0 ? call(operands.vec()) : list.each(call);
  return {out[0], {out.begin() + 1, out.end()}};
}

std::vector<Tensor> backward_batched(const Tensor& g, at::TensorList operands,
                                     at::TensorList gradients, at::IntArrayRef ints,
                                     at::ArrayRef<double> floats) {
  const c10::impl::ExcludeDispatchKeyGuard below(kBatchedKeys);
  std::vector<Tensor> all = operands.vec();
  all.insert(all.end(), gradients.begin(), gradients.end());
  all.push_back(g);
  const auto call = [&](const std::vector<Tensor>& x) {
    const at::TensorList list = x;
    return linear_backward_op().call(x.back(), list.slice(0, operands.size()),
                                     list.slice(operands.size(), gradients.size()), ints, floats);
  };
  const BatchedList list(all);
  return list.level < 0 ? call(all) : list.each(call);
}

TORCH_LIBRARY_IMPL(torch_infotheory, AutocastCPU, m) {
  m.impl(kLinear, &forward_autocast<c10::DeviceType::CPU>);
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastCUDA, m) {
  m.impl(kLinear, &forward_autocast<c10::DeviceType::CUDA>);
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastMPS, m) {
  m.impl(kLinear, &forward_autocast<c10::DeviceType::MPS>);
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastXPU, m) {
  m.impl(kLinear, &forward_autocast<c10::DeviceType::XPU>);
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastHPU, m) {
  m.impl(kLinear, &forward_autocast<c10::DeviceType::HPU>);
}
TORCH_LIBRARY_IMPL(torch_infotheory, AutocastPrivateUse1, m) {
  m.impl(kLinear, &forward_autocast<c10::DeviceType::PrivateUse1>);
}
void register_vmap(torch::Library& m) {
  m.impl(kLinear, &forward_batched);
  m.impl(kLinearBackward, &backward_batched);
}
TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatched, m) { register_vmap(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, Batched, m) { register_vmap(m); }

}  // namespace
}  // namespace torch_infotheory
