// derived.cpp -- measures composed of row ops: perplexity, distances, the Renyi family, mixtures.
#include "dispatch/distributions.h"
#include "dispatch/measures.h"

namespace torch_infotheory {
namespace {

Tensor perplexity(const Tensor& p, at::IntArrayRef dim, string_view kind, bool keepdim,
                  optional<ScalarType> dtype, double temperature) {
  const char* op = "perplexity";
  check_distribution(op, "p", p, kind);
  check_temperature(op, temperature, kind, kind);
  check_dtype(op, dtype);
  const ScalarType exact = are_counts(kind) ? widest_type(p.device()) : exact_type(p.scalar_type());
  const Tensor value =
      unary_value<Entropy>(op, p, dim, kind, {.temperature = temperature}, keepdim, exact).exp();
  return value.to(result_type(p.device(), stated_type(p), dtype));
}

// ---- roots: distances whose squares are divergences ----
template <class Square>
Tensor root_of(const char* op, const Pair& x, optional<ScalarType> dtype, Square square) {
  check_distribution(op, "p", x.p, x.kind);
  check_distribution(op, "q", x.q, x.kind_of_q());
  check_dtype(op, dtype);
  const ScalarType promoted = stated_type(x.p, x.q),
                   exact = x.any_counts() ? widest_type(x.p.device()) : exact_type(promoted);
  return root(square(exact)).to(result_type(x.p.device(), promoted, dtype));
}
Tensor hellinger_distance(const Tensor& p, const Tensor& q, at::IntArrayRef dim, string_view kind,
                          optional<string_view> q_kind, bool keepdim, optional<ScalarType> dtype) {
  const char* op = "hellinger_distance";
  const Pair x{p, q, dim, kind, q_kind};
  return root_of(op, x, dtype, [&](ScalarType exact) {
    return pair_value<AlphaDivergence>(op, x, {.scale = 0.25, .parameter = 0.5}, keepdim, exact);
  });
}
Tensor js_distance(const Tensor& p, const Tensor& q, at::IntArrayRef dim, string_view kind,
                   optional<string_view> q_kind, optional<double> base, bool keepdim,
                   optional<ScalarType> dtype, double weight) {
  const char* op = "js_distance";
  check_weight(op, weight);
  const double unit = unit_of(op, base);
  TORCH_CHECK_VALUE(unit > 0, op, ": expected base to be above 1, got ", base.value_or(0));
  const Pair x{p, q, dim, kind, q_kind};
  return root_of(op, x, dtype, [&](ScalarType exact) {
    return pair_value<JsDivergence>(op, x, {.scale = unit, .parameter = weight}, keepdim, exact);
  });
}

// ---- the Renyi family ----
// Probabilities and log-probabilities of an operand, with its classes in one dimension. At orders
// up to 1 the derivative at p = 0 is infinite and defined as 0, so the gradient is stopped there in
// the total as well.
struct RowProbs {
  int64_t dim;
  Prob<Lane> x;
  RowProbs(const Tensor& memory, Kind kind, const std::vector<int64_t>& dims, bool stop_at_zero)
      : dim(dims.size() > 1 ? -1 : dims[0]), x(probability(in_one_dim(memory, dims), kind, {dim})) {
    if (stop_at_zero) x = stop_gradient_at_zero(x);
  }
  const Tensor& log() const { return x.log.t; }
  Tensor total() const { return x.p.t.sum(dim); }

 private:
  static Tensor in_one_dim(const Tensor& memory, const std::vector<int64_t>& dims) {
    return memory.dim() == 0 ? memory.unsqueeze(0)
           : dims.size() > 1 ? merged(memory, dims)
                             : memory;
  }
};

// Above it, the order is infinite to the last digit.
constexpr double kMostOrder = 1e30;

// log(sum p^a / sum p) / (1 - a), in nats, at the orders where the row op is not exact. Near a = 1
// it is computed from the Tsallis entropy (sum p - sum p^a) / (a - 1).
Tensor renyi(const RowProbs& p, double alpha, const std::function<Tensor(double)>& tsallis) {
  if (alpha == 0) return (p.log() > -INFINITY).sum(p.dim).to(p.log().scalar_type()).log();
  if (alpha > kMostOrder) return -std::get<0>(p.log().max(p.dim));
  const Tensor mean = tsallis(alpha) / p.total();
  return alpha == 1 ? mean : at::log1p(mean * (1 - alpha)) / (1 - alpha);
}
Tensor renyi_entropy(const Tensor& p, double alpha, at::IntArrayRef dim, string_view kind,
                     optional<double> base, bool keepdim, optional<ScalarType> dtype) {
  const char* op = "renyi_entropy";
  check_order(op, alpha);
  check_distribution(op, "p", p, kind);
  check_dtype(op, dtype);
  const double unit = unit_of(op, base);
  if (alpha > 0 && alpha <= kMostOrder && std::abs(alpha - 1) > 0.25)
    return unary_value<RenyiEntropy>(op, p, dim, kind,
                                     {.scale = unit / std::abs(1 - alpha), .parameter = alpha},
                                     keepdim, dtype);
  const auto dims = wrapped_dims(op, "dim", dim, "p", p);
  check_classes(op, p, dims);
  const RowInput read = row_input(p, kind, dims, dtype);
  // Convert a half input once, so that its gradient is accumulated before it is rounded.
  const ScalarType exact = exact_type(read.t.scalar_type());
  const Tensor x = read.t.to(exact);
  const RowProbs probs(x, kind_of(op, read.kind), dims, alpha <= 1);
  const Tensor value = renyi(probs, alpha, [&](double order) {
    return unary_value<TsallisEntropy>(op, x, dim, read.kind, {.parameter = order}, false, exact);
  });
  // Propagate NaN at order 0 too, which only counts the support.
  const Tensor shown = at::where(probs.x.p.t.detach().sum(probs.dim).isnan(), NAN, value * unit);
  const Tensor out = shown.to(result_type(p.device(), stated_type(p), dtype));
  return keepdim && p.dim() ? keep_dims(out, dims) : out;
}

// log(sum p^a q^(1-a) / sum p) / (a - 1). The orders where the row op is not exact are composed in
// float64, because the terms of nearly equal distributions cancel. Where the totals of p and q
// agree up to rounding, the contribution of that rounding, (sum p - sum q) / sum p, is removed.
// Near a = 1 the value is computed from the alpha divergence A, because sum p^a q^(1-a) =
// sum p + a (a - 1) A where the totals are equal.
Tensor renyi_divergence(const Tensor& p, const Tensor& q, double alpha, at::IntArrayRef dim,
                        string_view kind, optional<string_view> q_kind, optional<double> base,
                        bool keepdim, optional<ScalarType> dtype) {
  const char* op = "renyi_divergence";
  const string_view kind_of_q = q_kind.value_or(kind);
  check_order(op, alpha);
  check_distribution(op, "p", p, kind);
  check_distribution(op, "q", q, kind_of_q);
  check_dtype(op, dtype);
  const double unit = unit_of(op, base);
  if (alpha > 0 && alpha <= kMostOrder && std::abs(alpha - 1) > 1e-3)
    return pair_value<RenyiDivergence>(op, {p, q, dim, kind, q_kind},
                                       {.scale = unit / std::abs(alpha - 1), .parameter = alpha},
                                       keepdim, dtype);
  const auto dims = wrapped_dims(op, dim, "p", p, "q", q);
  const auto [p_read, q_read] = row_input(p, kind, q, kind_of_q, dims, dtype);
  const Kind p_source = kind_of(op, p_read.kind), q_source = kind_of(op, q_read.kind);
  optional<ScalarType> exact = widest_type(p.device());
  const Tensor wide_p = p_read.t.to(*exact), wide_q = q_read.t.to(*exact);
  const auto [x, y] = broadcast(op, wide_p, wide_q, dims, exact);
  check_classes(op, x, dims);
  const RowProbs a(x, p_source, dims, alpha <= 1), b(y, q_source, dims, true);
  const Tensor total = a.total(), excess = b.total() - total;
  const double slack = std::max(rounding_of_totals({.kind = p_source, .type = type_of(p_read.t)}),
                                rounding_of_totals({.kind = q_source, .type = type_of(q_read.t)}));
  const bool both_logits = p_source == kLogits && q_source == kLogits;
  const Tensor agree = both_logits ? at::ones_like(excess, at::kBool)
                                   : excess.abs() <= at::maximum(total, b.total()) * slack;
  // The gradient is always that of the literal sum, also where the value is corrected.
  const Tensor literal = excess - at::where(agree, excess.detach(), 0.);
  Tensor value;
  if (alpha == 0) {
    const Tensor support = a.log() > -INFINITY;
    const Tensor inside = b.x.p.t * support, outside = (b.x.p.t * support.logical_not()).sum(b.dim);
    value = at::where(agree, -at::log1p(-outside / b.total()), -inside.sum(b.dim).log());
  } else if (alpha > kMostOrder) {
    const Tensor gone = a.log() == -INFINITY;
    value = std::get<0>((at::where(gone, -INFINITY, a.log() - b.log())).max(a.dim));
  } else {
    const Tensor divergence = pair_value<AlphaDivergence>(op, {x, y, dim, p_read.kind, q_read.kind},
                                                          {.parameter = alpha}, false, *exact);
    const Tensor mean = (divergence * alpha - literal) / total;
    value = alpha == 1 ? mean : at::log1p(mean * (alpha - 1)) / (alpha - 1);
  }
  value = at::where((total + excess).isnan(), NAN, value);
  const Tensor out = (value * unit).to(result_type(p.device(), stated_type(p, q), dtype));
  return keepdim && std::max(p.dim(), q.dim()) ? keep_dims(out, dims) : out;
}

// ---- mixtures ---- H(sum_i w_i p_i) - sum_i w_i H(p_i) = sum_i w_i D(p_i || m), in float64, which
// stays accurate where all p_i are nearly equal.
Tensor mixture_divergence(const Tensor& p, int64_t mixture_dim, at::IntArrayRef dim,
                          const optional<Tensor>& weights, string_view kind, optional<double> base,
                          optional<ScalarType> dtype, double temperature) {
  const char* op = "mixture_divergence";
  check_distribution(op, "p", p, kind);
  check_dtype(op, dtype);
  const double unit = unit_of(op, base);
  const auto dims = wrapped_dims(op, "dim", dim, "p", p);
  const int64_t mixture = wrapped_dims(op, "mixture_dim", mixture_dim, "p", p)[0];
  TORCH_CHECK(p.dim() > 1 && std::find(dims.begin(), dims.end(), mixture) == dims.end(), op,
              ": mixture_dim ", mixture_dim, " and dim ", dim, " overlap for p of shape ",
              p.sym_sizes());
  const auto n = p.sym_size(mixture);
  TORCH_CHECK(n != 0, op, ": expected at least one distribution to mix, got ", p.sym_sizes());
  check_classes(op, p, dims);
  if (weights) {
    check_distribution(op, "weights", *weights);
    TORCH_CHECK(weights->dim() == 1 && weights->sym_size(0) == n, op,
                ": expected one weight for each distribution along mixture_dim, got weights ",
                weights->sym_sizes(), " and p ", p.sym_sizes());
  }
  const ScalarType widest = widest_type(p.device());
  std::vector<c10::SymInt> shape(p.dim(), 1);
  shape[mixture] = n;
  const Tensor w = weights ? weights->to(widest).view_symint(shape)
                           : at::full_symint({}, at::Scalar(c10::SymFloat(1.) / c10::SymFloat(n)),
                                             p.options().dtype(widest));
  check_temperature(op, temperature, kind, kind);
  const RowInput read = row_input(p, kind, dims, dtype);
  const Tensor x = tempered(read.t.to(widest), temperature),
               each = probability(x, kind_of(op, read.kind), dims).p.t,
               m = (w * each).sum(mixture, /*keepdim=*/true);
  // The alpha divergence of order 1 is D(p || m) - sum p + sum m, whose terms are not negative.
  const Tensor divergence = pair_value<AlphaDivergence>(op, {x, m, dim, read.kind, "probs"},
                                                        {.scale = unit, .parameter = 1},
                                                        /*keepdim=*/true, widest);
  std::vector<int64_t> reduced = dims;
  reduced.push_back(mixture);
  Tensor value = (w * divergence).sum(reduced);
  if (weights) {
    const Tensor excess = w.sum() - 1;
    const double slack = rounding_of_totals({.kind = kProbs, .type = type_of(*weights)});
    value = value - at::where(excess.abs() <= slack, 0., excess) * m.sum(reduced) * unit;
  }
  return value.to(result_type(p.device(), stated_type(p), dtype));
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  const std::string rest = "bool keepdim=False, ScalarType? dtype=None",
                    kind = "int[1] dim=-1, *, str kind=\"probs\", ",
                    kinds = kind + "str? q_kind=None, ", base = "float? base=None, ";
  const auto def = [&](const std::string& schema) { define(m, schema + " -> Tensor"); };
  def("perplexity(Tensor p, " + kind + rest + ", float temperature=1.0)");
  def("hellinger_distance(Tensor p, Tensor q, " + kinds + rest + ")");
  def("js_distance(Tensor p, Tensor q, " + kinds + base + rest + ", float weight=0.5)");
  def("renyi_entropy(Tensor p, float alpha, " + kind + base + rest + ")");
  def("renyi_divergence(Tensor p, Tensor q, float alpha, " + kinds + base + rest + ")");
  def("mixture_divergence(Tensor p, int mixture_dim, int[1] dim=-1, *, Tensor? weights=None, "
      "str kind=\"probs\", float? base=None, ScalarType? dtype=None, float temperature=1.0)");
}
void register_derived(torch::Library& m) {
  m.impl("perplexity", &perplexity);
  m.impl("hellinger_distance", &hellinger_distance);
  m.impl("js_distance", &js_distance);
  m.impl("renyi_entropy", &renyi_entropy);
  m.impl("renyi_divergence", &renyi_divergence);
  m.impl("mixture_divergence", &mixture_divergence);
}
TI_COMPOSITES(register_derived)

}  // namespace
}  // namespace torch_infotheory
