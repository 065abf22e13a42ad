// compat.h -- differences between torch 2.11 and 2.14; no other file tests versions.
#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/headeronly/version.h>

#include <memory>

#define TI_TORCH_MINOR (TORCH_VERSION_MAJOR * 100 + TORCH_VERSION_MINOR)  // 2.13 is 213

namespace torch_infotheory {

#if TI_TORCH_MINOR >= 213
template <class N>
using NodePtr = c10::intrusive_ptr<N>;
template <class N>
NodePtr<N> make_node() {
  return c10::make_intrusive<N>();
}
#else
template <class N>
using NodePtr = std::shared_ptr<N>;
template <class N>
NodePtr<N> make_node() {
  return NodePtr<N>(new N(), torch::autograd::deleteNode);
}
#endif

// Runs torch.autograd.graph.node_creation_hook. Call it after the last field of the node is set.
template <class N>
void fire_creation_hooks([[maybe_unused]] const NodePtr<N>& node) {
#if TI_TORCH_MINOR >= 214
  torch::autograd::fire_node_creation_hooks(node);
#endif
}

// Copies a wrapper, such as a DTensor, into another shape. Before 2.12 torch views it first.
inline at::Tensor reshaped_copy(const at::Tensor& wrapper, c10::SymIntArrayRef shape) {
#if TI_TORCH_MINOR >= 212
  return at::view_copy_symint(wrapper, shape);
#else
  return at::view_copy_symint(wrapper.contiguous(), shape);
#endif
}

// Whether a tensor has a forward-mode tangent. (torch's own isFwGradDefined copies the tensor
// before 2.14.)
inline bool has_tangent(const at::Tensor& t) {
  return t.defined() && t._fw_grad(/*level=*/0).defined();
}

}  // namespace torch_infotheory
