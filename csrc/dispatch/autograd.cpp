// autograd.cpp -- autograd of all row ops.
//
// The first derivative is the backward op of the formula. The second derivative and forward mode
// use the ATen reference (reference.h).
#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/maps.h"
#include "dispatch/node.h"

namespace torch_infotheory {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;

struct BackwardOptions : Options {
  int64_t wrt = 0;
  auto fields() { return std::tuple_cat(Options::fields(), std::tie(wrt)); }
};

bool any_tangent(const Operands& x) {
  return has_tangent(x.p) || (x.q && has_tangent(*x.q)) || (x.weight && has_tangent(*x.weight));
}
// Whether the two gradients may come from one op, which only the CPU's kernels make one pass of and
// which neither transforms nor further derivatives know.
bool may_be_one_op(const Tensor& g, const Operands& x) {
  const auto is_plain = [](const Tensor& t) { return t.is_cpu() && is_plain_tensor(t); };
  return !at::GradMode::is_enabled() && is_plain(g) && is_plain(x.p) && is_plain(*x.q) &&
         (!x.weight || is_plain(*x.weight)) && !has_tangent(g) && !any_tangent(x);
}

// Inputs (p, q); saved (p, q, weight, saved).
template <class F>
struct Backward final : FormulaNode<Backward<F>, Options, 2, 4> {
  using Base = FormulaNode<Backward<F>, Options, 2, 4>;
  static constexpr bool is_traceable = true;
  std::string name() const override { return std::string(F::name) + "Backward"; }
  static variable_list run(const variable_list& grad_outputs, const typename Base::Tensors& t,
                           const Options& o, const typename Base::Needed& needed) {
    const Tensor& g = grad_outputs[0];
    variable_list out(2);
    if (!g.defined()) return out;
    const optional<Tensor> q = maybe(t[1]), weight = maybe(t[2]);
    const Operands x{t[0], q, weight};
    const bool by_p = needed[kWrtP] && !o.has_labels(), by_q = needed[kWrtQ] && q;
    if constexpr (F::arity == 2)
      if (by_p && by_q && may_be_one_op(g, x)) {
        at::AutoDispatchBelowADInplaceOrView below;
        std::tie(out[kWrtP], out[kWrtQ]) = call_backward_both<F>(g, x, t[3], o);
        return out;
      }
    if (by_p) out[kWrtP] = call_backward<F>(g, x, t[3], o, kWrtP);
    if (by_q) out[kWrtQ] = call_backward<F>(g, x, t[3], o, kWrtQ);
    return out;
  }
};

// Inputs (g, p, q); saved (g, p, q, weight).
template <class F>
struct DoubleBackward final : FormulaNode<DoubleBackward<F>, BackwardOptions, 3, 4> {
  using Base = FormulaNode<DoubleBackward<F>, BackwardOptions, 3, 4>;
  static constexpr bool is_traceable = false;  // it calls the engine
  std::string name() const override { return std::string(F::name) + "BackwardBackward"; }
  static variable_list run(const variable_list& grad_outputs, const typename Base::Tensors& t,
                           const BackwardOptions& o, const typename Base::Needed& needed) {
    const Tensor& gg = grad_outputs[0];
    variable_list out(3), inputs;
    if (!gg.defined()) return out;
    const bool create_graph = torch::autograd::GradMode::is_enabled();
    at::AutoGradMode enable(true);
    Tensor in[3] = {t[0], t[1], t[2]};
    std::vector<size_t> place;
    for (size_t i = 0; i < 3; ++i) {
      if (!needed[i] || !in[i].defined() || !at::isFloatingType(in[i].scalar_type())) continue;
      in[i] = differentiable_alias(in[i], create_graph);
      inputs.push_back(in[i]);
      place.push_back(i);
    }
    const optional<Tensor> q = maybe(in[2]), weight = maybe(t[3]);
    const Tensor gradient = Reference<F>({in[1], q, weight}, o).gradient(in[0], o.wrt == kWrtQ);
    if (inputs.empty() || !gradient.requires_grad()) return out;
    const auto grads =
        torch::autograd::grad({gradient}, inputs, {gg}, /*retain_graph=*/create_graph, create_graph,
                              /*allow_unused=*/true);
    for (size_t i = 0; i < place.size(); ++i) out[place[i]] = grads[i];
    return out;
  }
};

bool weight_requires_grad(const Operands& x) {
  return x.weight && x.weight->requires_grad() && at::GradMode::is_enabled();
}

// The kernels have no derivative with respect to class weights, so the weights are multiplied into
// the target, which costs a copy of it.
template <class F>
std::tuple<Tensor, Tensor> forward_with_weight_gradient(const Operands& x, Options o,
                                                        optional<ScalarType> dtype) {
  if constexpr (F::arity == 2) {
    if (!o.has_labels()) {
      dtype = value_type(x, o, dtype);
      o.dim = wrapped_dim(x.full(o), o.dim);
      const Tensor weighted = adjusted(x.p, x, o);
      o.label_smoothing = 0;
      return call_forward<F>({weighted, x.q, {}}, o, dtype);
    }
  }
  TORCH_CHECK(false, F::name, ": not differentiable with respect to weight");
}

template <class F>
std::tuple<Tensor, Tensor> forward_autograd(c10::DispatchKeySet keys, const Operands& x,
                                            const Options& o, optional<ScalarType> dtype) {
  const auto run_kernel = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return redispatch_forward<F>(keys & c10::after_autograd_keyset, x, o, dtype);
  };
  if (C10_UNLIKELY(any_tangent(x))) {
    check_operands<F, c10::SymInt>(x, o);
    return {Reference<F>(x, o).value(value_type(x, o, dtype)), std::get<1>(run_kernel())};
  }
  if (C10_UNLIKELY(weight_requires_grad(x))) return forward_with_weight_gradient<F>(x, o, dtype);
  NodePtr<Backward<F>> node;
  if (compute_requires_grad(x.p, x.q)) {
    node = make_node<Backward<F>>();
    node->set_next_edges(collect_next_edges(x.p, x.q));
  }
  auto out = run_kernel();
  if (node) {
    node->save({x.p, or_undefined(x.q), or_undefined(x.weight), std::get<1>(out)});
    node->options = o;
    torch::autograd::set_history(std::get<0>(out), node);
    fire_creation_hooks(node);
  }
  return out;
}

template <class F>
Tensor backward_autograd(c10::DispatchKeySet keys, const Tensor& g, const Operands& x,
                         const Tensor& saved, const Options& options, int64_t wrt) {
  const BackwardOptions o{options, wrt};
  if (C10_UNLIKELY(has_tangent(g) || any_tangent(x) || weight_requires_grad(x)))
    return Reference<F>(x, o).gradient(g, wrt == kWrtQ);
  NodePtr<DoubleBackward<F>> node;
  if (compute_requires_grad(g, x.p, x.q)) {
    node = make_node<DoubleBackward<F>>();
    node->set_next_edges(collect_next_edges(g, x.p, x.q));
  }
  Tensor out = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return redispatch_backward<F>(keys & c10::after_autograd_keyset, g, x, saved, o, wrt);
  }();
  if (node) {
    node->save({g, x.p, or_undefined(x.q), or_undefined(x.weight)});
    node->options = o;
    torch::autograd::set_history(out, node);
    fire_creation_hooks(node);
  }
  return out;
}

TORCH_LIBRARY_IMPL(torch_infotheory, Autograd, m) {
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_row_op_with_keys<F, &forward_autograd<F>, &backward_autograd<F>>(m);
  });
}

}  // namespace
}  // namespace torch_infotheory
