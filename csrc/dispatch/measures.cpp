// measures.cpp -- the public measures that are a single row op each.
#include "dispatch/measures.h"

namespace torch_infotheory {
namespace {

// ---- with a unit and without a parameter: registered by a loop over the list of formulas ----
template <class F>
constexpr bool is_plain = std::is_default_constructible_v<F> && F::has_unit;

template <class F>
Tensor unary_measure(const Tensor& p, at::IntArrayRef dim, string_view kind, optional<double> base,
                     bool keepdim, optional<ScalarType> dtype, double temperature) {
  check_distribution(F::name, "p", p, kind);
  check_temperature(F::name, temperature, kind, kind);
  return unary_value<F>(F::name, p, dim, kind,
                        {.scale = unit_of(F::name, base), .temperature = temperature}, keepdim,
                        dtype);
}
// `o` has the scale, the parameter and the temperature.
template <class F>
Tensor tempered_pair(const Pair& x, const Options& o, bool keepdim, optional<ScalarType> dtype) {
  check_distribution(F::name, "p", x.p, x.kind);
  check_q(F::name, x);
  check_temperature(F::name, o.temperature, x.kind, x.kind_of_q());
  return pair_value<F>(F::name, x, o, keepdim, dtype);
}
template <class F>
Tensor pair_measure(const Tensor& p, const Tensor& q, at::IntArrayRef dim, string_view kind,
                    optional<string_view> q_kind, optional<double> base, bool keepdim,
                    optional<ScalarType> dtype, double temperature) {
  return tempered_pair<F>({p, q, dim, kind, q_kind},
                          {.scale = unit_of(F::name, base), .temperature = temperature}, keepdim,
                          dtype);
}
template <class F>
Tensor table_measure(const Tensor& joint, at::IntArrayRef x_dim, at::IntArrayRef y_dim,
                     string_view kind, optional<double> base, bool keepdim,
                     optional<ScalarType> dtype) {
  check_distribution(F::name, "joint", joint, kind);
  const TableDims dims(F::name, joint, x_dim, y_dim);
  const RowInput x = row_input(joint, kind, dims.both, dtype);
  const Options o{.p_kind = kind_of(F::name, x.kind), .scale = unit_of(F::name, base)};
  const Tensor value = std::get<0>(call_forward<F>({as_table(x.t, dims), {}, {}}, o, dtype));
  return keepdim ? keep_dims(value, dims.both) : value;
}
template <class F>
void register_plain(torch::Library& m) {
  if constexpr (is_table<F>)
    m.impl(F::name, &table_measure<F>);
  else if constexpr (is_plain<F> && F::arity == 2)
    m.impl(F::name, &pair_measure<F>);
  else if constexpr (is_plain<F>)
    m.impl(F::name, &unary_measure<F>);
}
template <class F>
std::string plain_schema() {
  const char* tail = "float? base=None, bool keepdim=False, ScalarType? dtype=None";
  const char* arguments =
      is_table<F> ? "(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind=\"probs\", "
      : F::arity == 2
          ? "(Tensor p, Tensor q, int[1] dim=-1, *, str kind=\"probs\", str? q_kind=None, "
          : "(Tensor p, int[1] dim=-1, *, str kind=\"probs\", ";
  return std::string(F::name) + arguments + tail +
         (is_table<F> ? ") -> Tensor" : ", float temperature=1.0) -> Tensor");
}

// ---- with a parameter, or without a unit ----
Tensor js_divergence(const Tensor& p, const Tensor& q, at::IntArrayRef dim, string_view kind,
                     optional<string_view> q_kind, optional<double> base, bool keepdim,
                     optional<ScalarType> dtype, double weight, double temperature) {
  const char* op = JsDivergence::name;
  check_weight(op, weight);
  return tempered_pair<JsDivergence>(
      {p, q, dim, kind, q_kind},
      {.scale = unit_of(op, base), .parameter = weight, .temperature = temperature}, keepdim,
      dtype);
}
Tensor alpha_divergence(const Tensor& p, const Tensor& q, double alpha, at::IntArrayRef dim,
                        string_view kind, optional<string_view> q_kind, bool keepdim,
                        optional<ScalarType> dtype) {
  const char* op = AlphaDivergence::name;
  TORCH_CHECK_VALUE(std::isfinite(alpha), op, ": expected alpha to be finite, got ", alpha);
  return pair_value<AlphaDivergence>(op, {p, q, dim, kind, q_kind}, {.parameter = alpha}, keepdim,
                                     dtype);
}
// Multiples of the alpha divergence at special orders.
Tensor squared_hellinger_distance(const Tensor& p, const Tensor& q, at::IntArrayRef dim,
                                  string_view kind, optional<string_view> q_kind, bool keepdim,
                                  optional<ScalarType> dtype) {
  return pair_value<AlphaDivergence>("squared_hellinger_distance", {p, q, dim, kind, q_kind},
                                     {.scale = 0.25, .parameter = 0.5}, keepdim, dtype);
}
Tensor chi_squared_divergence(const Tensor& p, const Tensor& q, at::IntArrayRef dim,
                              string_view kind, optional<string_view> q_kind, bool keepdim,
                              optional<ScalarType> dtype) {
  return pair_value<AlphaDivergence>("chi_squared_divergence", {p, q, dim, kind, q_kind},
                                     {.scale = 2, .parameter = 2}, keepdim, dtype);
}
template <class F>
Tensor pair_without_unit(const Tensor& p, const Tensor& q, at::IntArrayRef dim, string_view kind,
                         optional<string_view> q_kind, bool keepdim, optional<ScalarType> dtype) {
  return pair_value<F>(F::name, {p, q, dim, kind, q_kind}, {}, keepdim, dtype);
}
Tensor tsallis_entropy(const Tensor& p, double alpha, at::IntArrayRef dim, string_view kind,
                       bool keepdim, optional<ScalarType> dtype) {
  const char* op = TsallisEntropy::name;
  check_order(op, alpha);
  TORCH_CHECK_VALUE(std::isfinite(alpha), op, ": expected alpha to be finite, got ", alpha);
  return unary_value<TsallisEntropy>(op, p, dim, kind, {.parameter = alpha}, keepdim, dtype);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  each_formula([&](auto formula) {
    using F = typename decltype(formula)::type;
    if constexpr (is_plain<F>) define(m, plain_schema<F>());
  });
  const std::string rest = "bool keepdim=False, ScalarType? dtype=None",
                    kinds = "int[1] dim=-1, *, str kind=\"probs\", str? q_kind=None, ";
  const auto def = [&](const std::string& schema) { define(m, schema + " -> Tensor"); };
  def("js_divergence(Tensor p, Tensor q, " + kinds + "float? base=None, " + rest +
      ", float weight=0.5, float temperature=1.0)");
  def("alpha_divergence(Tensor p, Tensor q, float alpha, " + kinds + rest + ")");
  for (const char* name : {"squared_hellinger_distance", "chi_squared_divergence",
                           TotalVariation::name, BhattacharyyaCoefficient::name})
    def(std::string(name) + "(Tensor p, Tensor q, " + kinds + rest + ")");
  def("tsallis_entropy(Tensor p, float alpha, int[1] dim=-1, *, str kind=\"probs\", " + rest + ")");
}
void register_measures(torch::Library& m) {
  each_formula([&](auto formula) { register_plain<typename decltype(formula)::type>(m); });
  m.impl(JsDivergence::name, &js_divergence);
  m.impl(AlphaDivergence::name, &alpha_divergence);
  m.impl("squared_hellinger_distance", &squared_hellinger_distance);
  m.impl("chi_squared_divergence", &chi_squared_divergence);
  m.impl(TotalVariation::name, &pair_without_unit<TotalVariation>);
  m.impl(BhattacharyyaCoefficient::name, &pair_without_unit<BhattacharyyaCoefficient>);
  m.impl(TsallisEntropy::name, &tsallis_entropy);
}
TI_COMPOSITES(register_measures)

}  // namespace
}  // namespace torch_infotheory
