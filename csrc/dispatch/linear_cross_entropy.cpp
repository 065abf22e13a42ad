// linear_cross_entropy.cpp -- the public loss linear_cross_entropy, which calls `_linear_loss`.
//
// It has the argument rules and the error messages of torch.nn.functional.linear_cross_entropy.
#include <torch/library.h>

#include <string>

#include "dispatch/linear_losses.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

// Sizes formatted as in torch's Python code.
std::string as_tuple(c10::SymIntArrayRef sizes) {
  std::string text = "(";
  for (const auto& n : sizes) text += (text.size() > 1 ? ", " : "") + c10::str(n);
  return text + (sizes.size() == 1 ? ",)" : ")");
}

void check_floating(const char* op, const char* argument, const Tensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(at::isFloatingType(t.scalar_type()), op, ": expected floating point ",
                              argument, ", got ", t.scalar_type());
}

// Checks labels for logits of this shape by the rules of cross_entropy_loss.
void check_labels(const char* op, const Tensor& target, c10::SymIntArrayRef logits, bool batched) {
  TORCH_CHECK_VALUE(
      batched ? target.dim() > 0 && target.sym_size(0) == logits[0] : target.dim() == 0, op,
      ": expected input and target of one batch size, got logits ", logits, " and target ",
      target.sym_sizes());
  TORCH_CHECK(at::isIntegralType(target.scalar_type(), /*includeBool=*/false), op,
              ": expected class indices of an integer dtype, got target of ", target.scalar_type(),
              " ", target.sym_sizes(), " for logits ", logits);
  c10::SymDimVector expected(logits);
  expected.erase(expected.begin() + batched);
  TORCH_CHECK(target.sym_sizes().equals(expected), op, ": expected target of shape ", expected,
              ", got ", target.sym_sizes());
}

Tensor linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                            optional_tensor linear_bias, optional_tensor weight, int64_t reduction,
                            optional<int64_t> ignore_index, double label_smoothing,
                            optional<int64_t> chunk, optional<double> softcap, double temperature,
                            optional<ScalarType> dtype) {
  const char* op = "linear_cross_entropy";
  TORCH_CHECK(input.dim() == 1 || input.dim() == 2, op,
              ": expected input with dimensionality 1 or 2, got ", input.dim());
  TORCH_CHECK(linear_weight.dim() >= 2, op,
              ": expected linear_weight with dimensionality at least 2, got ", linear_weight.dim());
  TORCH_CHECK(input.sym_size(-1) == linear_weight.sym_size(-1), op,
              ": expected equal input and linear_weight last dimensions (in_features), got ",
              input.sym_size(-1), " and ", linear_weight.sym_size(-1), ", respectively");
  const bool batched = input.dim() == 2, several = linear_weight.dim() > 2;
  const c10::SymDimVector linear(linear_weight.sym_sizes().slice(0, linear_weight.dim() - 1));
  TORCH_CHECK(!linear_bias || linear_bias->sym_sizes().equals(linear), op,
              ": expected linear_bias shape ", as_tuple(linear), ", got ",
              as_tuple(linear_bias->sym_sizes()));
  TORCH_CHECK(batched || !several, op, ": K-dimensional loss defined by linear_weight shape ",
              as_tuple(linear_weight.sym_sizes()), " requires batched input, (N, ",
              input.sym_size(0), "), got unbatched input with shape ", as_tuple(input.sym_sizes()));
  check_floating(op, "input", input);
  TORCH_CHECK(!(label_smoothing > 1), op,
              ": label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  c10::SymDimVector logits(linear);
  if (batched) logits.insert(logits.begin(), input.sym_size(0));
  LinearOptions o = make_options(op, reduction, softcap, temperature);
  o.label_smoothing = label_smoothing > 0 ? label_smoothing : 0;
  o.chunk = chunk.value_or(0);
  ScalarType type = input.scalar_type();
  if (target.sym_sizes().equals(logits)) {
    TORCH_CHECK(!ignore_index, op,
                ": ignore_index cannot be specified when target contains probabilities");
    TORCH_CHECK(at::isFloatingType(target.scalar_type()), op,
                ": expected class probabilities of a floating point dtype, got ",
                target.scalar_type(),
                " (a target of the shape of the logits states probabilities)");
    o.target_kind = kWeights;
    type = c10::promoteTypes(type, target.scalar_type());
    if (weight) type = c10::promoteTypes(type, weight->scalar_type());
  } else {
    check_labels(op, target, logits, batched);
    o.target_kind = kLabels;
    o.ignore_index = ignore_index.value_or(kIgnoreIndex);
  }
  TORCH_CHECK(!weight || (weight->dim() == 1 && weight->sym_size(0) == linear[0]), op,
              ": expected one weight for each class, got weight ", weight->sym_sizes(), " and ",
              linear[0], " classes");
  // N rows, with the dimensions after the classes flattened.
  const auto rows = [&](const Tensor& t, int64_t first) {
    const Tensor all = batched ? t : t.unsqueeze(0);
    return all.dim() > first + 1 ? all.flatten(first) : all;
  };
  LinearTensors x;
  x[kStates] = batched ? input : input.unsqueeze(0);
  x[kWeight] = linear_weight.dim() > 3 ? linear_weight.flatten(1, -2) : linear_weight;
  if (linear_bias) x[kBias] = linear_bias->dim() > 2 ? linear_bias->flatten(1) : *linear_bias;
  x[kTarget] = rows(target, o.has_labels() ? 1 : 2);
  x[kClassWeight] = or_undefined(weight);
  const Tensor value =
      call_linear<CrossEntropy>(op, x, o, result_type(input.device(), type, dtype));
  if (reduction != kNone) return value;
  if (!batched) return value.squeeze(0);
  logits.erase(logits.begin() + 1);
  return several ? value.view_symint(logits) : value;
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  define(m,
         "linear_cross_entropy(Tensor input, Tensor linear_weight, Tensor target, *, Tensor? "
         "linear_bias=None, Tensor? weight=None, int reduction=1, int? ignore_index=None, float "
         "label_smoothing=0.0, int? chunk=None, float? softcap=None, float temperature=1.0, "
         "ScalarType? dtype=None) -> Tensor");
}
void register_linear_cross_entropy(torch::Library& m) {
  m.impl("linear_cross_entropy", &linear_cross_entropy);
}
TI_COMPOSITES(register_linear_cross_entropy)

}  // namespace
}  // namespace torch_infotheory
