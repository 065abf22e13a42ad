// compositions.cpp -- the row ops as operations of torch, where there is no kernel.
//
// The dispatcher takes CompositeExplicitAutograd on a device for which this build has no kernel, under
// the same autograd nodes as a kernel; and torch.export takes CompositeImplicitAutograd where it is
// to leave nothing but torch's own operators. Knows tensors; must not know how a row is reduced.
// Read first: reference.h.
#include <torch/library.h>

#include "dispatch/devices.h"
#include "dispatch/linear.h"
#include "dispatch/maps.h"

namespace torch_infotheory {
namespace {

// Operands in the type computed with. A divergence of nearly equal distributions is what is left of
// terms that cancel: in float64 it keeps its digits. So do sums of torch that are added one by one.
// In an exported program, which may run where float64 is slow or missing, only divergences have it.
template <class F, bool exported>
class Wide {
 public:
  explicit Wide(const Operands& given) : x(given) {
    const bool in_double = [] {
      if constexpr (is_map<F>)
        return false;
      else
        return F::divergence || !exported;
    }();
    for (optional<Tensor>* t : {&p, &q}) {
      if (t == &q && !x.q) continue;
      const Tensor& of = t == &p ? x.p : *x.q;
      *t = !at::isFloatingType(of.scalar_type()) ? of
           : in_double                           ? of.to(widest_type(of.device()))
                                                 : widened(of);
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
    return Reference<F>(wide, o, Reference<F>::rounding_of(x, o), saved);
}

template <class F, bool exported>
std::tuple<Tensor, Tensor> forward(const Operands& x, const Options& o,
                                   optional<ScalarType> dtype) {
  check_operands<F, c10::SymInt>(x, o);
  check_dtype(F::name, dtype);
  if constexpr (!is_map<F>) warn_without_kernel(F::name, x.p);
  const Wide<F, exported> wide(x);
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
  const Wide<F, exported> wide(x);
  const Operands operands = wide.operands();
  const Tensor gradient = reference<F>(operands, x, o, saved).gradient(g, wrt == 1);
  return allocate_gradient<F, c10::SymInt>(wrt ? *x.q : x.p).copy_(gradient);
}

// Not a block of rows at a time, but over all logits: how many rows count is not known to a tracer.
LinearResults linear_forward(at::TensorList operands, at::IntArrayRef ints,
                             at::ArrayRef<double> floats, ScalarType dtype) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  check_linear(x);
  const Tensor value = with_formula(
      o, [&](auto f) { return Composition<typename decltype(f)::type>(x, o).value(dtype); });
  LinearResults out{value, {}};
  if (o.wanted == 0) return out;
  // The gradients that kernels make ahead, in their shapes: backward composes them again.
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
// Maps are compositions everywhere. At the keys of devices with kernels, because torch.compile would
// take them apart, too, where there is none.
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
