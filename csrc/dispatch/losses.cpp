// losses.cpp -- the losses: torch's cross_entropy, nll_loss and kl_div, entropy_loss and js_div.
//
// The first three have torch's argument rules and its order of exceptions. Weights, smoothing and
// reduction are options of the row ops.
#include <torch/library.h>

#include "dispatch/masks.h"
#include "dispatch/measures.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

template <class F>
Tensor loss(const Operands& x, const Options& o, optional<ScalarType> dtype) {
  return std::get<0>(call_forward<F>(x, o, dtype));
}

void check_floating_loss(const char* op, const Tensor& input) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      is_computed_with(input.scalar_type()), op,
      ": expected floating point input (float64, float32, bfloat16 or float16), got ",
      input.scalar_type());
}

bool is_label_type(ScalarType t) {
  return t == at::kLong || t == at::kInt || t == at::kShort || t == at::kChar || t == at::kByte;
}

void check_class_weight(const char* op, const optional<Tensor>& weight, const Tensor& input,
                        int64_t dim) {
  if (!weight) return;
  TORCH_CHECK(weight->dim() == 1 && weight->sym_numel() == input.sym_size(dim), op,
              ": expected one weight for each class, got weight ", weight->sym_sizes(),
              " and input ", input.sym_sizes());
  TORCH_CHECK(weight->device() == input.device(), op, ": expected one device, got weight on ",
              weight->device(), " and input on ", input.device());
}

int64_t class_dim(const Tensor& input) { return input.dim() == 1 ? 0 : 1; }

// Class indices, with the rules and error messages of torch.nn.functional.nll_loss.
template <class F>
Tensor label_loss(const char* op, const Tensor& input, const Tensor& target,
                  const optional<Tensor>& weight, int64_t reduction, int64_t ignore_index,
                  double label_smoothing, Kind kind, double temperature,
                  optional<ScalarType> dtype) {
  TORCH_CHECK_VALUE(input.dim() > 0, op, ": expected input of 1 or more dimensions, got ",
                    input.dim());
  if (input.dim() == 1 && target.dim() == 1 &&
      target.sym_size(0) == 1)  // torch accepts this as a single label
    return label_loss<F>(op, input, target.squeeze(0), weight, reduction, ignore_index,
                         label_smoothing, kind, temperature, dtype);
  check_floating_loss(op, input);
  TORCH_CHECK_VALUE(input.dim() == 1 ? target.dim() == 0
                                     : target.dim() > 0 && input.sym_size(0) == target.sym_size(0),
                    op, ": expected input and target of one batch size, got input ",
                    input.sym_sizes(), " and target ", target.sym_sizes());
  TORCH_CHECK(is_label_type(target.scalar_type()), op,
              ": expected class indices of an integer dtype, got target of ", target.scalar_type(),
              " ", target.sym_sizes(), " for input ", input.sym_sizes());
  TORCH_CHECK(target.dim() == input.dim() - 1, op, ": expected target of ", input.dim() - 1,
              " dimensions, got input ", input.sym_sizes(), " and target ", target.sym_sizes());
  for (int64_t d = 1; d < target.dim(); ++d)
    TORCH_CHECK(target.sym_size(d) == input.sym_size(d + 1), op,
                ": expected target of the size of input without its class",
                " dimension, got input ", input.sym_sizes(), " and target ", target.sym_sizes());
  const bool half = input.scalar_type() == at::kHalf || input.scalar_type() == at::kBFloat16;
  TORCH_CHECK(!weight || weight->scalar_type() == input.scalar_type() ||
                  (half && weight->scalar_type() == at::kFloat),
              op, ": expected weight of dtype ", input.scalar_type(), ", got ",
              weight->scalar_type());
  check_class_weight(op, weight, input, class_dim(input));
  const Options o{.dim = class_dim(input),
                  .p_kind = kLabels,
                  .q_kind = kind,
                  .reduction = reduction,
                  .ignore_index = ignore_index,
                  .label_smoothing = label_smoothing,
                  .temperature = temperature};
  return loss<F>({target, input, weight}, o, dtype);
}

Tensor cross_entropy_loss(const Tensor& input, const Tensor& target, const optional<Tensor>& weight,
                          int64_t reduction, int64_t ignore_index, double label_smoothing,
                          optional<ScalarType> dtype, double temperature) {
  const char* op = "cross_entropy_loss";
  check_reduction(op, reduction);
  check_dense(op, input, target, weight);
  check_temperature(op, temperature);
  TORCH_CHECK(!(label_smoothing > 1), op,
              ": label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  const double smoothing =
      label_smoothing > 0 ? label_smoothing : 0;  // as in torch, anything else means none
  if (!input.sym_sizes().equals(target.sym_sizes()))
    return label_loss<CrossEntropy>(op, input, target, weight, reduction, ignore_index, smoothing,
                                    kLogits, temperature, dtype);
  TORCH_CHECK(is_computed_with(target.scalar_type()), op,
              ": expected class probabilities of a floating point dtype, got ",
              target.scalar_type(), " (a target of the shape of input states probabilities)");
  TORCH_CHECK(ignore_index < 0, op, ": ignore_index ", ignore_index,
              " has no meaning for class probabilities");
  check_floating_loss(op, input);
  const int64_t dim = at::maybe_wrap_dim(class_dim(input), input.dim());
  check_class_weight(op, weight, input, dim);
  const Options o{.dim = dim,
                  .p_kind = kWeights,
                  .q_kind = kLogits,
                  .reduction = reduction,
                  .label_smoothing = smoothing,
                  .temperature = temperature};
  if (weight) {
    const ScalarType both = c10::promoteTypes(input.scalar_type(), target.scalar_type());
    dtype = result_type(input.device(), c10::promoteTypes(weight->scalar_type(), both), dtype);
  }
  return loss<CrossEntropy>({target, input, weight}, o, dtype);
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const optional<Tensor>& weight,
                int64_t reduction, int64_t ignore_index, optional<ScalarType> dtype) {
  check_reduction("nll_loss", reduction);
  check_dense("nll_loss", input, target, weight);
  return label_loss<CrossEntropy>("nll_loss", input, target, weight, reduction, ignore_index, 0,
                                  kLogProbs, /*temperature=*/1, dtype);
}

// D(target || input), element by element. The mean is over elements, the batch mean over the first
// dimension.
constexpr int64_t kBatchMean = 3;
Tensor kl_div(const Tensor& input, const Tensor& target, int64_t reduction, bool log_target,
              optional<ScalarType> dtype) {
  const char* op = "kl_div";
  if (reduction != kBatchMean) check_reduction(op, reduction);
  check_dense(op, input, target);
  TORCH_CHECK(is_computed_with(input.scalar_type()) && is_computed_with(target.scalar_type()), op,
              ": expected floating point tensors, got input ", input.scalar_type(), " and target ",
              target.scalar_type());
  const auto [q, p] = broadcast(op, input, target, {}, dtype);
  Options o{.p_kind = log_target ? kLogProbs : kProbs, .q_kind = kLogProbs, .reduction = kTerms};
  const Operands x{p, q, {}};
  if (reduction == kNone) return loss<KlDivergence>(x, o, dtype);
  const c10::SymInt one = 1, divisor = reduction == kMean                       ? p.sym_numel()
                                       : reduction == kBatchMean && input.dim() ? input.sym_size(0)
                                                                                : one;
  o.reduction = kSumOfTerms;
  if (const auto known = divisor.maybe_as_int()) {
    o.scale = 1. / double(*known);
    return loss<KlDivergence>(x, o, dtype);
  }
  const ScalarType promoted = c10::promoteTypes(p.scalar_type(), q.scalar_type()),
                   type = result_type(p.device(), promoted, dtype),
                   exact = type == at::kDouble ? at::kDouble : at::kFloat;
  return (loss<KlDivergence>(x, o, exact) / at::Scalar(divisor)).to(type);
}

Tensor entropy_loss(const Tensor& input, at::IntArrayRef dim, string_view kind,
                    optional<double> base, int64_t reduction, optional<ScalarType> dtype,
                    double temperature, const optional<Tensor>& mask) {
  const char* op = "entropy_loss";
  check_reduction(op, reduction);
  check_distribution(op, "input", input, kind);
  check_temperature(op, temperature, kind, kind);
  const RowMask rows(op, mask, input, wrapped_dims(op, "dim", dim, "input", input));
  const Tensor x = rows.clean(input);
  const Options o{.reduction = rows.reduction(reduction),
                  .scale = unit_of(op, base),
                  .temperature = temperature};
  return rows.reduce(
      [&](optional<ScalarType> type) {
        return unary_value<Entropy>(op, x, dim, kind, o, /*keepdim=*/false, type);
      },
      reduction, dtype, stated_type(input));
}

Tensor js_div(const Tensor& input, const Tensor& target, at::IntArrayRef dim, string_view kind,
              optional<string_view> target_kind, optional<double> base, int64_t reduction,
              optional<ScalarType> dtype, double weight, double temperature,
              const optional<Tensor>& mask) {
  const char* op = "js_div";
  check_reduction(op, reduction);
  check_weight(op, weight);
  const string_view q_kind = target_kind.value_or(kind);
  check_distribution(op, "input", input, kind);
  check_distribution(op, "target", target, q_kind);
  check_temperature(op, temperature, kind, q_kind);
  const Tensor& longer = input.dim() >= target.dim() ? input : target;
  const RowMask rows(op, mask, longer, wrapped_dims(op, dim, "input", input, "target", target));
  const Tensor p = rows.clean(input), q = rows.clean(target);
  const Options o{.reduction = rows.reduction(reduction),
                  .scale = unit_of(op, base),
                  .parameter = weight,
                  .temperature = temperature};
  return rows.reduce(
      [&](optional<ScalarType> type) {
        return pair_value<JsDivergence>(op, {p, q, dim, kind, q_kind}, o, /*keepdim=*/false, type);
      },
      reduction, dtype, stated_type(input, target));
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  const std::string labels = c10::str(
      "(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=",
      kIgnoreIndex, ", ");
  define(m, "cross_entropy_loss" + labels +
                "float label_smoothing=0.0, *, ScalarType? dtype=None, float temperature=1.0) -> "
                "Tensor");
  define(m, "nll_loss" + labels + "*, ScalarType? dtype=None) -> Tensor");
  define(
      m,
      "kl_div(Tensor input, Tensor target, int reduction=1, *, bool log_target=False, ScalarType? "
      "dtype=None) -> Tensor");
  define(m,
         "entropy_loss(Tensor input, int[1] dim=-1, *, str kind=\"logits\", float? base=None, int "
         "reduction=1, "
         "ScalarType? dtype=None, float temperature=1.0, Tensor? mask=None) -> Tensor");
  define(m,
         "js_div(Tensor input, Tensor target, int[1] dim=-1, *, str kind=\"logits\", str? "
         "target_kind=None, float? base=None, "
         "int reduction=1, ScalarType? dtype=None, float weight=0.5, float temperature=1.0, "
         "Tensor? mask=None) -> Tensor");
}
void register_losses(torch::Library& m) {
  m.impl("cross_entropy_loss", &cross_entropy_loss);
  m.impl("nll_loss", &nll_loss);
  m.impl("kl_div", &kl_div);
  m.impl("entropy_loss", &entropy_loss);
  m.impl("js_div", &js_div);
}
TI_COMPOSITES(register_losses)

}  // namespace
}  // namespace torch_infotheory
