// multivariate.cpp -- measures of more than two variables, and variants of mutual information.
//
// They are computed as sums of mutual informations, not as differences of entropies, because the
// former are never negative and stay accurate for nearly independent variables.
#include "dispatch/multivariate.h"

#include <numeric>

namespace torch_infotheory {
namespace {

// `lengths` has the number of dimensions of each variable; by default each has one.
std::vector<Variable> variables_of(const char* op, at::IntArrayRef dims,
                                   at::OptionalIntArrayRef lengths) {
  const Indices each = lengths ? lengths->vec() : Indices(dims.size(), 1);
  const bool any_negative = std::any_of(each.begin(), each.end(), [](int64_t n) { return n < 0; });
  TORCH_CHECK_VALUE(!any_negative && std::accumulate(each.begin(), each.end(), int64_t(0)) ==
                                         int64_t(dims.size()),
                    op, ": expected lengths to say how many of dims each variable has, got dims ",
                    dims, " and lengths ", each);
  std::vector<Variable> variables;
  for (const int64_t n : each) {
    variables.push_back({"dims", dims.slice(0, n)});
    dims = dims.slice(n);
  }
  return variables;
}

Indices numbers(int64_t begin, int64_t end) {
  Indices all;
  for (int64_t i = begin; i < end; ++i) all.push_back(i);
  return all;
}

// ---- more than two variables ----
Tensor conditional_mutual_information(const Tensor& joint, at::IntArrayRef x_dim,
                                      at::IntArrayRef y_dim, at::IntArrayRef z_dim,
                                      string_view kind, optional<double> base, bool keepdim,
                                      optional<ScalarType> dtype) {
  const JointTable t("conditional_mutual_information", joint,
                     {{"x_dim", x_dim}, {"y_dim", y_dim}, {"z_dim", z_dim}}, kind, base, dtype);
  return t.result(t.conditional({0}, {1}, {2}), keepdim);
}
Tensor total_correlation(const Tensor& joint, at::IntArrayRef dims, at::OptionalIntArrayRef lengths,
                         string_view kind, optional<double> base, bool keepdim,
                         optional<ScalarType> dtype) {
  const char* op = "total_correlation";
  const JointTable t(op, joint, variables_of(op, dims, lengths), kind, base, dtype);
  Tensor value = t.zero();
  for (int64_t i = 1; i < t.variables(); ++i) value = value + t.conditional(numbers(0, i), {i}, {});
  return t.result(value, keepdim);
}
Tensor dual_total_correlation(const Tensor& joint, at::IntArrayRef dims,
                              at::OptionalIntArrayRef lengths, string_view kind,
                              optional<double> base, bool keepdim, optional<ScalarType> dtype) {
  const char* op = "dual_total_correlation";
  const JointTable t(op, joint, variables_of(op, dims, lengths), kind, base, dtype);
  Tensor value = t.zero();
  for (int64_t i = 1; i < t.variables(); ++i)
    value = value + t.conditional(numbers(0, i), {i}, numbers(i + 1, t.variables()));
  return t.result(value, keepdim);
}
Tensor co_information(const Tensor& joint, at::IntArrayRef dims, at::OptionalIntArrayRef lengths,
                      string_view kind, optional<double> base, bool keepdim,
                      optional<ScalarType> dtype) {
  const char* op = "co_information";
  const auto variables = variables_of(op, dims, lengths);
  TORCH_CHECK_VALUE(variables.size() >= 2, op, ": expected at least 2 variables, got dims ", dims);
  const JointTable t(op, joint, variables, kind, base, dtype);
  Tensor value = t.zero();
  for (uint64_t given = 0; given < uint64_t(1) << (t.variables() - 2); ++given) {
    Indices z;
    for (int64_t v = 2; v < t.variables(); ++v)
      if (given >> (v - 2) & 1) z.push_back(v);
    const Tensor term = t.conditional({0}, {1}, z);
    value = z.size() % 2 ? value - term : value + term;
  }
  return t.result(value, keepdim);
}

// ---- two variables ----
Tensor normalized_mutual_information(const Tensor& joint, at::IntArrayRef x_dim,
                                     at::IntArrayRef y_dim, string_view average, string_view kind,
                                     bool keepdim, optional<ScalarType> dtype) {
  const char* op = "normalized_mutual_information";
  const JointTable t(op, joint, {{"x_dim", x_dim}, {"y_dim", y_dim}}, kind, {}, dtype);
  const Tensor h_x = t.entropy({0}), h_y = t.entropy({1}), shared = t.conditional({0}, {1}, {});
  const bool studholme = average == "studholme";
  const auto divisor_of_average = [&]() -> Tensor {
    if (average == "arithmetic") return (h_x + h_y) / 2;
    if (average == "geometric") return root(h_x * h_y);
    if (average == "min") return at::minimum(h_x, h_y);
    if (average == "max") return at::maximum(h_x, h_y);
    TORCH_CHECK_VALUE(average == "joint" || studholme, op,
                      ": expected average to be 'arithmetic', 'geometric', 'min', 'max', 'joint' "
                      "or 'studholme', got '",
                      average, "'");
    return t.entropy({0, 1});
  };
  const Tensor divisor = divisor_of_average(), divided = divisor > 0;
  Tensor ratio = shared / at::where(divided, divisor, 1.);
  if (studholme) ratio = 1 + ratio;
  const Tensor known = divided.logical_or(divisor.isnan()).logical_or(shared.isnan()),
               sure = (h_x == 0).logical_and(h_y == 0);
  return t.result(at::where(sure, 1., at::where(known, ratio, 0.)), keepdim);
}
Tensor lautum_information(const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim,
                          string_view kind, optional<double> base, bool keepdim,
                          optional<ScalarType> dtype) {
  const JointTable t("lautum_information", joint, {{"x_dim", x_dim}, {"y_dim", y_dim}}, kind, base,
                     dtype);
  return t.result(t.lautum(), keepdim);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  const std::string kind = "str kind=\"probs\", ", base = "float? base=None, ",
                    rest = "bool keepdim=False, ScalarType? dtype=None) -> Tensor",
                    two_variables = "(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, ";
  define(m,
         "conditional_mutual_information(Tensor joint, int[1] x_dim=-3, int[1] y_dim=-2, "
         "int[1] z_dim=-1, *, " +
             kind + base + rest);
  for (const char* name : {"total_correlation", "dual_total_correlation", "co_information"})
    define(m, std::string(name) + "(Tensor joint, int[] dims, int[]? lengths=None, *, " + kind +
                  base + rest);
  define(m, "normalized_mutual_information" + two_variables + "str average=\"arithmetic\", " +
                kind + rest);
  define(m, "lautum_information" + two_variables + kind + base + rest);
}
void register_multivariate(torch::Library& m) {
  m.impl("conditional_mutual_information", &conditional_mutual_information);
  m.impl("total_correlation", &total_correlation);
  m.impl("dual_total_correlation", &dual_total_correlation);
  m.impl("co_information", &co_information);
  m.impl("normalized_mutual_information", &normalized_mutual_information);
  m.impl("lautum_information", &lautum_information);
}
TI_COMPOSITES(register_multivariate)

}  // namespace
}  // namespace torch_infotheory
