// log_probs.cpp -- log-probability of a class, entropy and log-normalizer of rows in a single pass.
//
// Plain tensors are read once (log_probs_rows.cpp). Transforms, forward mode and higher derivatives
// use a composition of row ops.
#include "dispatch/log_probs.h"

#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/dims.h"
#include "dispatch/node.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {

// ---- the composition ----

LogProbs composed_log_probs(const Tensor& logits, const Tensor& index, const LogProbsOptions& o) {
  const ScalarType exact = exact_type(logits.scalar_type());
  const ChosenClasses chosen(index, o);
  const Tensor x = chosen.mask_classes(widened(logits), o.dim);
  const auto [nll, nll_saved] =
      call_forward<CrossEntropy>({index, x, {}}, o.label_options(), exact);
  const auto [entropy, saved] = call_forward<Entropy>({x, {}, {}}, o.entropy_options(), exact);
  return {nll.neg(), chosen.mask_rows(entropy),
          chosen.mask_rows(tempered(x, o.temperature).logsumexp(o.dim))};
}

// The log-normalizer is the logit of the class, divided by the temperature, minus its
// log-probability.
Tensor composed_log_probs_gradient(const Tensor& logits, const Tensor& index,
                                   const LogProbsOptions& o,
                                   const std::vector<Tensor>& grad_results) {
  const ScalarType exact = exact_type(logits.scalar_type());
  const ChosenClasses chosen(index, o);
  const Tensor x = chosen.mask_classes(widened(logits), o.dim);
  const auto [grad_log_prob, grad_entropy, grad_logsumexp] = chosen.cotangents(grad_results, exact);
  const Operands labelled{index, x, {}}, all{x, {}, {}};
  const auto nll = call_forward<CrossEntropy>(labelled, o.label_options(), exact);
  const auto entropy = call_forward<Entropy>(all, o.entropy_options(), exact);
  const Tensor dx_nll = call_backward<CrossEntropy>(grad_logsumexp - grad_log_prob, labelled,
                                                    std::get<1>(nll), o.label_options(), kWrtQ);
  const Tensor dx_entropy =
      call_backward<Entropy>(grad_entropy, all, std::get<1>(entropy), o.entropy_options(), kWrtP);
  const Tensor dx_chosen = at::zeros_like(x).scatter(o.dim, chosen.classes.unsqueeze(o.dim),
                                                     grad_logsumexp.unsqueeze(o.dim)) /
                           o.temperature;
  return chosen.mask_classes(dx_nll + dx_entropy + dx_chosen, o.dim);
}

namespace {

// Inputs: the logits. Saved: the logits, the index, and `saved` of the entropy.
struct LogProbsBackward final : FormulaNode<LogProbsBackward, LogProbsOptions, 1, 3> {
  static constexpr bool is_traceable = true;
  std::string name() const override { return "LogProbsBackward"; }

  static variable_list run(const variable_list& grad_results, const Tensors& t,
                           const LogProbsOptions& o, const Needed&) {
    if (!at::GradMode::is_enabled()) return {log_probs_gradient(t[0], t[1], t[2], o, grad_results)};
    variable_list results, cotangents;
    const Tensor x = differentiable_alias(t[0], /*create_graph=*/true);
    const auto [log_prob, entropy, logsumexp] = composed_log_probs(x, t[1], o);
    const Tensor all[] = {log_prob, entropy, logsumexp};
    for (size_t i = 0; i < grad_results.size(); ++i) {
      if (!grad_results[i].defined()) continue;
      results.push_back(all[i]);
      cotangents.push_back(grad_results[i].to(all[i].scalar_type()));
    }
    return torch::autograd::grad(results, {x}, cotangents, /*retain_graph=*/true,
                                 /*create_graph=*/true);
  }
};

LogProbs fused_log_probs(const Tensor& x, const Tensor& index, const LogProbsOptions& o,
                         ScalarType dtype) {
  NodePtr<LogProbsBackward> node;
  if (torch::autograd::compute_requires_grad(x)) {
    node = make_node<LogProbsBackward>();
    node->set_next_edges(torch::autograd::collect_next_edges(x));
  }
  at::AutoDispatchBelowADInplaceOrView below;
  const auto [results, saved] = log_probs_forward(x, index, o);
  const auto [log_prob, entropy, logsumexp] = results;
  variable_list out{log_prob.to(dtype), entropy.to(dtype), logsumexp.to(dtype)};
  if (node) {
    node->save({x, index, saved});
    node->options = o;
    torch::autograd::set_history(out, node);
    fire_creation_hooks(node);
  }
  return {out[0], out[1], out[2]};
}

// ---- the op ----

LogProbs log_probs(const Tensor& logits, const Tensor& index, int64_t dim, double temperature,
                   int64_t ignore_index, optional<ScalarType> dtype) {
  const char* op = "log_probs";
  check_distribution(op, "logits", logits);
  check_dense(op, "index", index);
  check_temperature(op, temperature);
  check_dtype(op, dtype);
  TORCH_CHECK_TYPE(at::isIntegralType(index.scalar_type(), /*includeBool=*/false), op,
                   ": expected index to have an integer dtype, got ", index.scalar_type());
  TORCH_CHECK(index.device() == logits.device(), op, ": expected one device, got ", logits.device(),
              " and ", index.device());
  TORCH_CHECK(logits.dim() > 0, op, ": expected logits with a dimension of classes, got a scalar");
  const auto dims = wrapped_dims(op, "dim", dim, "logits", logits);
  check_classes(op, logits, dims);
  c10::SymDimVector rows(logits.sym_sizes());
  rows.erase(rows.begin() + dims[0]);
  TORCH_CHECK(index.sym_sizes().equals(rows), op, ": expected index of shape ", rows, ", got ",
              index.sym_sizes());
  check_class_indices(op, index, logits.sym_size(dims[0]), ignore_index);
  const ScalarType type = result_type(logits.device(), logits.scalar_type(), dtype);
  const LogProbsOptions o{.dim = dims[0], .ignore_index = ignore_index, .temperature = temperature};
  if (is_plain_tensor(logits) && is_plain_tensor(index) && !has_tangent(logits))
    return fused_log_probs(logits, index, o, type);
  const auto [log_prob, entropy, logsumexp] = composed_log_probs(logits, index, o);
  return {log_prob.to(type), entropy.to(type), logsumexp.to(type)};
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  define(m, c10::str("log_probs(Tensor logits, Tensor index, int dim=-1, *, float temperature=1.0, "
                     "int ignore_index=",
                     kIgnoreIndex,
                     ", ScalarType? dtype=None) -> (Tensor log_prob, Tensor entropy, Tensor "
                     "logsumexp)"));
}
void register_log_probs(torch::Library& m) { m.impl("log_probs", &log_probs); }
TI_COMPOSITES(register_log_probs)

}  // namespace
}  // namespace torch_infotheory
