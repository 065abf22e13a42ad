// batched.h -- the tensors of a call under vmap, without their wrappers.
#pragma once
#include <ATen/functorch/BatchedTensorImpl.h>  // others need a JSON header that torch lacks

#include <algorithm>

#include "dispatch/signature.h"
// Include this after functorch's header; in the other order the names of the two are ambiguous.
#include <ATen/LegacyBatchedTensorImpl.h>

namespace torch_infotheory {
namespace {

// What vmap wraps, at the innermost level of a tensor: a level of torch.func, or the only one of
// torch.autograd.grad(is_grads_batched=True).
struct Wrapped {
  int64_t level = -1, dim = 0;  // level -1: not wrapped
  Tensor value;
  bool is_grads_batched = false;

  explicit Wrapped(const Tensor& t) {
    if (!t.defined()) return;
    if (const auto* func = at::functorch::maybeGetBatchedImpl(t)) {
      level = func->level(), dim = func->bdim(), value = func->value();
    } else if (const auto* grads = at::maybeGetBatchedImpl(t)) {
      const at::BatchDim batch = grads->bdims().back();
      level = batch.level(), dim = batch.dim(), value = grads->value(), is_grads_batched = true;
    }
  }
};
// The innermost level at which any of the tensors is batched, or -1.
inline int64_t level_of(at::ArrayRef<Tensor> tensors) {
  int64_t level = -1;
  for (const Tensor& t : tensors) level = std::max(level, Wrapped(t).level);
  return level;
}

// A tensor at one level of vmap, with the batch dimension in front if it has one.
struct Batched {
  Tensor t;
  bool batched = false, is_grads_batched = false;

  Batched(const Tensor& x, int64_t level) : t(x) {
    const Wrapped wrapped(x);
    if (level < 0 || wrapped.level != level) return;
    t = wrapped.value.movedim(wrapped.dim, 0);
    batched = true;
    is_grads_batched = wrapped.is_grads_batched;
  }
  // Expands a tensor without the batch dimension along it. Undefined stays undefined.
  Tensor along(const c10::SymInt& n) const {
    if (batched || !t.defined()) return t;
    c10::SymDimVector shape{n};
    for (const auto& s : t.sym_sizes()) shape.push_back(s);
    return t.unsqueeze(0).expand_symint(shape);
  }
};

}  // namespace
}  // namespace torch_infotheory
