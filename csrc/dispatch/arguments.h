// arguments.h -- checks and normalizes the arguments of the public ops; each error message once.
#pragma once
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <cmath>
#include <string_view>

#include "dispatch/reference.h"

namespace torch_infotheory {

using std::string_view;

// Call this before anything else, because a nested tensor has no sizes.
inline void check_dense(const char* op, const char* argument, const Tensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !t.is_nested(), op, ": expected ", argument,
      " to be a dense tensor, got a nested one; pass its values(), the rows of all parts, or",
      " to_padded_tensor()");
  TORCH_CHECK_NOT_IMPLEMENTED(t.layout() == at::kStrided, op, ": expected ", argument,
                              " to be a dense tensor, got one of layout ", t.layout(),
                              "; pass its to_dense()");
}
inline void check_dense(const char* op, const Tensor& input, const Tensor& target,
                        const optional<Tensor>& weight = {}) {
  check_dense(op, "input", input);
  check_dense(op, "target", target);
  if (weight) check_dense(op, "weight", *weight);
}

inline bool are_counts(string_view kind) { return kind == "counts"; }
inline void check_distribution(const char* op, const char* argument, const Tensor& t,
                               string_view kind = {}, const char* hint = "") {
  check_dense(op, argument, t);
  const bool integers = at::isIntegralType(t.scalar_type(), /*includeBool=*/false);
  TORCH_CHECK_TYPE(
      is_computed_with(t.scalar_type()) || (integers && are_counts(kind)), op, ": expected ",
      argument, " to be a floating point tensor (float64, float32, bfloat16 or float16), got ",
      t.scalar_type(), integers && !kind.empty() ? "; counts are kind='counts'" : "", hint);
}

inline Kind kind_of(const char* op, string_view kind,
                    const char* allowed = "'probs', 'log_probs', 'logits' or 'counts'") {
  if (kind == "probs") return kProbs;
  if (kind == "log_probs") return kLogProbs;
  if (kind == "logits") return kLogits;
  TORCH_CHECK_VALUE(false, op, ": expected kind to be ", allowed, ", got '", kind, "'");
}

// 1 / log(base), which converts nats to the unit of `base`.
inline double unit_of(const char* op, optional<double> base) {
  if (!base) return 1;
  TORCH_CHECK_VALUE(std::isfinite(*base) && *base > 0 && *base != 1, op,
                    ": expected base to be a finite number above 0 other than 1, got ", *base);
  return 1 / std::log(*base);
}

// The type used for computation.
inline ScalarType exact_type(ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

inline void check_mask(const char* op, const Tensor& mask, c10::SymIntArrayRef rows) {
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool, op, ": expected a mask of booleans, got ",
                   mask.scalar_type());
  TORCH_CHECK(mask.sym_sizes().equals(rows), op, ": expected a mask of shape ", rows, ", got ",
              mask.sym_sizes());
}

inline void check_temperature(const char* op, double temperature) {
  TORCH_CHECK_VALUE(std::isfinite(temperature) && temperature > 0, op,
                    ": expected temperature to be a finite number above 0, got ", temperature);
}

// The weight of q in a mixture.
inline void check_weight(const char* op, double weight) {
  TORCH_CHECK_VALUE(weight >= 0 && weight <= 1, op, ": expected weight to be between 0 and 1, got ",
                    weight);
}

inline void check_reduction(const char* op, int64_t reduction) {
  TORCH_CHECK_VALUE(reduction == kNone || reduction == kMean || reduction == kSum, op,
                    ": expected reduction to be 0 (none), 1 (mean) or 2 (sum), got ", reduction);
}

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

// Counts divided by their sum, in float64, because float32 rounds large integers and the sum of a
// half type overflows. A negative count makes its whole distribution NaN.
inline Tensor normalized_counts(const Tensor& counts, at::IntArrayRef dims) {
  const Tensor wide = counts.to(widest_type(counts.device())), x = at::where(wide < 0, NAN, wide);
  Tensor total = x;
  for (const int64_t d : dims) total = total.sum(d, /*keepdim=*/true);
  return x / total;
}

// Reshaping a wrapper, such as a DTensor, may need data of other ranks. Torch communicates for a
// copy but not for a view. Under torch.compile all tensors are wrappers, and the copy would remain
// in the graph.
inline bool is_wrapper(const Tensor& t) {
  using c10::impl::TorchDispatchModeKey, c10::impl::TorchDispatchModeTLS;
  return t.key_set().has(c10::DispatchKey::Python) &&
         !TorchDispatchModeTLS::get_mode(TorchDispatchModeKey::FUNCTIONAL);
}
// Whether kernels can read the tensor: it is not a wrapper of a transform, a subclass or a tracer.
inline bool is_plain_tensor(const Tensor& t) {
  using enum c10::DispatchKey;
  return !t.key_set().has_any(c10::DispatchKeySet(
             {Python, Functionalize, Batched, FuncTorchBatched, FuncTorchGradWrapper})) &&
         !c10::impl::TorchDispatchModeTLS::any_modes_set();
}

// Checks class indices before gathering. On CUDA this would synchronize, and gather has a device
// assertion.
inline void check_class_indices(const char* op, const Tensor& index, const c10::SymInt& classes,
                                optional<int64_t> ignore_index = {}) {
  if (!index.is_cpu() || !is_plain_tensor(index) || index.numel() == 0) return;
  const auto wrong = first_outside(index, classes.expect_int(), ignore_index);
  TORCH_CHECK_INDEX(!wrong, op, ": class ", wrong.value_or(0), " is out of bounds for ", classes,
                    " classes");
}

// Flattens consecutive dimensions.
inline Tensor flattened(const Tensor& t, int64_t first, int64_t last) {
  if (first == last || !is_wrapper(t)) return t.flatten(first, last);
  c10::SymDimVector shape(t.sym_sizes());
  for (; last > first; --last) {
    shape[last - 1] = shape[last - 1] * shape[last];
    shape.erase(shape.begin() + last);
  }
  return at::view_copy_symint(t, shape);
}
inline Tensor without(const Tensor& wrapper, int64_t dim_of_size_1) {
  c10::SymDimVector shape(wrapper.sym_sizes());
  shape.erase(shape.begin() + dim_of_size_1);
  return at::view_copy_symint(wrapper, shape);
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

// The dtype of a result before autocast and `dtype`: integers count as float32.
inline ScalarType stated_type(const Tensor& t) {
  return at::isIntegralType(t.scalar_type(), /*includeBool=*/true) ? at::kFloat : t.scalar_type();
}
inline ScalarType stated_type(const Tensor& p, const Tensor& q) {
  return c10::promoteTypes(stated_type(p), stated_type(q));
}
// The dtype of a result; at least float32 under autocast.
inline ScalarType result_type(at::Device device, ScalarType promoted, optional<ScalarType> dtype) {
  const bool widens = promoted != at::kDouble &&
                      at::autocast::is_autocast_available(device.type()) &&  // not on meta
                      at::autocast::is_autocast_enabled(device.type());
  return dtype ? *dtype : widens ? at::kFloat : promoted;
}

// A tensor as it is passed to a row op, and its kind there: counts become probabilities.
struct RowInput {
  Tensor t;
  string_view kind;
};
// `dims` refer to a tensor of `rank` dimensions, against which t broadcasts.
inline RowInput row_input(const Tensor& t, string_view kind, std::vector<int64_t> dims,
                          int64_t rank) {
  if (!are_counts(kind)) return {t, kind};
  for (int64_t& d : dims) d -= rank - t.dim();
  std::erase_if(dims, [](int64_t d) { return d < 0; });
  return {normalized_counts(t, dims), "probs"};
}
// Also sets the dtype of the result, because counts are converted to float64.
inline RowInput row_input(const Tensor& t, string_view kind, const std::vector<int64_t>& dims,
                          optional<ScalarType>& dtype) {
  if (are_counts(kind)) dtype = result_type(t.device(), stated_type(t), dtype);
  return row_input(t, kind, dims, t.dim());
}
inline std::pair<RowInput, RowInput> row_input(const Tensor& p, string_view p_kind, const Tensor& q,
                                               string_view q_kind, const std::vector<int64_t>& dims,
                                               optional<ScalarType>& dtype) {
  if (are_counts(p_kind) || are_counts(q_kind))
    dtype = result_type(p.device(), stated_type(p, q), dtype);
  const int64_t rank = std::max(p.dim(), q.dim());
  return {row_input(p, p_kind, dims, rank), row_input(q, q_kind, dims, rank)};
}

// Expands p and q to their common shape. A half operand that is repeated is converted to float32
// first, so that its gradient is summed before it is rounded; nothing else is copied. Class
// dimensions are never broadcast.
inline std::pair<Tensor, Tensor> broadcast(const char* op, const Tensor& p, const Tensor& q,
                                           at::IntArrayRef dims, optional<ScalarType>& dtype) {
  TORCH_CHECK(p.device() == q.device(), op, ": expected one device, got ", p.device(), " and ",
              q.device());
  const auto p_sizes = p.sym_sizes(), q_sizes = q.sym_sizes();
  if (p_sizes.equals(q_sizes)) return {p, q};
  const int64_t rank = std::max(p.dim(), q.dim());
  c10::SymDimVector common(rank, c10::SymInt(1));
  for (int64_t d = 0; d < rank; ++d) {
    const auto size = [&](const Tensor& t) {
      return d < rank - t.dim() ? c10::SymInt(1) : t.sym_size(d - (rank - t.dim()));
    };
    const c10::SymInt a = size(p), b = size(q);
    bool is_class = false;
    for (const int64_t c : dims) is_class |= at::maybe_wrap_dim(c, rank) == d;
    TORCH_CHECK(a == b || (!is_class && (a == 1 || b == 1)), op, ": expected p and q of one shape",
                is_class ? " along dim" : " or shapes that broadcast", ", got p ", p_sizes,
                " and q ", q_sizes);
    common[d] = a == 1 ? b : a;
  }
  dtype = result_type(p.device(), at::result_type(p, q), dtype);
  const auto expanded = [&](Tensor t) {
    if (t.sym_sizes().equals(common)) return t;
    if (t.scalar_type() == at::kHalf || t.scalar_type() == at::kBFloat16) t = t.to(at::kFloat);
    for (int64_t d = t.dim() - 1; d >= 0 && is_wrapper(t); --d)
      if (t.sym_size(d) == 1 && common[rank - t.dim() + d] != 1) t = without(t, d).unsqueeze(d);
    return t.expand_symint(common);
  };
  return {expanded(p), expanded(q)};
}

inline Tensor keep_dims(Tensor value, const std::vector<int64_t>& dims) {
  for (const int64_t d : dims) value = value.unsqueeze(d);
  return value;
}

// Registers composite ops: for autograd; for vmap, because torch does not decompose the ops of
// other libraries by itself; and for nested tensors, which the ops reject.
#define TI_COMPOSITES(register_all)                                                           \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) { register_all(m); }     \
  TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatchedDecomposition, m) { register_all(m); } \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutogradNestedTensor, m) {            \
    register_all(m);                                                                          \
  }

}  // namespace torch_infotheory
