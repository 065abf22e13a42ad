// multivariate.h -- a joint table of several variables, composed of row ops.
#pragma once
#include "dispatch/call.h"
#include "dispatch/measures.h"

namespace torch_infotheory {
namespace {

using Indices = std::vector<int64_t>;

// The dimensions of a variable, and the name of the argument that lists them.
struct Variable {
  const char* argument;
  at::IntArrayRef dims;
};
// A joint table as probabilities in the widest type, because marginals and conditional tables in a
// narrower one would be rounded. Its dimensions are not moved. Variables are numbered from 0.
class JointTable {
 public:
  JointTable(const char* op, const Tensor& joint, const std::vector<Variable>& variables,
             string_view kind, optional<double> base, optional<ScalarType> dtype)
      : op(op), unit(unit_of(op, base)), rank(joint.dim()) {
    check_distribution(op, "joint", joint, kind);
    check_dtype(op, dtype);
    for (const auto& [argument, dims] : variables) {
      groups.push_back(dims.empty() ? Indices() : wrapped_dims(op, argument, dims, "joint", joint));
      named.insert(named.end(), groups.back().begin(), groups.back().end());
    }
    std::sort(named.begin(), named.end());
    const auto twice = std::adjacent_find(named.begin(), named.end());
    TORCH_CHECK(twice == named.end(), op, ": dimension ", twice == named.end() ? 0 : *twice,
                " is named twice for joint of shape ", joint.sym_sizes());
    check_classes(op, joint, named);
    type = result_type(joint.device(), stated_type(joint), dtype);
    read(joint, kind);
  }

  // The marginal table of these variables. The dimensions of the others have size 1.
  Tensor marginal(const Indices& kept) const {
    const Indices dims = dims_of(kept);
    Indices summed;
    std::set_difference(named.begin(), named.end(), dims.begin(), dims.end(),
                        std::back_inserter(summed));
    return summed.empty() ? values : values.sum(summed, /*keepdim=*/true);
  }
  Tensor entropy(const Indices& variables) const {
    return unary_value<Entropy>(op, marginal(variables), named, "probs", {}, false, {});
  }
  // I(X; Y | Z) for groups of variables.
  Tensor conditional(const Indices& x, const Indices& y, const Indices& z) const {
    const Indices x_dims = dims_of(x), y_dims = dims_of(y);
    if (x_dims.empty() || y_dims.empty()) return zero();
    Indices all = x;
    all.insert(all.end(), y.begin(), y.end());
    all.insert(all.end(), z.begin(), z.end());
    const Tensor joint = marginal(all);
    const TableDims dims(op, joint, x_dims, y_dims);
    Tensor table = as_table(joint, dims), total;  // the dimensions of Z are batch dimensions
    if (!z.empty()) {
      total = table.sum({-2, -1}, /*keepdim=*/true);
      table = table / at::where(total == 0, 1., total);
    }
    Tensor value = std::get<0>(call_forward<MutualInformation>(
        {table, {}, {}}, Options{.p_kind = kProbs, .scale = unit}, {}));
    if (!z.empty()) value = value * total.squeeze(-1).squeeze(-1);
    Indices rest;
    int64_t gone = 0;
    for (const int64_t d : named) {
      if (std::binary_search(dims.both.begin(), dims.both.end(), d))
        ++gone;
      else
        rest.push_back(d - gone);
    }
    return rest.empty() ? value : value.sum(rest);
  }
  // D(p(x) p(y) || p(x, y)), from the logarithms if they are given, because they are finite where
  // probabilities underflow.
  Tensor lautum() const {
    const Tensor product = marginal({0}) * marginal({1});
    const Pair x{product, logs.defined() ? logs : values, named, "probs",
                 logs.defined() ? "log_probs" : "probs"};
    return pair_value<KlDivergence>(op, x, {.scale = unit}, false, {});
  }
  // A zero with a gradient; NaN if the table has a NaN.
  Tensor zero() const { return (named.empty() ? values : values.sum(named)) * 0; }
  int64_t variables() const { return int64_t(groups.size()); }
  Tensor result(const Tensor& value, bool keepdim) const {
    return (keepdim && rank ? keep_dims(value, named) : value).to(type);
  }

 private:
  const char* op;
  double unit;
  int64_t rank;
  std::vector<Indices> groups;
  Indices named;  // the dimensions of all
  ScalarType type = at::kFloat;
  Tensor values, logs;  // logarithms are undefined for probabilities and counts

  Indices dims_of(const Indices& variables) const {
    Indices dims;
    for (const int64_t v : variables) dims.insert(dims.end(), groups[v].begin(), groups[v].end());
    std::sort(dims.begin(), dims.end());
    return dims;
  }
  void read(const Tensor& joint, string_view kind) {
    const Tensor x = joint.to(widest_type(joint.device()));
    const RowInput stated = row_input(x, kind, named, rank);
    switch (kind_of(op, stated.kind)) {
      case kLogits: {
        const Tensor moved = x - x.amax(named, /*keepdim=*/true).detach();
        logs = moved - moved.exp().sum(named, /*keepdim=*/true).log();
        values = logs.exp();
        break;
      }
      case kLogProbs:
        logs = x;
        values = without_rounding(logs.exp(), joint);
        break;
      default:
        values = are_counts(kind) ? stated.t : without_rounding(x, joint);
    }
    // Empty cells have no gradient.
    values = at::where(values == 0, 0., values);
  }
  // Normalizes tables that sum to 1 up to the rounding of their entries, because in float64 that
  // rounding would exceed a small mutual information.
  Tensor without_rounding(const Tensor& p, const Tensor& joint) const {
    const double slack = rounding_of_totals({.kind = kProbs, .type = type_of(joint)});
    const Tensor total = p.detach().sum(named, /*keepdim=*/true);
    return p / at::where((total - 1).abs() <= slack, total, 1.);
  }
};

}  // namespace
}  // namespace torch_infotheory
