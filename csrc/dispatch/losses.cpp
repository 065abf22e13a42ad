// losses.cpp -- the losses: torch's cross_entropy, nll_loss and kl_div under torch's rules, and two of our own.
//
// Composites over the row ops: weights, smoothing and reduction all travel into the kernel. Knows torch's argument rules and
// the order of its exceptions; must not know how a row is reduced.
#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/reference.h"

namespace torch_infotheory {
namespace {

// A tensor subclass (DTensor) reduces its own shards; a mean inside the op would have to gather them.
template <class F>
Tensor reduced(const Operands& x, Options o, optional<ScalarType> dtype) {
  const bool subclass = x.full(o).key_set().has(c10::DispatchKey::Python);
  if (!subclass || o.reduction == kNone || o.reduction == kPointwise) return std::get<0>(call_forward<F>(x, o, dtype));
  const int64_t reduction = std::exchange(o.reduction, int64_t(kNone));
  const Tensor rows = std::get<0>(call_forward<F>(x, o, dtype));
  if (reduction == kSum) return rows.sum();
  if (!o.has_labels()) return rows.mean();
  return rows.sum() / label_weights(x.p, x.weight, o.ignore_index, rows.scalar_type()).sum();
}

int64_t class_dim(const Tensor& input) { return input.dim() == 1 ? 0 : 1; }

// Class indices, by the rules and in the words of torch.nn.functional.nll_loss.
template <class F>
Tensor loss_of_labels(const char* op, const Tensor& input, const Tensor& target, const optional<Tensor>& weight,
                      int64_t reduction, int64_t ignore_index, double label_smoothing, Kind kind, optional<ScalarType> dtype) {
  TORCH_CHECK_VALUE(input.dim() > 0, op, ": expected input of 1 or more dimensions, got ", input.dim());
  TORCH_CHECK_VALUE(input.dim() == 1 || (target.dim() > 0 && input.sym_size(0) == target.sym_size(0)), op,
                    ": expected input and target of one batch size, got input ", input.sym_sizes(), " and target ",
                    target.sym_sizes());
  TORCH_CHECK(at::isIntegralType(target.scalar_type(), /*includeBool=*/false), op,
              ": expected class indices of an integer dtype, got target of ", target.scalar_type(), " ", target.sym_sizes(),
              " for input ", input.sym_sizes());
  TORCH_CHECK(at::isFloatingType(input.scalar_type()), op, ": expected floating point input, got ", input.scalar_type());
  TORCH_CHECK(target.dim() == input.dim() - 1, op, ": expected target of ", input.dim() - 1, " dimensions, got input ",
              input.sym_sizes(), " and target ", target.sym_sizes());
  for (int64_t d = 1; d < target.dim(); ++d)
    TORCH_CHECK(target.sym_size(d) == input.sym_size(d + 1), op, ": expected target of the size of input without its class",
                " dimension, got input ", input.sym_sizes(), " and target ", target.sym_sizes());
  const bool same_dtype = !weight || weight->scalar_type() == input.scalar_type() || weight->scalar_type() == at::kFloat;
  TORCH_CHECK(same_dtype, op, ": expected weight of dtype ", input.scalar_type(), ", got ", weight->scalar_type());
  const Options o{class_dim(input), kinds_of(kLabels, kind), reduction, ignore_index, label_smoothing, 1};
  return reduced<F>({target, input, weight}, o, dtype);
}

Tensor cross_entropy_loss(const Tensor& input, const Tensor& target, const optional<Tensor>& weight, int64_t reduction,
                          int64_t ignore_index, double label_smoothing, optional<ScalarType> dtype) {
  const char* op = "cross_entropy_loss";
  check_reduction(op, reduction);
  TORCH_CHECK(label_smoothing <= 1, op, ": expected label_smoothing between 0 and 1, got ", label_smoothing);
  const double smoothing = std::max(label_smoothing, 0.);  // torch, too, takes a negative one for none
  if (!input.sym_sizes().equals(target.sym_sizes()))
    return loss_of_labels<CrossEntropy>(op, input, target, weight, reduction, ignore_index, smoothing, kLogits, dtype);
  TORCH_CHECK(at::isFloatingType(target.scalar_type()), op, ": expected class probabilities of a floating point dtype, got ",
              target.scalar_type(), " (a target of the shape of input states probabilities)");
  TORCH_CHECK(ignore_index < 0, op, ": ignore_index ", ignore_index, " has no meaning for class probabilities");
  const int64_t dim = at::maybe_wrap_dim(class_dim(input), input.dim());
  const Options o{dim, kinds_of(kWeights, kLogits), reduction, -100, smoothing, 1};
  return reduced<CrossEntropy>({target, input, weight}, o, dtype);
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const optional<Tensor>& weight, int64_t reduction,
                int64_t ignore_index, optional<ScalarType> dtype) {
  check_reduction("nll_loss", reduction);
  return loss_of_labels<CrossEntropy>("nll_loss", input, target, weight, reduction, ignore_index, 0, kLogProbs, dtype);
}

// D(target || input), element by element; the mean is over elements.
Tensor kl_div(const Tensor& input, const Tensor& target, int64_t reduction, bool log_target, optional<ScalarType> dtype) {
  const char* op = "kl_div";
  check_reduction(op, reduction);
  TORCH_CHECK(at::isFloatingType(input.scalar_type()) && at::isFloatingType(target.scalar_type()), op,
              ": expected floating point tensors, got input ", input.scalar_type(), " and target ", target.scalar_type());
  const auto [q, p] = broadcast(op, input, target, {});
  Options o{-1, kinds_of(log_target ? kLogProbs : kProbs, kLogProbs), kPointwise, -100, 0, 1};
  const Operands x{p, q, {}};
  if (reduction == kNone) return reduced<KlDivergence>(x, o, dtype);
  if (p.sym_numel() == 0) {
    const Tensor terms = reduced<KlDivergence>(x, o, dtype);
    return reduction == kMean ? terms.mean() : terms.sum();
  }
  o.reduction = reduction;
  const c10::SymInt classes = p.dim() ? p.sym_size(-1) : c10::SymInt(1);
  if (reduction == kMean && classes.maybe_as_int()) o.scale = 1. / double(*classes.maybe_as_int());
  else o.reduction = kSum;
  const Tensor value = reduced<KlDivergence>(x, o, dtype);
  return reduction == o.reduction ? value : value / at::Scalar(p.sym_numel());
}

Tensor entropy_loss(const Tensor& input, at::IntArrayRef dim, string_view kind, optional<double> base, int64_t reduction,
                    optional<ScalarType> dtype) {
  const char* op = "entropy_loss";
  check_reduction(op, reduction);
  check_distribution(op, "input", input);
  const auto dims = wrapped_dims(op, "dim", dim, input.dim());
  Options o{dims[0], kind_of(op, kind), reduction, -100, 0, unit_of(op, base)};
  if (dims.size() == 1) return reduced<Entropy>({input, {}, {}}, o, dtype);
  o.dim = -1;
  return reduced<Entropy>({merged(input, dims), {}, {}}, o, dtype);
}

Tensor js_div(const Tensor& input, const Tensor& target, at::IntArrayRef dim, string_view kind,
              optional<string_view> target_kind, optional<double> base, int64_t reduction, optional<ScalarType> dtype) {
  const char* op = "js_div";
  check_reduction(op, reduction);
  check_distribution(op, "input", input);
  check_distribution(op, "target", target);
  const auto dims = wrapped_dims(op, "dim", dim, std::max(input.dim(), target.dim()));
  auto [p, q] = broadcast(op, input, target, dims);
  Options o{dims[0], kinds_of(kind_of(op, kind), kind_of(op, target_kind.value_or(kind))), reduction, -100, 0, unit_of(op, base)};
  if (dims.size() > 1) p = merged(p, dims), q = merged(q, dims), o.dim = -1;
  return reduced<JsDivergence>({p, q, {}}, o, dtype);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def(
      "cross_entropy_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, "
      "float label_smoothing=0.0, *, ScalarType? dtype=None) -> Tensor",
      tags);
  m.def(
      "nll_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, *, "
      "ScalarType? dtype=None) -> Tensor",
      tags);
  m.def("kl_div(Tensor input, Tensor target, int reduction=1, *, bool log_target=False, ScalarType? dtype=None) -> Tensor", tags);
  m.def(
      "entropy_loss(Tensor input, int[1] dim=-1, *, str kind=\"logits\", float? base=None, int reduction=1, "
      "ScalarType? dtype=None) -> Tensor",
      tags);
  m.def(
      "js_div(Tensor input, Tensor target, int[1] dim=-1, *, str kind=\"logits\", str? target_kind=None, float? base=None, "
      "int reduction=1, ScalarType? dtype=None) -> Tensor",
      tags);
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
