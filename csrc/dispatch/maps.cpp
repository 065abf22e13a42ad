// maps.cpp -- self-information, binary entropy and pointwise mutual information.
#include "dispatch/maps.h"

#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/dims.h"
#include "dispatch/distributions.h"
#include "dispatch/row_inputs.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

// The inverse of moving the dimensions `from` to the end and flattening groups of them.
Tensor unmerged(const Tensor& value, const Tensor& like, const std::vector<int64_t>& from) {
  c10::SymDimVector shape;
  std::vector<int64_t> end;
  const int64_t rank = like.dim(), n = int64_t(from.size());
  for (int64_t d = 0; d < rank; ++d)
    if (std::find(from.begin(), from.end(), d) == from.end()) shape.push_back(like.sym_size(d));
  for (int64_t i = 0; i < n; ++i) {
    shape.push_back(like.sym_size(from[i]));
    end.push_back(rank - n + i);
  }
  return value.reshape_symint(shape).movedim(end, from).contiguous();
}

Tensor self_information(const Tensor& p, at::IntArrayRef dim, string_view kind_name,
                        optional<double> base, optional<ScalarType> dtype) {
  using F = SelfInformation;
  check_distribution(F::name, "p", p, kind_name);
  const auto dims = wrapped_dims(F::name, "dim", dim, "p", p);
  check_classes(F::name, p, dims);
  const RowInput x = row_input(p, kind_name, dims, dtype);
  Options o{.dim = dims[0],
            .p_kind = kind_of(F::name, x.kind),
            .reduction = kTerms,
            .scale = unit_of(F::name, base)};
  if (dims.size() == 1) return std::get<0>(call_forward<F>({x.t, {}, {}}, o, dtype));
  o.dim = -1;
  return unmerged(std::get<0>(call_forward<F>({merged(x.t, dims), {}, {}}, o, dtype)), p, dims);
}

Tensor binary_entropy(const Tensor& p, string_view kind, optional<double> base,
                      optional<ScalarType> dtype) {
  const char* op = "binary_entropy";
  check_distribution(op, "p", p);
  check_dtype(op, dtype);
  TORCH_CHECK_VALUE(kind == "probs" || kind == "logits", op,
                    ": expected kind to be 'probs' or 'logits', got '", kind, "'");
  const double unit = unit_of(op, base);
  const Tensor given = widened(p);
  const Tensor sure = kind == "logits" ? given.isinf() : (given == 0).logical_or(given == 1);
  Tensor x = at::where(sure, 0.5, given), value;
  if (kind == "probs") {
    value = -x * x.log() - (1 - x) * at::log1p(-x);
  } else {
    // The function is even. Use the negative side, which is accurate and smooth at 0.
    x = at::where(x < 0, x, -x);
    value = at::log1p(x.exp()) - x * x.sigmoid();
  }
  return (at::where(sure, 0., value) * unit).to(result_type(p.device(), p.scalar_type(), dtype));
}

template <class F>
Tensor pmi(const Tensor& joint, const TableDims& dims, const Options& o,
           optional<ScalarType> dtype) {
  const Tensor table = as_table(joint, dims),
               value = std::get<0>(call_forward<F>({table, {}, {}}, o, dtype));
  return table.is_same(joint) ? value : unmerged(value, joint, dims.x_then_y());
}
Tensor pmi(const char* op, const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim,
           string_view kind_name, optional<double> base, bool normalized,
           optional<ScalarType> dtype) {
  check_distribution(op, "joint", joint, kind_name);
  const TableDims dims(op, joint, x_dim, y_dim);
  check_classes(op, joint, dims.both);
  const RowInput x = row_input(joint, kind_name, dims.both, dtype);
  const Options o{.p_kind = kind_of(op, x.kind), .reduction = kTerms, .scale = unit_of(op, base)};
  return normalized ? pmi<NormalizedPmi>(x.t, dims, o, dtype)
                    : pmi<PointwiseMutualInformation>(x.t, dims, o, dtype);
}
Tensor pointwise_mutual_information(const Tensor& joint, at::IntArrayRef x_dim,
                                    at::IntArrayRef y_dim, string_view kind, optional<double> base,
                                    bool normalized, optional<ScalarType> dtype) {
  return pmi(PointwiseMutualInformation::name, joint, x_dim, y_dim, kind, base, normalized, dtype);
}
Tensor positive_pointwise_mutual_information(const Tensor& joint, at::IntArrayRef x_dim,
                                             at::IntArrayRef y_dim, string_view kind,
                                             optional<double> base, optional<ScalarType> dtype) {
  return at_least(pmi("positive_pointwise_mutual_information", joint, x_dim, y_dim, kind, base,
                      /*normalized=*/false, dtype),
                  0);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  define(m,
         "self_information(Tensor p, int[1] dim=-1, *, str kind=\"probs\", float? base=None, "
         "ScalarType? dtype=None) -> Tensor");
  define(m,
         "pointwise_mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str "
         "kind=\"probs\", float? base=None, "
         "bool normalized=False, ScalarType? dtype=None) -> Tensor");
  define(m,
         "positive_pointwise_mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, "
         "str kind=\"probs\", float? base=None, ScalarType? dtype=None) -> Tensor");
  define(
      m,
      "binary_entropy(Tensor p, *, str kind=\"probs\", float? base=None, ScalarType? dtype=None) "
      "-> Tensor");
}
void register_maps(torch::Library& m) {
  m.impl("self_information", &self_information);
  m.impl("binary_entropy", &binary_entropy);
  m.impl("pointwise_mutual_information", &pointwise_mutual_information);
  m.impl("positive_pointwise_mutual_information", &positive_pointwise_mutual_information);
}
TI_COMPOSITES(register_maps)

}  // namespace
}  // namespace torch_infotheory
