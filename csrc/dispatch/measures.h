// measures.h -- calls a row op with the arguments of a public measure.
#pragma once
#include "dispatch/arguments.h"
#include "dispatch/dims.h"
#include "dispatch/distributions.h"
#include "dispatch/row_inputs.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

// `o` has the scale, the parameter and the temperature; `op` is the public op, which errors name.
template <class F>
Tensor unary_value(const char* op, const Tensor& p, at::IntArrayRef dim, string_view kind,
                   Options o, bool keepdim, optional<ScalarType> dtype) {
  check_distribution(op, "p", p, kind);
  check_dtype(op, dtype);
  const auto dims = wrapped_dims(op, "dim", dim, "p", p);
  const RowInput x = row_input(p, kind, dims, dtype);
  const bool several = dims.size() > 1;
  o.dim = several ? -1 : dims[0];
  o.p_kind = kind_of(op, x.kind);
  const Tensor value =
      std::get<0>(call_forward<F>({several ? merged(x.t, dims) : x.t, {}, {}}, o, dtype));
  return keepdim && p.dim() ? keep_dims(value, dims) : value;
}

// Two tensors of distributions, and the kind of each.
struct Pair {
  const Tensor& p;
  const Tensor& q;
  at::IntArrayRef dim;
  string_view kind;
  optional<string_view> q_kind;
  string_view kind_of_q() const { return q_kind.value_or(kind); }
  bool any_counts() const { return are_counts(kind) || are_counts(kind_of_q()); }
};
inline void check_q(const char* op, const Pair& x) {
  check_distribution(op, "q", x.q, x.kind_of_q(),
                     "; torch_infotheory.nn.functional.cross_entropy takes class labels");
}
template <class F>
Tensor pair_value(const char* op, const Pair& x, Options o, bool keepdim,
                  optional<ScalarType> dtype) {
  check_distribution(op, "p", x.p, x.kind);
  check_q(op, x);
  check_dtype(op, dtype);
  const int64_t rank = std::max(x.p.dim(), x.q.dim());
  const auto dims = wrapped_dims(op, x.dim, "p", x.p, "q", x.q);
  const auto [p_input, q_input] = row_input(x.p, x.kind, x.q, x.kind_of_q(), dims, dtype);
  auto [p, q] = broadcast(op, p_input.t, q_input.t, dims, dtype);
  o.dim = dims[0];
  o.p_kind = kind_of(op, p_input.kind);
  o.q_kind = kind_of(op, q_input.kind);
  if (dims.size() > 1) p = merged(p, dims), q = merged(q, dims), o.dim = -1;
  const Tensor value = std::get<0>(call_forward<F>({p, q, {}}, o, dtype));
  return keepdim && rank ? keep_dims(value, dims) : value;
}

// The square root with derivative 0 at 0, the minimum of distances and entropies.
inline Tensor root(const Tensor& x) {
  const Tensor zero = x == 0;
  return at::where(zero, 0., at::where(zero, 1., x).sqrt());
}

inline void check_order(const char* op, double alpha) {
  TORCH_CHECK_VALUE(alpha >= 0, op, ": expected alpha to be 0 or above, got ", alpha);
}

}  // namespace
}  // namespace torch_infotheory
