// distillation.cpp -- losses between a model and a teacher or a reference, composed of row ops.
#include <torch/library.h>

#include "dispatch/distributions.h"
#include "dispatch/masks.h"
#include "dispatch/measures.h"

namespace torch_infotheory {
namespace {

// The teacher's top classes, and the remaining probability as one more class.
Tensor with_rest(const Tensor& log_probs) {
  const Tensor x = log_probs.to(widest_type(log_probs.device()));
  const Tensor rest = at::log1p(-at_most(x.exp().sum(-1, /*keepdim=*/true), 1));
  return at::cat({x, rest}, -1);
}
// The model's logits of the same classes; the logit of the rest is logsumexp of all other classes.
Tensor with_rest(const Tensor& logits, const Tensor& classes) {
  const Tensor x = widened(logits), index = classes.to(at::kLong),
               others = x.scatter(-1, index, -INFINITY);
  return at::cat({x.gather(-1, index), others.logsumexp(-1, /*keepdim=*/true)}, -1);
}

Tensor distillation_loss(const Tensor& input, const Tensor& target,
                         const optional<Tensor>& target_classes, string_view divergence,
                         string_view kind, double weight, double temperature,
                         const optional<Tensor>& mask, optional<double> base, int64_t reduction,
                         optional<ScalarType> dtype) {
  const char* op = "distillation_loss";
  check_distribution(op, "input", input);
  check_distribution(op, "target", target);
  check_reduction(op, reduction);
  check_dtype(op, dtype);
  check_temperature(op, temperature);
  check_weight(op, weight);
  const double unit = unit_of(op, base);
  TORCH_CHECK_VALUE(divergence == "kl" || divergence == "reverse_kl" || divergence == "js", op,
                    ": expected divergence to be 'kl', 'reverse_kl' or 'js', got '", divergence,
                    "'");
  TORCH_CHECK(input.dim() > 0 && input.sym_size(-1) != 0, op,
              ": expected at least one class, got input ", input.sym_sizes());
  const ScalarType promoted = c10::promoteTypes(input.scalar_type(), target.scalar_type()),
                   type = result_type(input.device(), promoted, dtype);
  kind_of(op, kind, "'probs', 'log_probs' or 'logits'");
  const string_view model_kind = "logits", teacher_kind = target_classes ? "log_probs" : kind;
  Tensor model = input, teacher = target;
  if (target_classes) {
    check_dense(op, "target indices", *target_classes);
    TORCH_CHECK_TYPE(at::isIntegralType(target_classes->scalar_type(), /*includeBool=*/false), op,
                     ": expected target indices of an integer dtype, got ",
                     target_classes->scalar_type());
    c10::SymDimVector expected(input.sym_sizes());
    expected.back() = target.dim() ? target.sym_size(-1) : c10::SymInt(0);
    TORCH_CHECK(
        target.sym_sizes().equals(expected) && target_classes->sym_sizes().equals(expected) &&
            expected.back() <= input.sym_size(-1),
        op, ": expected target to be a pair of shapes (..., k) for input ", input.sym_sizes(),
        ", got ", target_classes->sym_sizes(), " and ", target.sym_sizes());
    check_class_indices(op, *target_classes, input.sym_size(-1));
    model = tempered(input, temperature);
    if (expected.back() == input.sym_size(-1)) {  // no class remains
      model = model.gather(-1, target_classes->to(at::kLong));
    } else {
      teacher = with_rest(target);
      model = with_rest(model, *target_classes);
    }
  } else {
    TORCH_CHECK(target.sym_sizes().equals(input.sym_sizes()), op,
                ": expected input and target of one shape, got ", input.sym_sizes(), " and ",
                target.sym_sizes());
  }
  const RowMask rows(op, mask, input, {input.dim() - 1});
  model = rows.clean(model), teacher = rows.clean(teacher);
  const Options o{.reduction = rows.reduction(reduction),
                  .scale = unit,
                  .parameter = weight,
                  .temperature = target_classes ? 1 : temperature};
  static constexpr int64_t kLast = -1;
  const at::IntArrayRef dim = kLast;
  const auto value = [&](optional<ScalarType> value_type) {
    if (divergence == "kl")
      return pair_value<KlDivergence>(op, {teacher, model, dim, teacher_kind, model_kind}, o, false,
                                      value_type);
    const Pair reverse{model, teacher, dim, model_kind, teacher_kind};
    return divergence == "js" ? pair_value<JsDivergence>(op, reverse, o, false, value_type)
                              : pair_value<KlDivergence>(op, reverse, o, false, value_type);
  };
  return rows.reduce(value, reduction, type, promoted);
}

// e^d - 1 - d, in double; a series near 0, where the difference cancels.
Tensor exp_minus_linear(const Tensor& d) {
  Tensor series = at::ones_like(d);
  for (int k = 8; k > 2; --k) series = 1 + series * d / k;
  const Tensor near = d.abs() < 0.01;
  return at::where(near, d * d / 2 * series, at::expm1(at::where(near, 0., d)) - d);
}

// Schulman (2020), Approximating KL divergence. The samples are from p; d = log q - log p.
Tensor kl_estimate(const Tensor& log_p, const Tensor& log_q, string_view estimator) {
  const char* op = "kl_estimate";
  check_distribution(op, "log_p", log_p);
  check_distribution(op, "log_q", log_q);
  TORCH_CHECK(log_p.device() == log_q.device(), op, ": expected one device, got ", log_p.device(),
              " and ", log_q.device());
  const ScalarType widest = widest_type(log_p.device());
  const Tensor p = log_p.to(widest), q = log_q.to(widest), d = q - p;
  const auto value = [&]() -> Tensor {
    if (estimator == "k1") return -d;
    if (estimator == "k2") return d * d / 2;
    if (estimator == "k3") return exp_minus_linear(d);
    TORCH_CHECK_VALUE(
        estimator == "k3_unbiased_gradient", op,
        ": expected estimator to be 'k1', 'k2', 'k3' or 'k3_unbiased_gradient', got '", estimator,
        "'");
    // d/dtheta E_p[log p - log q] = E_p[(log p - log q) dlog p - dlog q].
    const Tensor literal = -d.detach() * p - q;
    return exp_minus_linear(d.detach()) + (literal - literal.detach());
  };
  const ScalarType type = c10::promoteTypes(log_p.scalar_type(), log_q.scalar_type());
  return value().to(result_type(log_p.device(), type, {}));
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  define(m,
         "distillation_loss(Tensor input, Tensor target, Tensor? target_classes=None, *, str "
         "divergence=\"kl\", str kind=\"logits\", float weight=0.5, float temperature=1.0, Tensor? "
         "mask=None, float? base=None, int reduction=1, ScalarType? dtype=None) -> Tensor");
  define(m, "kl_estimate(Tensor log_p, Tensor log_q, str estimator=\"k3\") -> Tensor");
}
void register_distillation(torch::Library& m) {
  m.impl("distillation_loss", &distillation_loss);
  m.impl("kl_estimate", &kl_estimate);
}
TI_COMPOSITES(register_distillation)

}  // namespace
}  // namespace torch_infotheory
