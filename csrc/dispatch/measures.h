// measures.h -- the value of a formula for each distribution, under the argument rules of the public
// measures.
//
// Knows the arguments of the public ops and the row ops; must not know how a row is reduced.
#pragma once
#include "dispatch/arguments.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

// `o` has the scale and the parameter; `op` is the public op, which errors name.
template <class F>
Tensor unary_value(const char* op, const Tensor& p, at::IntArrayRef dim, string_view kind,
                   Options o, bool keepdim, optional<ScalarType> dtype) {
  check_distribution(op, "p", p);
  const auto dims = wrapped_dims(op, "dim", dim, "p", p);
  const bool several = dims.size() > 1;
  o.dim = several ? -1 : dims[0];
  o.p_kind = kind_of(op, kind);
  const Tensor value =
      std::get<0>(call_forward<F>({several ? merged(p, dims) : p, {}, {}}, o, dtype));
  return keepdim && p.dim() ? kept_dims(value, dims) : value;
}

// The distributions of two tensors, and how each states them.
struct Pair {
  const Tensor& p;
  const Tensor& q;
  at::IntArrayRef dim;
  string_view kind;
  optional<string_view> q_kind;
};
template <class F>
Tensor pair_value(const char* op, const Pair& x, Options o, bool keepdim,
                  optional<ScalarType> dtype) {
  check_distribution(op, "p", x.p);
  check_distribution(op, "q", x.q,
                     "; torch_infotheory.nn.functional.cross_entropy takes class labels");
  const int64_t rank = std::max(x.p.dim(), x.q.dim());
  const auto dims = wrapped_dims(op, x.dim, "p", x.p, "q", x.q);
  auto [p, q] = broadcast(op, x.p, x.q, dims, dtype);
  o.dim = dims[0];
  o.p_kind = kind_of(op, x.kind);
  o.q_kind = kind_of(op, x.q_kind.value_or(x.kind));
  if (dims.size() > 1) p = merged(p, dims), q = merged(q, dims), o.dim = -1;
  const Tensor value = std::get<0>(call_forward<F>({p, q, {}}, o, dtype));
  return keepdim && rank ? kept_dims(value, dims) : value;
}

inline void check_order(const char* op, double alpha) {
  TORCH_CHECK_VALUE(alpha >= 0, op, ": expected alpha to be 0 or above, got ", alpha);
}

}  // namespace
}  // namespace torch_infotheory
