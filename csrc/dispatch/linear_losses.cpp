// linear_losses.cpp -- the public losses from hidden states other than linear_cross_entropy.
//
// The hidden states have any leading dimensions, with one distribution each.
#include "dispatch/linear_losses.h"

#include <torch/library.h>

#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

struct States {
  LinearTensors x;
  c10::SymDimVector leading;  // dimensions of input

  States(const char* op, const Tensor& input, const Tensor& weight, optional_tensor bias,
         optional_tensor mask)
      : leading(input.sym_sizes().slice(0, std::max<int64_t>(input.dim() - 1, 0))) {
    set_operands(op, kStates, "input", input, "linear_weight", weight, "linear_bias", bias);
    if (!mask) return;
    check_mask(op, *mask, leading);
    x[kMask] = mask->reshape(-1);
  }
  // Checks hidden states, weight and bias, and stores them in the operands from `first` on.
  void set_operands(const char* op, size_t first, const char* name, const Tensor& states,
                    const char* weight_name, const Tensor& weight, const char* bias_name,
                    optional_tensor bias) {
    check_distribution(op, name, states);
    check_distribution(op, weight_name, weight);
    TORCH_CHECK(states.dim() > 0 && weight.dim() == 2 && states.sym_size(-1) == weight.sym_size(1),
                op, ": expected ", name, " of shape (..., H) and ", weight_name,
                " of shape (C, H), got ", states.sym_sizes(), " and ", weight.sym_sizes());
    TORCH_CHECK(!bias || (bias->dim() == 1 && bias->sym_size(0) == weight.sym_size(0)), op,
                ": expected ", bias_name, " of shape (C), got ", bias->sym_sizes(), " for ",
                weight_name, " ", weight.sym_sizes());
    x[first] = as_rows(states);
    x[first + 1] = weight;
    x[first + 2] = or_undefined(bias);
  }
  static Tensor as_rows(const Tensor& t) {
    return t.dim() == 1 ? t.unsqueeze(0) : t.dim() > 2 ? t.flatten(0, -2) : t;
  }
  template <class F>
  Tensor call(const char* op, const LinearOptions& o, optional<ScalarType> dtype) const {
    ScalarType type = x[kStates].scalar_type();
    if (x[kTarget].defined()) type = c10::promoteTypes(type, x[kTarget].scalar_type());
    const Tensor value = call_linear<F>(op, x, o, result_type(x[kStates].device(), type, dtype));
    return o.reduction == kNone && leading.size() != 1 ? value.view_symint(leading) : value;
  }
};

Tensor linear_entropy(const Tensor& input, const Tensor& linear_weight, optional_tensor linear_bias,
                      optional_tensor mask, optional<double> softcap, double temperature,
                      optional<double> base, int64_t reduction, optional<ScalarType> dtype) {
  const char* op = "linear_entropy";
  LinearOptions o = make_options(op, reduction, softcap, temperature);
  o.model_is_p = 1;
  o.scale = unit_of(op, base);
  return States(op, input, linear_weight, linear_bias, mask).call<Entropy>(op, o, dtype);
}

// The log-probability of a class, the entropy and the log-normalizer of each row.
std::tuple<Tensor, Tensor, Tensor> linear_log_probs(
    const Tensor& input, const Tensor& linear_weight, const Tensor& index,
    optional_tensor linear_bias, optional<double> softcap, double temperature, int64_t ignore_index,
    optional<ScalarType> dtype) {
  const char* op = "linear_log_probs";
  check_dtype(op, dtype);
  LinearOptions o = make_options(op, kNone, softcap, temperature);
  const States states(op, input, linear_weight, linear_bias, {});
  TORCH_CHECK_TYPE(at::isIntegralType(index.scalar_type(), /*includeBool=*/false), op,
                   ": expected index to have an integer dtype, got ", index.scalar_type());
  TORCH_CHECK(index.sym_sizes().equals(states.leading), op, ": expected index of shape ",
              states.leading, ", got ", index.sym_sizes());
  LinearTensors x = states.x;
  x[kTarget] = index.reshape(-1);
  o.target_kind = kLabels;
  o.ignore_index = ignore_index;
  const ScalarType type = result_type(input.device(), input.scalar_type(), dtype);
  const Tensor results = call_linear<LogProbabilities>(op, x, o, type);
  const auto result = [&](int64_t i) {  // not a view, so that it may be modified in place
    const Tensor t = results.select(1, i).clone(at::MemoryFormat::Contiguous);
    return states.leading.size() == 1 ? t : t.view_symint(states.leading);
  };
  return {result(0), result(1), result(2)};
}

template <class F>
Tensor teacher_divergence(const char* op, bool model_is_p, const Tensor& input,
                          const Tensor& linear_weight, const Tensor& target,
                          optional_tensor linear_bias, optional_tensor target_weight,
                          optional_tensor target_bias, string_view kind, optional_tensor mask,
                          optional<double> softcap, double temperature, int64_t reduction,
                          optional<ScalarType> dtype, double parameter = 0) {
  LinearOptions o = make_options(op, reduction, softcap, temperature);
  o.parameter = parameter;
  o.model_is_p = model_is_p;
  o.target_kind = kind_of(op, kind, "'probs', 'log_probs' or 'logits'");
  States states(op, input, linear_weight, linear_bias, mask);
  TORCH_CHECK_VALUE(target_weight || !target_bias, op,
                    ": target_bias has no meaning without target_weight");
  TORCH_CHECK_VALUE(!target_weight || o.target_kind == kLogits, op,
                    ": hidden states with target_weight state logits, got kind '", kind, "'");
  c10::SymDimVector expected(states.leading);
  expected.push_back(target_weight ? target.sym_size(-1) : linear_weight.sym_size(0));
  TORCH_CHECK(target.sym_sizes().equals(expected), op, ": expected target of shape ", expected,
              ", got ", target.sym_sizes());
  if (target_weight) {
    states.set_operands(op, kTarget, "target", target, "target_weight", *target_weight,
                        "target_bias", target_bias);
    TORCH_CHECK(target_weight->sym_size(0) == linear_weight.sym_size(0), op,
                ": expected as many classes in target_weight as in linear_weight, got ",
                target_weight->sym_sizes(), " and ", linear_weight.sym_sizes());
  } else {
    check_distribution(op, "target", target);
    states.x[kTarget] = States::as_rows(target);
  }
  return states.call<F>(op, o, dtype);
}

Tensor linear_kl_div(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                     optional_tensor linear_bias, optional_tensor target_weight,
                     optional_tensor target_bias, string_view kind, string_view direction,
                     optional_tensor mask, optional<double> softcap, double temperature,
                     int64_t reduction, optional<ScalarType> dtype) {
  const char* op = "linear_kl_div";
  TORCH_CHECK_VALUE(direction == "forward" || direction == "reverse", op,
                    ": expected direction to be 'forward' or 'reverse', got '", direction, "'");
  return teacher_divergence<KlDivergence>(op, direction == "reverse", input, linear_weight, target,
                                          linear_bias, target_weight, target_bias, kind, mask,
                                          softcap, temperature, reduction, dtype);
}

Tensor linear_js_div(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                     optional_tensor linear_bias, optional_tensor target_weight,
                     optional_tensor target_bias, string_view kind, double weight,
                     optional_tensor mask, optional<double> softcap, double temperature,
                     int64_t reduction, optional<ScalarType> dtype) {
  const char* op = "linear_js_div";
  check_weight(op, weight);
  return teacher_divergence<JsDivergence>(op, true, input, linear_weight, target, linear_bias,
                                          target_weight, target_bias, kind, mask, softcap,
                                          temperature, reduction, dtype, weight);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  define(
      m,
      "linear_entropy(Tensor input, Tensor linear_weight, *, Tensor? linear_bias=None, Tensor? "
      "mask=None, float? softcap=None, float temperature=1.0, float? base=None, int reduction=1, "
      "ScalarType? dtype=None) -> Tensor");
  define(m,
         c10::str("linear_log_probs(Tensor input, Tensor linear_weight, Tensor index, *, Tensor? "
                  "linear_bias=None, float? softcap=None, float temperature=1.0, int "
                  "ignore_index=",
                  kIgnoreIndex,
                  ", ScalarType? dtype=None) -> (Tensor log_prob, Tensor entropy, Tensor "
                  "logsumexp)"));
  for (const auto& [name, own] : {std::pair("linear_kl_div", "str direction=\"forward\""),
                                  std::pair("linear_js_div", "float weight=0.5")})
    define(m,
           c10::str(name,
                    "(Tensor input, Tensor linear_weight, Tensor target, *, Tensor? "
                    "linear_bias=None, Tensor? target_weight=None, Tensor? target_bias=None, str "
                    "kind=\"logits\", ",
                    own,
                    ", Tensor? mask=None, float? softcap=None, float temperature=1.0, int "
                    "reduction=1, ScalarType? dtype=None) -> Tensor"));
}
void register_linear(torch::Library& m) {
  m.impl("linear_entropy", &linear_entropy);
  m.impl("linear_log_probs", &linear_log_probs);
  m.impl("linear_kl_div", &linear_kl_div);
  m.impl("linear_js_div", &linear_js_div);
}
TI_COMPOSITES(register_linear)

}  // namespace
}  // namespace torch_infotheory
