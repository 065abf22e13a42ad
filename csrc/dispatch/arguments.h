// arguments.h -- what the public ops make of their arguments: strings to codes, dimensions to one,
// shapes to a common one.
//
// Each check and its message stands here once. Knows tensors and names of arguments; must not know
// formulas.
#pragma once
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <cmath>
#include <string_view>

#include "dispatch/reference.h"

namespace torch_infotheory {

using std::string_view;

// Before anything else is asked of a tensor: a nested one has no sizes.
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

// 1 / log(base): what turns nats into the unit of `base`.
inline double unit_of(const char* op, optional<double> base) {
  if (!base) return 1;
  TORCH_CHECK_VALUE(std::isfinite(*base) && *base > 0 && *base != 1, op,
                    ": expected base to be a finite number above 0 other than 1, got ", *base);
  return 1 / std::log(*base);
}

// The type computed with.
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

// The share of q in a mixture.
inline void check_weight(const char* op, double weight) {
  TORCH_CHECK_VALUE(weight >= 0 && weight <= 1, op, ": expected weight to be between 0 and 1, got ",
                    weight);
}

inline void check_reduction(const char* op, int64_t reduction) {
  TORCH_CHECK_VALUE(reduction == kNone || reduction == kMean || reduction == kSum, op,
                    ": expected reduction to be 0 (none), 1 (mean) or 2 (sum), got ", reduction);
}

// The dimensions of t, wrapped and in order.
inline std::vector<int64_t> wrapped_dims(const char* op, const char* argument, at::IntArrayRef dims,
                                         int64_t rank, const char* of, c10::SymIntArrayRef shape) {
  TORCH_CHECK(!dims.empty(), op, ": expected ", argument, " to name at least one dimension");
  const int64_t n = std::max<int64_t>(rank, 1);  // a 0-d tensor has the one class dimension 0
  std::vector<int64_t> wrapped;
  for (const int64_t d : dims) {
    TORCH_CHECK_INDEX(-n <= d && d < n, op, ": ", argument, " ", d, " is out of range for ", of,
                      " of shape ", shape);
    wrapped.push_back(d < 0 ? d + n : d);
  }
  std::sort(wrapped.begin(), wrapped.end());
  TORCH_CHECK(std::adjacent_find(wrapped.begin(), wrapped.end()) == wrapped.end(), op,
              ": a dimension appears twice in ", argument, " ", dims, " for ", of, " of shape ",
              shape);
  return wrapped;
}
inline std::vector<int64_t> wrapped_dims(const char* op, const char* argument, at::IntArrayRef dims,
                                         const char* of, const Tensor& t) {
  return wrapped_dims(op, argument, dims, t.dim(), of, t.sym_sizes());
}
// Of two tensors that broadcast: the dimensions of the one with more of them.
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

// The dimensions of a joint table, x and y and both.
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

// The probabilities that counts state: each count divided by their sum, in float64, where large
// integers keep their digits and the sum of a half type does not overflow. A negative count makes
// all of its distribution NaN.
inline Tensor shares(const Tensor& counts, at::IntArrayRef dims) {
  const Tensor wide = counts.to(widest_type(counts.device())), x = at::where(wide < 0, NAN, wide);
  Tensor total = x;
  for (const int64_t d : dims) total = total.sum(d, /*keepdim=*/true);
  return x / total;
}

// A wrapper, such as a DTensor, may need what other ranks have in order to take another shape.
// Torch fetches it for a copy, not for a view. Under torch.compile all tensors are wrappers, and
// the copy would stay.
inline bool is_wrapper(const Tensor& t) {
  using c10::impl::TorchDispatchModeKey, c10::impl::TorchDispatchModeTLS;
  return t.key_set().has(c10::DispatchKey::Python) &&
         !TorchDispatchModeTLS::get_mode(TorchDispatchModeKey::FUNCTIONAL);
}
// Whether a tensor is what kernels read, and no wrapper of a transform, a subclass or a tracer.
inline bool is_plain_tensor(const Tensor& t) {
  using enum c10::DispatchKey;
  return !t.key_set().has_any(c10::DispatchKeySet(
             {Python, Functionalize, Batched, FuncTorchBatched, FuncTorchGradWrapper})) &&
         !c10::impl::TorchDispatchModeTLS::any_modes_set();
}

// Class indices that are numbers, before anything is gathered. On CUDA, where it would wait for the
// device, gather asserts it.
inline void check_class_indices(const char* op, const Tensor& index, const c10::SymInt& classes,
                                optional<int64_t> ignore_index = {}) {
  if (!index.is_cpu() || !is_plain_tensor(index) || index.numel() == 0) return;
  const auto wrong = first_outside(index, classes.expect_int(), ignore_index);
  TORCH_CHECK_INDEX(!wrong, op, ": class ", wrong.value_or(0), " is out of bounds for ", classes,
                    " classes");
}

// Several dimensions, one after the other, as one.
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

// The joint table in its last two dimensions (x, y); all others are batch.
inline Tensor as_table(const Tensor& joint, const TableDims& dims) {
  const int64_t rank = joint.dim(), ny = int64_t(dims.y.size()), n = int64_t(dims.both.size());
  const std::vector<int64_t> from = dims.x_then_y();
  std::vector<int64_t> to(n);
  for (int64_t i = 0; i < n; ++i) to[i] = rank - n + i;
  const Tensor moved = from == to ? joint : joint.movedim(from, to);
  if (n == 2) return moved;
  return flattened(flattened(moved, rank - ny, rank - 1), rank - n, rank - ny - 1);
}

// Several dimensions as one, in the place of the last; a view where the strides allow it.
inline Tensor merged(const Tensor& t, const std::vector<int64_t>& dims) {
  const int64_t k = int64_t(dims.size());
  std::vector<int64_t> end(k);
  for (int64_t i = 0; i < k; ++i) end[i] = t.dim() - k + i;
  return flattened(t.movedim(dims, end), t.dim() - k, t.dim() - 1);
}

// The dtype that a result takes from what states a distribution: integers count as float32.
inline ScalarType stated_type(const Tensor& t) {
  return at::isIntegralType(t.scalar_type(), /*includeBool=*/true) ? at::kFloat : t.scalar_type();
}
inline ScalarType stated_type(const Tensor& p, const Tensor& q) {
  return c10::promoteTypes(stated_type(p), stated_type(q));
}
// The dtype of a result; under autocast at least float32.
inline ScalarType result_type(at::Device device, ScalarType promoted, optional<ScalarType> dtype) {
  const bool widens = promoted != at::kDouble &&
                      at::autocast::is_autocast_available(device.type()) &&  // not on meta
                      at::autocast::is_autocast_enabled(device.type());
  return dtype ? *dtype : widens ? at::kFloat : promoted;
}

// A tensor as the row ops read it, and what it states then.
struct AsRead {
  Tensor t;
  string_view kind;
};
// `dims` are those of a tensor of `rank` dimensions, against which t broadcasts.
inline AsRead as_read(const Tensor& t, string_view kind, std::vector<int64_t> dims, int64_t rank) {
  if (!are_counts(kind)) return {t, kind};
  for (int64_t& d : dims) d -= rank - t.dim();
  std::erase_if(dims, [](int64_t d) { return d < 0; });
  return {shares(t, dims), "probs"};
}
// With the dtype that the result takes from what was given.
inline AsRead as_read(const Tensor& t, string_view kind, const std::vector<int64_t>& dims,
                      optional<ScalarType>& dtype) {
  if (are_counts(kind)) dtype = result_type(t.device(), stated_type(t), dtype);
  return as_read(t, kind, dims, t.dim());
}
inline std::pair<AsRead, AsRead> as_read(const Tensor& p, string_view p_kind, const Tensor& q,
                                         string_view q_kind, const std::vector<int64_t>& dims,
                                         optional<ScalarType>& dtype) {
  if (are_counts(p_kind) || are_counts(q_kind))
    dtype = result_type(p.device(), stated_type(p, q), dtype);
  const int64_t rank = std::max(p.dim(), q.dim());
  return {as_read(p, p_kind, dims, rank), as_read(q, q_kind, dims, rank)};
}

// p and q in their common shape, without a copy but for one: a half operand is widened before it is
// repeated, so that its gradient is summed before it is rounded. The class dimensions are never
// broadcast.
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

inline Tensor kept_dims(Tensor value, const std::vector<int64_t>& dims) {
  for (const int64_t d : dims) value = value.unsqueeze(d);
  return value;
}

// A composite is registered for autograd and, as ops of other libraries are not decomposed under
// vmap by themselves, there too; and for nested tensors, which it refuses.
#define TI_COMPOSITES(register_all)                                                           \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) { register_all(m); }     \
  TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatchedDecomposition, m) { register_all(m); } \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutogradNestedTensor, m) {            \
    register_all(m);                                                                          \
  }

}  // namespace torch_infotheory
