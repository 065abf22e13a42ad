// ops.cpp -- the schemas of all row ops, and the public measures over them, one loop over the list
// of formulas.
//
// A public op turns its arguments into the options of a row op and calls it. Read first:
// core/formulas.h, ops.h.
#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

template <class F>
Tensor one(const Tensor& p, at::IntArrayRef dim, string_view kind, optional<double> base,
           bool keepdim, optional<ScalarType> dtype) {
  check_distribution(F::name, "p", p);
  const auto dims = wrapped_dims(F::name, "dim", dim, "p", p);
  Options o{dims[0], kind_of(F::name, kind), kNone, -100, 0, unit_of(F::name, base)};
  const bool several = dims.size() > 1;
  if (several) o.dim = -1;
  const Tensor value =
      std::get<0>(call_forward<F>({several ? merged(p, dims) : p, {}, {}}, o, dtype));
  return keepdim && p.dim() ? kept_dims(value, dims) : value;
}

template <class F>
Tensor two(const Tensor& p, const Tensor& q, at::IntArrayRef dim, string_view kind,
           optional<string_view> q_kind, optional<double> base, bool keepdim,
           optional<ScalarType> dtype) {
  check_distribution(F::name, "p", p);
  check_distribution(F::name, "q", q,
                     "; torch_infotheory.nn.functional.cross_entropy takes class labels");
  const int64_t rank = std::max(p.dim(), q.dim());
  const auto dims = wrapped_dims(F::name, dim, "p", p, "q", q);
  auto [x, y] = broadcast(F::name, p, q, dims, dtype);
  Options o{dims[0], kinds_of(kind_of(F::name, kind), kind_of(F::name, q_kind.value_or(kind))),
            kNone,   -100,
            0,       unit_of(F::name, base)};
  if (dims.size() > 1) x = merged(x, dims), y = merged(y, dims), o.dim = -1;
  const Tensor value = std::get<0>(call_forward<F>({x, y, {}}, o, dtype));
  return keepdim && rank ? kept_dims(value, dims) : value;
}

template <class F>
Tensor table(const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim, string_view kind,
             optional<double> base, bool keepdim, optional<ScalarType> dtype) {
  check_distribution(F::name, "joint", joint);
  const TableDims dims(F::name, joint, x_dim, y_dim);
  const Options o{-1, kind_of(F::name, kind), kNone, -100, 0, unit_of(F::name, base)};
  const Tensor value = std::get<0>(call_forward<F>({as_table(joint, dims), {}, {}}, o, dtype));
  return keepdim ? kept_dims(value, dims.both) : value;
}

template <class F>
void register_measure(torch::Library& m) {
  if constexpr (is_table<F>)
    m.impl(F::name, &table<F>);
  else if constexpr (F::arity == 2)
    m.impl(F::name, &two<F>);
  else
    m.impl(F::name, &one<F>);
}
void register_measures(torch::Library& m) {
  each_formula([&](auto formula) { register_measure<decltype(formula)>(m); });
}

template <class F>
std::string measure_schema() {
  const char* tail = "float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor";
  const char* arguments =
      is_table<F> ? "(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind=\"probs\", "
      : F::arity == 2
          ? "(Tensor p, Tensor q, int[1] dim=-1, *, str kind=\"probs\", str? q_kind=None, "
          : "(Tensor p, int[1] dim=-1, *, str kind=\"probs\", ";
  return std::string(F::name) + arguments + tail;
}

TORCH_LIBRARY(torch_infotheory, m) {
  each_formula([&](auto formula) { define(m, measure_schema<decltype(formula)>()); });
  each_row_op([&](auto formula) {
    using F = decltype(formula);
    m.def((forward_name<F>() + kForwardSchema).c_str(), kTags);
    m.def((backward_name<F>() + kBackwardSchema).c_str(), kTags);
  });
}
TI_COMPOSITES(register_measures)

}  // namespace
}  // namespace torch_infotheory
