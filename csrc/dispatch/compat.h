// compat.h -- what torch 2.11 to 2.14 spell differently about autograd nodes; the only file that
// asks for a version.
#pragma once
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

// To be called when the last field of a node is set: runs torch.autograd.graph.node_creation_hook.
template <class N>
void announce([[maybe_unused]] const NodePtr<N>& node) {
#if TI_TORCH_MINOR >= 214
  torch::autograd::fire_node_creation_hooks(node);
#endif
}

// Whether a tensor carries a forward-mode tangent. (torch's own isFwGradDefined copies the tensor
// before 2.14.)
inline bool has_tangent(const at::Tensor& t) {
  return t.defined() && t._fw_grad(/*level=*/0).defined();
}

}  // namespace torch_infotheory
