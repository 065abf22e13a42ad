// compositions.cpp -- the row ops composed of ATen ops, for devices without kernels and for export.
//
// The dispatcher selects CompositeExplicitAutograd on a device without kernels in this build, below
// the same autograd nodes. torch.export uses CompositeImplicitAutograd to decompose the ops.
#include <torch/library.h>

#include "dispatch/devices.h"
#include "dispatch/linear_composition.h"
#include "dispatch/maps.h"
#include "dispatch/reference.h"

namespace torch_infotheory {
namespace {

// Operands in the type used for computation, with logits divided by the temperature before, as the
// kernels do. The type is float64 for divergences, because the terms of
// nearly equal distributions cancel, and for all other formulas because some sums of torch
// accumulate sequentially. An exported program may run where float64 is slow or missing, so there
// it is used only for divergences.
template <class F, bool exported>
class Wide {
 public:
  Wide(const Operands& given, const Options& o) : x(given) {
    const bool in_double = [] {
      if constexpr (is_map<F>)
        return false;
      else
        return F::divergence || !exported;
    }();
    for (optional<Tensor>* t : {&p, &q}) {
      if (t == &q && !x.q) continue;
      const Tensor& operand = t == &p ? x.p : *x.q;
      if (!at::isFloatingType(operand.scalar_type())) {
        *t = operand;
        continue;
      }
      const Tensor read = tempered(operand, o.divisor(t == &p ? o.p_kind : o.q_kind));
      *t = in_double ? read.to(widest_type(read.device())) : read;
    }
  }
  Operands operands() const { return {*p, q, x.weight}; }

 private:
  const Operands& x;
  optional<Tensor> p, q;
};
template <class F>
Reference<F> reference(const Operands& wide, const Operands& x, const Options& o,
                       const Tensor& saved = {}) {
  if constexpr (is_map<F>)
    return Reference<F>(wide, o);
  else
    return Reference<F>(wide, o, /*temperature=*/1, Reference<F>::rounding_of(x, o), saved);
}

template <class F, bool exported>
std::tuple<Tensor, Tensor> forward(const Operands& x, const Options& o,
                                   optional<ScalarType> dtype) {
  check_operands<F, c10::SymInt>(x, o);
  check_dtype(F::name, dtype);
  if constexpr (!is_map<F>) warn_without_kernel(F::name, x.p);
  const Wide<F, exported> wide(x, o);
  const Operands operands = wide.operands();
  const auto r = reference<F>(operands, x, o);
  const Tensor value = r.value(value_type(x, o, dtype)).contiguous();
  const Tensor& full = x.full(o);
  const ScalarType widest = widest_type(full.device());
  if constexpr (!is_map<F>)
    if (o.saves_rows()) return {value, r.saved(widest)};
  return {value,
          at::empty_symint(saved_shape<F, c10::SymInt>(full, o), full.options().dtype(widest))};
}
template <class F, bool exported>
Tensor backward(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                int64_t wrt) {
  check_backward_operands<F, c10::SymInt>(g, saved, x, o, wrt);
  const Wide<F, exported> wide(x, o);
  const Operands operands = wide.operands();
  const Tensor gradient = reference<F>(operands, x, o, saved).gradient(g, wrt == kWrtQ);
  // Not copy_, which torch 2.12 and 2.14 refuse in a graph of torch.compile.
  return at::copy(allocate_gradient<F, c10::SymInt>(x.input(wrt)), gradient);
}

// All logits at once, not in blocks, because a tracer does not know how many rows count.
LinearResults linear_forward(at::TensorList operands, at::IntArrayRef ints,
                             at::ArrayRef<double> floats, ScalarType dtype) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  check_linear(x);
  const Tensor value = with_formula(
      o, [&](auto f) { return Composition<typename decltype(f)::type>(x, o).value(dtype); });
  LinearResults out{value, {}};
  if (o.wanted == 0) return out;
  // Placeholders for the gradients that kernels compute in forward; backward recomputes them.
  auto& gradients = std::get<1>(out);
  const auto options = x[kStates].options();
  gradients.push_back(at::ones({}, options.dtype(widest_type(options.device()))));
  each_wanted(o, [&](size_t i) {
    gradients.push_back(at::zeros_symint(x[i].sym_sizes(), options.dtype(exact_type(x))));
  });
  return out;
}
std::vector<Tensor> linear_backward(const Tensor& g, at::TensorList operands, at::TensorList,
                                    at::IntArrayRef ints, at::ArrayRef<double> floats) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  return with_formula(
      o, [&](auto f) { return Composition<typename decltype(f)::type>(x, o).gradients(g); });
}

template <bool exported>
void register_row_ops(torch::Library& m) {
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_row_op<F, &forward<F, exported>, &backward<F, exported>>(m);
  });
}
TORCH_LIBRARY_IMPL(torch_infotheory, CompositeExplicitAutograd, m) { register_row_ops<false>(m); }
// Maps have no kernels. They are registered at CPU and CUDA too, because torch.compile decomposes
// an op that has no kernel for the device.
void register_maps(torch::Library& m) {
  each(Maps{}, [&](auto formula) {
    using F = typename decltype(formula)::type;
    register_row_op<F, &forward<F, false>, &backward<F, false>>(m);
  });
}
TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) { register_maps(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, CUDA, m) { register_maps(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) {
  register_row_ops<true>(m);
  m.impl(kLinear, &linear_forward);
  m.impl(kLinearBackward, &linear_backward);
}

}  // namespace
}  // namespace torch_infotheory
