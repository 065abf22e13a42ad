// dims.h -- the class dimensions of an argument: wrapped and checked, moved to the end, merged.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <algorithm>
#include <vector>

#include "dispatch/compat.h"
#include "dispatch/signature.h"

namespace torch_infotheory {

// The dimensions of t, wrapped and sorted.
inline std::vector<int64_t> wrapped_dims(const char* op, const char* argument, at::IntArrayRef dims,
                                         int64_t rank, const char* tensor_name,
                                         c10::SymIntArrayRef shape) {
  TORCH_CHECK(!dims.empty(), op, ": expected ", argument, " to name at least one dimension");
  const int64_t n = std::max<int64_t>(rank, 1);  // a 0-d tensor has class dimension 0
  std::vector<int64_t> wrapped;
  for (const int64_t d : dims) {
    TORCH_CHECK_INDEX(-n <= d && d < n, op, ": ", argument, " ", d, " is out of range for ",
                      tensor_name, " of shape ", shape);
    wrapped.push_back(d < 0 ? d + n : d);
  }
  std::sort(wrapped.begin(), wrapped.end());
  TORCH_CHECK(std::adjacent_find(wrapped.begin(), wrapped.end()) == wrapped.end(), op,
              ": a dimension appears twice in ", argument, " ", dims, " for ", tensor_name,
              " of shape ", shape);
  return wrapped;
}
inline std::vector<int64_t> wrapped_dims(const char* op, const char* argument, at::IntArrayRef dims,
                                         const char* tensor_name, const Tensor& t) {
  return wrapped_dims(op, argument, dims, t.dim(), tensor_name, t.sym_sizes());
}
// For two tensors that broadcast: the dimensions of the one with the higher rank.
inline std::vector<int64_t> wrapped_dims(const char* op, at::IntArrayRef dims, const char* p_name,
                                         const Tensor& p, const char* q_name, const Tensor& q) {
  return p.dim() >= q.dim() ? wrapped_dims(op, "dim", dims, p_name, p)
                            : wrapped_dims(op, "dim", dims, q_name, q);
}

inline void check_classes(const char* op, const Tensor& t, const std::vector<int64_t>& dims) {
  for (const int64_t d : dims)
    TORCH_CHECK(t.dim() == 0 || t.sym_size(d) != 0, op, ": expected at least one class, got ",
                t.sym_sizes());
}

// The dimensions of a joint table: of x, of y and of both.
struct TableDims {
  std::vector<int64_t> x, y, both;
  TableDims(const char* op, const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim)
      : x(wrapped_dims(op, "x_dim", x_dim, "joint", joint)),
        y(wrapped_dims(op, "y_dim", y_dim, "joint", joint)),
        both(x_then_y()) {
    std::sort(both.begin(), both.end());
    TORCH_CHECK(std::adjacent_find(both.begin(), both.end()) == both.end(), op, ": x_dim ", x_dim,
                " and y_dim ", y_dim, " overlap for joint of shape ", joint.sym_sizes());
  }
  std::vector<int64_t> x_then_y() const {
    std::vector<int64_t> all = x;
    all.insert(all.end(), y.begin(), y.end());
    return all;
  }
};

// Reshaping a wrapper, such as a DTensor, may need data of other ranks. Torch communicates for a
// copy but not for a view. Under torch.compile all tensors are wrappers, and the copy would remain
// in the graph.
inline bool is_wrapper(const Tensor& t) {
  using c10::impl::TorchDispatchModeKey, c10::impl::TorchDispatchModeTLS;
  return t.key_set().has(c10::DispatchKey::Python) &&
         !TorchDispatchModeTLS::get_mode(TorchDispatchModeKey::FUNCTIONAL);
}

// Flattens consecutive dimensions.
inline Tensor flattened(const Tensor& t, int64_t first, int64_t last) {
  if (first == last || !is_wrapper(t)) return t.flatten(first, last);
  c10::SymDimVector shape(t.sym_sizes());
  for (; last > first; --last) {
    shape[last - 1] = shape[last - 1] * shape[last];
    shape.erase(shape.begin() + last);
  }
  return reshaped_copy(t, shape);
}
inline Tensor without(const Tensor& wrapper, int64_t dim_of_size_1) {
  c10::SymDimVector shape(wrapper.sym_sizes());
  shape.erase(shape.begin() + dim_of_size_1);
  return reshaped_copy(wrapper, shape);
}

// Moves the joint table to the last two dimensions (x, y); all others are batch dimensions.
inline Tensor as_table(const Tensor& joint, const TableDims& dims) {
  const int64_t rank = joint.dim(), ny = int64_t(dims.y.size()), n = int64_t(dims.both.size());
  const std::vector<int64_t> from = dims.x_then_y();
  std::vector<int64_t> to(n);
  for (int64_t i = 0; i < n; ++i) to[i] = rank - n + i;
  const Tensor moved = from == to ? joint : joint.movedim(from, to);
  if (n == 2) return moved;
  return flattened(flattened(moved, rank - ny, rank - 1), rank - n, rank - ny - 1);
}

// Merges several dimensions into the last one; a view if the strides allow it.
inline Tensor merged(const Tensor& t, const std::vector<int64_t>& dims) {
  const int64_t k = int64_t(dims.size());
  std::vector<int64_t> end(k);
  for (int64_t i = 0; i < k; ++i) end[i] = t.dim() - k + i;
  return flattened(t.movedim(dims, end), t.dim() - k, t.dim() - 1);
}

inline Tensor keep_dims(Tensor value, const std::vector<int64_t>& dims) {
  for (const int64_t d : dims) value = value.unsqueeze(d);
  return value;
}

}  // namespace torch_infotheory
