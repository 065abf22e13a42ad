// linear_autograd.cpp -- autograd of `_linear_loss`.
//
// The first derivative is computed in forward, along with a reduced value, or by the backward op.
// Higher derivatives and forward mode use the composition (linear_composition.h).
#include <torch/csrc/autograd/graph_task.h>
#include <torch/library.h>

#include <algorithm>

#include "dispatch/arguments.h"
#include "dispatch/linear_composition.h"
#include "dispatch/node.h"

namespace torch_infotheory {
namespace {

bool any_tangent(at::TensorList tensors) {
  return std::any_of(tensors.begin(), tensors.end(), has_tangent);
}
bool needs_gradient(const Tensor& t) {
  return t.defined() && t.requires_grad() && at::GradMode::is_enabled();
}
int64_t requires_grad_mask(const LinearTensors& x) {
  int64_t wanted = 0;
  for (size_t i = 0; i < kDifferentiable; ++i) wanted |= int64_t(needs_gradient(x[i])) << i;
  return wanted;
}
// Copies of those gradients, given for the operands in `has`, that are in `wants`. They are copies,
// because a backward pass may overwrite the tensors that a node has saved.
std::vector<Tensor> select_gradients(at::TensorList gradients, int64_t has, int64_t wants) {
  std::vector<Tensor> out;
  if (gradients.empty() || !wants) return out;
  out.push_back(gradients[0].clone());
  for (size_t i = 0, next = 1; i < kDifferentiable; ++i) {
    if (!(has >> i & 1)) continue;
    if (wants >> i & 1) out.push_back(gradients[next].clone());
    ++next;
  }
  return out;
}
Tensor composed_value(const LinearTensors& x, const LinearOptions& o, ScalarType dtype) {
  return with_formula(
      o, [&](auto f) { return Composition<typename decltype(f)::type>(x, o).value(dtype); });
}
std::vector<Tensor> composed_gradients(const Tensor& g, const LinearTensors& x,
                                       const LinearOptions& o) {
  return with_formula(
      o, [&](auto f) { return Composition<typename decltype(f)::type>(x, o).gradients(g); });
}

constexpr size_t kGradients = kLinearOperands;  // where a node saves them, after their factor

// Inputs: the differentiable operands. Saved: the operands, then the factor and the gradients of
// the sum.
struct LinearBackward final : FormulaNode<LinearBackward, LinearOptions, kDifferentiable,
                                          kGradients + 1 + kDifferentiable> {
  static constexpr bool is_traceable = true;
  std::string name() const override { return "LinearLossBackward"; }

  static variable_list run(const variable_list& g, const Tensors& t, LinearOptions o,
                           const Needed& needed) {
    variable_list out(inputs);
    if (!g[0].defined()) return out;
    LinearTensors x;
    std::copy_n(t.begin(), x.size(), x.begin());
    std::vector<Tensor> gradients;
    if (t[kGradients].defined()) gradients.push_back(t[kGradients]);
    o.wanted = 0;
    for (size_t i = 0; i < inputs; ++i) {
      if (!needed[i]) continue;
      o.wanted |= int64_t(1) << i;
      if (!gradients.empty()) gradients.push_back(t[kGradients + 1 + i]);
    }
    std::vector<Tensor> results;
    if (!gradients.empty() && is_last() && is_plain_tensor(g[0]) && is_plain_tensor(gradients[1])) {
      const Tensor factor = gradients[0] * g[0];
      for (size_t i = 1; i < gradients.size(); ++i) results.push_back(gradients[i].mul_(factor));
      each_wanted(o, [&, i = 0](size_t operand) mutable {
        results[i] = results[i].to(x[operand].scalar_type());
        ++i;
      });
    } else {
      const LinearCall call(x, o);
      results = linear_backward_op().call(g[0], call.tensors, gradients, call.ints, call.floats);
    }
    each_wanted(o, [&, i = 0](size_t operand) mutable { out[operand] = results[i++]; });
    return out;
  }

 private:
  // Whether saved tensors are released after this pass, so that they may be reused for the result.
  static bool is_last() {
    return !at::GradMode::is_enabled() && !torch::autograd::get_current_graph_task_keep_graph();
  }
};

// Inputs: g and the differentiable operands. Saved: g and the operands. One output for each wanted
// gradient.
struct LinearDoubleBackward final
    : FormulaNode<LinearDoubleBackward, LinearOptions, 1 + kDifferentiable, 1 + kLinearOperands> {
  static constexpr bool is_traceable = false;  // it calls the engine
  std::string name() const override { return "LinearLossBackwardBackward"; }

  static variable_list run(const variable_list& gg, const Tensors& t, const LinearOptions& o,
                           const Needed& needed) {
    variable_list out(inputs), by;
    const bool create_graph = at::GradMode::is_enabled();
    at::AutoGradMode enable(true);
    Tensors in = t;
    std::vector<size_t> place;
    for (size_t i = 0; i < inputs; ++i) {
      if (!needed[i] || !in[i].defined()) continue;
      in[i] = differentiable_alias(in[i], create_graph);
      by.push_back(in[i]);
      place.push_back(i);
    }
    LinearTensors x;
    std::copy_n(in.begin() + 1, x.size(), x.begin());
    const variable_list all = composed_gradients(in[0], x, o);
    variable_list gradients, given;
    for (size_t i = 0; i < all.size(); ++i) {
      if (!gg[i].defined() || !all[i].requires_grad()) continue;
      gradients.push_back(all[i]);
      given.push_back(gg[i]);
    }
    if (by.empty() || gradients.empty()) return out;
    const auto results = torch::autograd::grad(gradients, by, given, /*retain_graph=*/create_graph,
                                               create_graph, /*allow_unused=*/true);
    for (size_t i = 0; i < place.size(); ++i) out[place[i]] = results[i];
    return out;
  }
};

template <class N, size_t n>
NodePtr<N> node_of(const std::array<Tensor, n>& in) {
  NodePtr<N> node = make_node<N>();
  torch::autograd::edge_list edges;
  for (size_t i = 0; i < N::inputs; ++i)
    edges.push_back(in[i].defined() ? torch::autograd::impl::gradient_edge(in[i])
                                    : torch::autograd::Edge());
  node->set_next_edges(std::move(edges));
  return node;
}

LinearResults forward_autograd(c10::DispatchKeySet keys, at::TensorList operands,
                               at::IntArrayRef ints, at::ArrayRef<double> floats,
                               ScalarType dtype) {
  LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  if (any_tangent(operands) || needs_gradient(x[kClassWeight]))
    return {composed_value(x, o, dtype), {}};
  // An outer level of torch.func sees the gradients that an inner one has requested.
  const int64_t asked = o.wanted, own = requires_grad_mask(x);
  NodePtr<LinearBackward> node;
  if (own) node = node_of<LinearBackward>(x);
  if (o.reduction != kNone) o.wanted |= own;
  auto [value, gradients] = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    const LinearCall call(x, o);
    return linear_op().redispatch(keys & c10::after_autograd_keyset, call.tensors, call.ints,
                                  call.floats, dtype);
  }();
  if (node) {
    LinearBackward::Tensors saved;
    std::copy(x.begin(), x.end(), saved.begin());
    if (!gradients.empty()) {
      saved[kGradients] = gradients[0];
      size_t next = 1;
      each_wanted(o, [&, &gradients = gradients](size_t i) {
        if (own >> i & 1) saved[kGradients + 1 + i] = gradients[next];
        ++next;
      });
    }
    node->save(saved);
    node->options = o;
    torch::autograd::set_history(value, node);
    fire_creation_hooks(node);
  }
  return {value, select_gradients(gradients, o.wanted, asked)};
}

std::vector<Tensor> backward_autograd(c10::DispatchKeySet keys, const Tensor& g,
                                      at::TensorList operands, at::TensorList gradients,
                                      at::IntArrayRef ints, at::ArrayRef<double> floats) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  if (has_tangent(g) || any_tangent(operands)) return composed_gradients(g, x, o);
  LinearDoubleBackward::Tensors in{g};
  std::copy(x.begin(), x.end(), in.begin() + 1);
  NodePtr<LinearDoubleBackward> node;
  if (needs_gradient(g) || requires_grad_mask(x)) node = node_of<LinearDoubleBackward>(in);
  auto out = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return linear_backward_op().redispatch(keys & c10::after_autograd_keyset, g, operands,
                                           gradients, ints, floats);
  }();
  if (node) {
    node->save(in);
    node->options = o;
    torch::autograd::set_history(out, node);
    fire_creation_hooks(node);
  }
  return out;
}

TORCH_LIBRARY_IMPL(torch_infotheory, Autograd, m) {
  m.impl(kLinear, &forward_autograd);
  m.impl(kLinearBackward, &backward_autograd);
}

}  // namespace
}  // namespace torch_infotheory
