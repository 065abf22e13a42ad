// arguments.h -- what the public ops make of their arguments: strings to codes, dimensions to one, shapes to a common one.
//
// Each check and its message stands here once. Knows tensors and names of arguments; must not know formulas.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <string_view>

#include "dispatch/ops.h"

namespace torch_infotheory {

using Dims = at::OptionalIntArrayRef;
using std::string_view;

inline void check_distribution(const char* op, const char* argument, const Tensor& t) {
  TORCH_CHECK_TYPE(at::isFloatingType(t.scalar_type()), op, ": expected ", argument,
                   " to be a floating point tensor, got ", t.scalar_type());
}

inline Kind kind_of(const char* op, string_view kind) {
  if (kind == "probs") return kProbs;
  if (kind == "log_probs") return kLogProbs;
  if (kind == "logits") return kLogits;
  TORCH_CHECK_VALUE(false, op, ": expected kind to be 'probs', 'log_probs' or 'logits', got '", kind, "'");
}

// 1 / log(base): what turns nats into the unit of `base`.
inline double unit_of(const char* op, optional<double> base) {
  if (!base) return 1;
  TORCH_CHECK_VALUE(std::isfinite(*base) && *base > 0 && *base != 1, op,
                    ": expected base to be a finite number above 0 other than 1, got ", *base);
  return 1 / std::log(*base);
}

inline void check_reduction(const char* op, int64_t reduction) {
  TORCH_CHECK_VALUE(reduction == kNone || reduction == kMean || reduction == kSum, op,
                    ": expected reduction to be 0 (none), 1 (mean) or 2 (sum), got ", reduction);
}

// The dimensions, wrapped and in order of the tensor.
inline std::vector<int64_t> wrapped_dims(const char* op, const char* argument, at::IntArrayRef dims, int64_t rank) {
  TORCH_CHECK(!dims.empty(), op, ": expected ", argument, " to name at least one dimension");
  std::vector<int64_t> wrapped;
  for (const int64_t d : dims) wrapped.push_back(at::maybe_wrap_dim(d, rank));
  std::sort(wrapped.begin(), wrapped.end());
  TORCH_CHECK(std::adjacent_find(wrapped.begin(), wrapped.end()) == wrapped.end(), op, ": a dimension appears twice in ",
              argument, " ", dims);
  return wrapped;
}

// The dimensions of a joint table, x and y and both.
struct TableDims {
  std::vector<int64_t> x, y, both;
  TableDims(const char* op, const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim)
      : x(wrapped_dims(op, "x_dim", x_dim, joint.dim())), y(wrapped_dims(op, "y_dim", y_dim, joint.dim())), both(x) {
    both.insert(both.end(), y.begin(), y.end());
    std::sort(both.begin(), both.end());
    TORCH_CHECK(std::adjacent_find(both.begin(), both.end()) == both.end(), op, ": x_dim ", x_dim, " and y_dim ", y_dim,
                " overlap in a tensor of shape ", joint.sym_sizes());
  }
};

// Several dimensions as one, in the place of the last; a view where the strides allow it.
inline Tensor merged(const Tensor& t, const std::vector<int64_t>& dims) {
  const int64_t k = int64_t(dims.size());
  std::vector<int64_t> end(k);
  for (int64_t i = 0; i < k; ++i) end[i] = t.dim() - k + i;
  return t.movedim(dims, end).flatten(t.dim() - k);
}

// p and q in their common shape, without a copy. The class dimensions are never broadcast.
inline std::pair<Tensor, Tensor> broadcast(const char* op, const Tensor& p, const Tensor& q, at::IntArrayRef dims) {
  const auto p_sizes = p.sym_sizes(), q_sizes = q.sym_sizes();
  if (p_sizes.equals(q_sizes)) return {p, q};
  const int64_t rank = std::max(p.dim(), q.dim());
  c10::SymDimVector common(rank, c10::SymInt(1));
  for (int64_t d = 0; d < rank; ++d) {
    const auto size = [&](const Tensor& t) { return d < rank - t.dim() ? c10::SymInt(1) : t.sym_size(d - (rank - t.dim())); };
    const c10::SymInt a = size(p), b = size(q);
    bool is_class = false;
    for (const int64_t c : dims) is_class |= at::maybe_wrap_dim(c, rank) == d;
    TORCH_CHECK(a == b || (!is_class && (a == 1 || b == 1)), op, ": expected p and q of one shape",
                is_class ? " along dim" : " or shapes that broadcast", ", got p ", p_sizes, " and q ", q_sizes);
    common[d] = a == 1 ? b : a;
  }
  return {p.expand_symint(common), q.expand_symint(common)};
}

inline Tensor kept_dims(Tensor value, const std::vector<int64_t>& dims) {
  for (const int64_t d : dims) value = value.unsqueeze(d);
  return value;
}

// A composite is registered for autograd and, as ops of other libraries are not decomposed under vmap by themselves, there too.
#define TI_COMPOSITES(register_all)                                                             \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) { register_all(m); }       \
  TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatchedDecomposition, m) { register_all(m); }

}  // namespace torch_infotheory
