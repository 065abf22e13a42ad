// row_inputs.h -- from the tensors of a public measure to those of a row op: counts, broadcasting.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <utility>
#include <vector>

#include "dispatch/arguments.h"
#include "dispatch/dims.h"
#include "dispatch/shapes.h"

namespace torch_infotheory {

// Counts divided by their sum, in float64, because float32 rounds large integers and the sum of a
// half type overflows. A negative count makes its whole distribution NaN.
inline Tensor normalized_counts(const Tensor& counts, at::IntArrayRef dims) {
  const Tensor wide = counts.to(widest_type(counts.device())), x = at::where(wide < 0, NAN, wide);
  Tensor total = x;
  for (const int64_t d : dims) total = total.sum(d, /*keepdim=*/true);
  return x / total;
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

}  // namespace torch_infotheory
