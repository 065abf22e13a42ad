// shapes.h -- the shape and dtype rules of the row ops, for sizes of type int64_t or SymInt.
#pragma once
#include <ATen/EmptyTensor.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/SymIntArrayRef.h>

#include "dispatch/devices.h"
#include "dispatch/ops.h"

namespace torch_infotheory {

inline at::IntArrayRef sizes_of(const Tensor& t, int64_t*) { return t.sizes(); }
inline c10::SymIntArrayRef sizes_of(const Tensor& t, c10::SymInt*) { return t.sym_sizes(); }
inline Tensor new_empty(at::IntArrayRef sizes, const at::TensorOptions& o) {
  // As in torch's own kernels, because at::empty would go through the dispatcher again.
  return o.device().is_cpu() ? at::detail::empty_cpu(sizes, o) : at::empty(sizes, o);
}
inline Tensor new_empty(c10::SymIntArrayRef sizes, const at::TensorOptions& o) {
  return at::empty_symint(sizes, o);
}
// Raises an error with the message what(). For unknown sizes the check is deferred to run time.
template <class What>
void check_same(int64_t a, int64_t b, const What& what) {
  TORCH_CHECK(a == b, what());
}
template <class What>
void check_same(const c10::SymInt& a, const c10::SymInt& b, const What& what) {
  TORCH_SYM_CHECK(a.sym_eq(b), what());
}

// The types that kernels support. at::isFloatingType is true for narrower types too.
inline bool is_computed_with(ScalarType t) {
  return t == at::kFloat || t == at::kDouble || t == at::kBFloat16 || t == at::kHalf;
}

inline Type type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return kFloat;
    case at::kDouble:
      return kDouble;
    case at::kBFloat16:
      return kBFloat16;
    case at::kHalf:
      return kHalf;
    case at::kByte:
      return kUInt8;
    case at::kChar:
      return kInt8;
    case at::kShort:
      return kInt16;
    case at::kInt:
      return kInt32;
    case at::kLong:
      return kInt64;
    default:
      TORCH_CHECK_TYPE(false, "torch_infotheory: no kernel for ", t.scalar_type());
  }
}

template <class Int>
using Shape = c10::SmallVector<Int, 6>;

// The classes of a row: one dimension, or the last two for a joint table. A 0-d tensor is one row
// of one class.
template <class F>
bool is_class_dim(int64_t d, int64_t dim, int64_t rank) {
  return is_table<F> ? d >= rank - 2 : d == dim;
}
template <class F, class Int>
Shape<Int> row_shape(const Tensor& x, int64_t dim) {
  Shape<Int> rows;
  const auto sizes = sizes_of(x, static_cast<Int*>(nullptr));
  for (int64_t d = 0; d < x.dim(); ++d)
    if (!is_class_dim<F>(d, dim, x.dim())) rows.push_back(sizes[d]);
  return rows;
}
inline int64_t wrapped_dim(const Tensor& x, int64_t dim) {
  return at::maybe_wrap_dim(dim, x.dim());
}

template <class F, class Int>
void check_operands(const Operands& t, const Options& o) {
  Int* const as_int = nullptr;
  TORCH_CHECK(t.q.has_value() == (F::arity == 2), F::name, ": expected ", F::arity,
              F::arity == 2 ? " distributions" : " distribution", ", got ", 1 + t.q.has_value());
  TORCH_CHECK(F::arity == 2 || !o.has_labels(), F::name,
              ": labels state no distribution of its own");
  const Tensor& x = t.full(o);
  TORCH_CHECK_TYPE(is_computed_with(x.scalar_type()), F::name,
                   ": expected floating point input, got ", x.scalar_type());
  TORCH_CHECK(!is_table<F> || x.dim() >= 2, F::name,
              ": expected a table of two dimensions or more, got ", x.sym_sizes());
  TORCH_CHECK(o.temperature == 1 || !(is_table<F> || is_map<F>), F::name,
              ": expected no temperature, got ", o.temperature);
  if constexpr (!is_table<F> && !is_map<F>)
    TORCH_CHECK(has_terms<F> || !o.is_elementwise(), F::name, ": has no values of single classes");
  if (t.q) {
    TORCH_CHECK(t.q->device() == t.p.device(), F::name, ": expected one device, got ", t.p.device(),
                " and ", t.q->device());
    const auto p = sizes_of(t.p, as_int), q = sizes_of(*t.q, as_int);
    const auto rows = row_shape<F, Int>(x, wrapped_dim(x, o.dim));
    const auto expected = o.has_labels() ? c10::ArrayRef<Int>(rows) : c10::ArrayRef<Int>(q);
    const auto mismatch = [&] {
      return c10::str(F::name, ": expected p and q of one shape",
                      o.has_labels() ? " but for the class dimension" : "", ", got p ",
                      t.p.sym_sizes(), " and q ", t.q->sym_sizes());
    };
    TORCH_CHECK(p.size() == expected.size(), mismatch());
    for (size_t d = 0; d < p.size(); ++d) check_same(p[d], expected[d], mismatch);
    TORCH_CHECK_TYPE(is_computed_with(t.q->scalar_type()), F::name,
                     ": expected floating point q, got ", t.q->scalar_type());
    TORCH_CHECK_TYPE(!o.has_labels() || at::isIntegralType(t.p.scalar_type(), false), F::name,
                     ": expected integer labels, got ", t.p.scalar_type());
  }
  if (t.weight) {
    const auto mismatch = [&] {
      return c10::str(F::name, ": expected one weight per class, got weight ",
                      t.weight->sym_sizes(), " and input ", x.sym_sizes());
    };
    TORCH_CHECK(t.weight->dim() == 1, mismatch());
    TORCH_CHECK(t.weight->device() == x.device(), F::name, ": expected one device, got weight on ",
                t.weight->device(), " and input on ", x.device());
    TORCH_CHECK_TYPE(is_computed_with(t.weight->scalar_type()), F::name,
                     ": expected floating point weight, got ", t.weight->scalar_type());
    check_same(sizes_of(*t.weight, as_int)[0],
               x.dim() ? sizes_of(x, as_int)[wrapped_dim(x, o.dim)] : Int(1), mismatch);
  }
}

inline void check_dtype(const char* op, optional<ScalarType> dtype) {
  TORCH_CHECK_TYPE(!dtype || is_computed_with(*dtype), op,
                   ": expected dtype to be float64, float32, bfloat16 or float16, got ", *dtype);
}
inline ScalarType value_type(const Operands& t, const Options& o, optional<ScalarType> dtype) {
  if (dtype) return *dtype;
  if (o.has_labels() || !t.q) return t.full(o).scalar_type();
  return c10::promoteTypes(t.p.scalar_type(), t.q->scalar_type());
}

// The shape of `saved`. `x` is the operand that has the class dimension.
template <class F, class Int>
Shape<Int> saved_shape(const Tensor& x, const Options& o) {
  Shape<Int> shape = row_shape<F, Int>(x, wrapped_dim(x, o.dim));
  shape.insert(shape.begin(), Int(saved_numbers<F>(o)));
  return shape;
}

// Allocates contiguous results: the value, and the numbers saved for each row.
template <class F, class Int>
std::tuple<Tensor, Tensor> allocate(const Operands& t, const Options& o,
                                    optional<ScalarType> dtype) {
  check_dtype(F::name, dtype);
  const Tensor& x = t.full(o);
  const Shape<Int> rows = row_shape<F, Int>(x, wrapped_dim(x, o.dim));
  const auto options = x.options().dtype(value_type(t, o, dtype));
  Tensor value = o.reduction == kTerms ? new_empty(sizes_of(x, static_cast<Int*>(nullptr)), options)
                 : o.reduction == kNone ? new_empty(rows, options)
                                        : new_empty(Shape<Int>{}, options);
  return {value, new_empty(saved_shape<F, Int>(x, o), x.options().dtype(widest_type(x.device())))};
}
// Checks that g has the shape of the value and saved the one of forward. Kernels rely on this.
template <class F, class Int>
void check_backward_operands(const Tensor& g, const Tensor& saved, const Operands& t,
                             const Options& o, int64_t wrt) {
  check_operands<F, Int>(t, o);
  TORCH_CHECK(wrt == kWrtQ ? t.q.has_value() : wrt == kWrtP && !o.has_labels(), F::name,
              " backward: there is no derivative by input ", wrt);
  const Tensor& x = t.full(o);
  const Shape<Int> rows = row_shape<F, Int>(x, wrapped_dim(x, o.dim));
  const auto check = [&](const char* what, const Tensor& got, c10::ArrayRef<Int> expected) {
    const auto mismatch = [&] {
      return c10::str(F::name, " backward: expected ", what, " of shape ", expected, ", got ",
                      got.sym_sizes());
    };
    TORCH_CHECK(got.dim() == int64_t(expected.size()), mismatch());
    for (int64_t d = 0; d < got.dim(); ++d)
      check_same(sizes_of(got, static_cast<Int*>(nullptr))[d], expected[d], mismatch);
  };
  check("saved", saved, saved_shape<F, Int>(x, o));
  TORCH_CHECK_TYPE(saved.scalar_type() == widest_type(saved.device()), F::name,
                   " backward: expected saved in ", widest_type(saved.device()), ", got ",
                   saved.scalar_type());
  TORCH_CHECK_TYPE(is_computed_with(g.scalar_type()), F::name,
                   " backward: expected floating point g, got ", g.scalar_type());
  if (o.reduction == kTerms)
    check("g", g, sizes_of(x, static_cast<Int*>(nullptr)));
  else if (o.reduction == kNone)
    check("g", g, rows);
  else
    check("g", g, {});
}
template <class F, class... Fs>
constexpr bool is_among(List<Fs...>) {
  return (__is_same(F, Fs) || ...);
}
// Allocates a gradient. For rows it has the strides of the input, so that classes are read and
// written in the same order; otherwise it is contiguous.
template <class F, class Int>
Tensor allocate_gradient(const Tensor& x) {
  if constexpr (is_among<F>(RowFormulas())) {
    // Neither is known for unbacked sizes.
    const at::TensorImpl& impl = *x.unsafeGetTensorImpl();
    if (!impl.sym_is_contiguous().guard_or_false(__FILE__, __LINE__) &&
        impl.is_non_overlapping_and_dense_or_false())
      return at::empty_strided_symint(x.sym_sizes(), x.sym_strides(), x.options());
  }
  return new_empty(sizes_of(x, static_cast<Int*>(nullptr)), x.options());
}

}  // namespace torch_infotheory
