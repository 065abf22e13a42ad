// elementwise.cpp -- the measures that are a map and not a sum: self-information, perplexity, pointwise mutual information.
//
// Composites of ATen ops: they write as much as they read, so that there is no row to reduce in one pass. Knows tensors.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/reference.h"

namespace torch_infotheory {
namespace {

constexpr const char* kSelfInformation = "self_information";
constexpr const char* kPmi = "pointwise_mutual_information";

// The result's dtype; under autocast at least float32.
ScalarType result_type(const Tensor& x, optional<ScalarType> dtype) {
  if (dtype) return *dtype;
  const bool autocast = at::autocast::is_autocast_enabled(x.device().type()) && x.scalar_type() != at::kDouble;
  return autocast ? at::kFloat : x.scalar_type();
}

Tensor self_information(const Tensor& p, at::IntArrayRef dim, string_view kind_name, optional<double> base,
                        optional<ScalarType> dtype) {
  check_distribution(kSelfInformation, "p", p);
  const auto dims = wrapped_dims(kSelfInformation, "dim", dim, p.dim());
  const Kind kind = kind_of(kSelfInformation, kind_name);
  const double unit = unit_of(kSelfInformation, base);
  const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
  Tensor log_p;
  if (kind == kLogits && dims.size() > 1) {
    const Tensor x = widened(p);
    log_p = x - x.logsumexp(dims, /*keepdim=*/true);
  } else {
    log_p = probability(p, kind, dims).log.t;
  }
  return (log_p * -unit).to(result_type(p, dtype));
}

Tensor perplexity(const Tensor& p, at::IntArrayRef dim, string_view kind, bool keepdim, optional<ScalarType> dtype) {
  static const auto entropy = find_op<Tensor(const Tensor&, at::IntArrayRef, string_view, optional<double>, bool, optional<ScalarType>)>("entropy");
  check_distribution("perplexity", "p", p);
  const ScalarType exact = p.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return entropy.call(p, dim, kind, std::nullopt, keepdim, exact).exp().to(result_type(p, dtype));
}

// log p(x,y) / (p(x) p(y)); -inf where p(x,y) = 0, and there -1 when normalised, as 1 where p(x,y) = 1: the limits.
Tensor pointwise_mutual_information(const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim, string_view kind_name,
                                    optional<double> base, bool normalized, optional<ScalarType> dtype) {
  check_distribution(kPmi, "joint", joint);
  const TableDims dims(kPmi, joint, x_dim, y_dim);
  const Kind kind = kind_of(kPmi, kind_name);
  const double unit = unit_of(kPmi, base);
  const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
  const Tensor memory = widened(joint);
  const Prob<Lane> cell = kind == kLogits ? probability(memory - memory.logsumexp(dims.both, true), kLogProbs, dims.both)
                                          : probability(memory, kind, dims.both);
  const Lane lx = log(Lane(cell.p.t.sum(dims.y, true))), ly = log(Lane(cell.p.t.sum(dims.x, true)));
  const Tensor impossible = cell.p.t == 0;
  const Tensor log_p = at::where(impossible, -1., cell.log.t);  // any finite number: the limit replaces it
  const Tensor marginals = at::where(impossible, 0., (lx + ly).t);
  const Tensor pmi = log_p - marginals;
  Tensor value;
  if (normalized) {
    const Tensor certain = log_p == 0;
    const Tensor ratio = pmi / at::where(certain, -1., log_p).neg();
    value = at::where(impossible, -1., at::where(certain, 1., ratio));
  } else {
    value = at::where(impossible, -INFINITY, pmi * unit);
  }
  return value.to(result_type(joint, dtype));
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("self_information(Tensor p, int[1] dim=-1, *, str kind=\"probs\", float? base=None, ScalarType? dtype=None) -> Tensor", tags);
  m.def("perplexity(Tensor p, int[1] dim=-1, *, str kind=\"probs\", bool keepdim=False, ScalarType? dtype=None) -> Tensor", tags);
  m.def(
      "pointwise_mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind=\"probs\", float? base=None, "
      "bool normalized=False, ScalarType? dtype=None) -> Tensor",
      tags);
}
void register_elementwise(torch::Library& m) {
  m.impl("self_information", &self_information);
  m.impl("perplexity", &perplexity);
  m.impl("pointwise_mutual_information", &pointwise_mutual_information);
}
TI_COMPOSITES(register_elementwise)

}  // namespace
}  // namespace torch_infotheory
