// torch_infotheory/ops.h -- every measure and loss as a C++ function on tensors, without Python.
//
//   find_package(torch_infotheory REQUIRED)
//   target_link_libraries(program PRIVATE torch_infotheory::torch_infotheory)
//
// The functions call the registered ops through the dispatcher, so that autograd, tracing and
// autocast work as in Python. They are documented by the Python functions of the same names.
#pragma once
#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

namespace torch_infotheory {

using at::IntArrayRef;
using at::ScalarType;
using at::Tensor;
using std::optional;
using std::string_view;

namespace schema {
using Map = Tensor(const Tensor&, IntArrayRef, string_view, optional<double>, optional<ScalarType>);
using Unary = Tensor(const Tensor&, IntArrayRef, string_view, optional<double>, bool,
                     optional<ScalarType>, double);
using Pair = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view, optional<string_view>,
                    optional<double>, bool, optional<ScalarType>, double);
using Table = Tensor(const Tensor&, IntArrayRef, IntArrayRef, string_view, optional<double>, bool,
                     optional<ScalarType>);
using PairWithoutUnit = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                               optional<string_view>, bool, optional<ScalarType>);
using PairWithWeight = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                              optional<string_view>, optional<double>, bool, optional<ScalarType>,
                              double, double);
using PairWithoutTemperature = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                                      optional<string_view>, optional<double>, bool,
                                      optional<ScalarType>, double);

using Variables = Tensor(const Tensor&, IntArrayRef, at::OptionalIntArrayRef, string_view,
                         optional<double>, bool, optional<ScalarType>);

// The dimensions of all variables, and their number for each, because schemas have no nested lists.
struct Dims {
  std::vector<int64_t> all, lengths;
  explicit Dims(at::ArrayRef<IntArrayRef> variables) {
    for (const IntArrayRef dims : variables) {
      all.insert(all.end(), dims.begin(), dims.end());
      lengths.push_back(int64_t(dims.size()));
    }
  }
};

template <class Signature>
c10::TypedOperatorHandle<Signature> op(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

}  // namespace schema

// ---- measures: one value per distribution ----

inline Tensor self_information(const Tensor& p, IntArrayRef dim = -1, string_view kind = "probs",
                               optional<double> base = {}, optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Map>("torch_infotheory::self_information");
  return call.call(p, dim, kind, base, dtype);
}

inline Tensor entropy(const Tensor& p, IntArrayRef dim = -1, string_view kind = "probs",
                      optional<double> base = {}, bool keepdim = false,
                      optional<ScalarType> dtype = {}, double temperature = 1) {
  static const auto call = schema::op<schema::Unary>("torch_infotheory::entropy");
  return call.call(p, dim, kind, base, keepdim, dtype, temperature);
}

inline Tensor perplexity(const Tensor& p, IntArrayRef dim = -1, string_view kind = "probs",
                         bool keepdim = false, optional<ScalarType> dtype = {},
                         double temperature = 1) {
  using Signature =
      Tensor(const Tensor&, IntArrayRef, string_view, bool, optional<ScalarType>, double);
  static const auto call = schema::op<Signature>("torch_infotheory::perplexity");
  return call.call(p, dim, kind, keepdim, dtype, temperature);
}

// `kind` applies to p, and to q unless `q_kind` is given.
inline Tensor cross_entropy(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                            string_view kind = "probs", optional<string_view> q_kind = {},
                            optional<double> base = {}, bool keepdim = false,
                            optional<ScalarType> dtype = {}, double temperature = 1) {
  static const auto call = schema::op<schema::Pair>("torch_infotheory::cross_entropy");
  return call.call(p, q, dim, kind, q_kind, base, keepdim, dtype, temperature);
}

inline Tensor kl_divergence(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                            string_view kind = "probs", optional<string_view> q_kind = {},
                            optional<double> base = {}, bool keepdim = false,
                            optional<ScalarType> dtype = {}, double temperature = 1) {
  static const auto call = schema::op<schema::Pair>("torch_infotheory::kl_divergence");
  return call.call(p, q, dim, kind, q_kind, base, keepdim, dtype, temperature);
}

// `weight` is that of q in the mixture.
inline Tensor js_divergence(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                            string_view kind = "probs", optional<string_view> q_kind = {},
                            optional<double> base = {}, bool keepdim = false,
                            optional<ScalarType> dtype = {}, double weight = 0.5,
                            double temperature = 1) {
  static const auto call = schema::op<schema::PairWithWeight>("torch_infotheory::js_divergence");
  return call.call(p, q, dim, kind, q_kind, base, keepdim, dtype, weight, temperature);
}

// `weight` is that of q in the mixture.
inline Tensor js_distance(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                          string_view kind = "probs", optional<string_view> q_kind = {},
                          optional<double> base = {}, bool keepdim = false,
                          optional<ScalarType> dtype = {}, double weight = 0.5) {
  static const auto call =
      schema::op<schema::PairWithoutTemperature>("torch_infotheory::js_distance");
  return call.call(p, q, dim, kind, q_kind, base, keepdim, dtype, weight);
}

inline Tensor jeffreys_divergence(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                                  string_view kind = "probs", optional<string_view> q_kind = {},
                                  optional<double> base = {}, bool keepdim = false,
                                  optional<ScalarType> dtype = {}, double temperature = 1) {
  static const auto call = schema::op<schema::Pair>("torch_infotheory::jeffreys_divergence");
  return call.call(p, q, dim, kind, q_kind, base, keepdim, dtype, temperature);
}

inline Tensor squared_hellinger_distance(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                                         string_view kind = "probs",
                                         optional<string_view> q_kind = {}, bool keepdim = false,
                                         optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::PairWithoutUnit>("torch_infotheory::squared_hellinger_distance");
  return call.call(p, q, dim, kind, q_kind, keepdim, dtype);
}

inline Tensor hellinger_distance(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                                 string_view kind = "probs", optional<string_view> q_kind = {},
                                 bool keepdim = false, optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::PairWithoutUnit>("torch_infotheory::hellinger_distance");
  return call.call(p, q, dim, kind, q_kind, keepdim, dtype);
}

inline Tensor bhattacharyya_coefficient(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                                        string_view kind = "probs",
                                        optional<string_view> q_kind = {}, bool keepdim = false,
                                        optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::PairWithoutUnit>("torch_infotheory::bhattacharyya_coefficient");
  return call.call(p, q, dim, kind, q_kind, keepdim, dtype);
}

inline Tensor total_variation_distance(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                                       string_view kind = "probs",
                                       optional<string_view> q_kind = {}, bool keepdim = false,
                                       optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::PairWithoutUnit>("torch_infotheory::total_variation_distance");
  return call.call(p, q, dim, kind, q_kind, keepdim, dtype);
}

inline Tensor chi_squared_divergence(const Tensor& p, const Tensor& q, IntArrayRef dim = -1,
                                     string_view kind = "probs", optional<string_view> q_kind = {},
                                     bool keepdim = false, optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::PairWithoutUnit>("torch_infotheory::chi_squared_divergence");
  return call.call(p, q, dim, kind, q_kind, keepdim, dtype);
}

// ---- measures of an order alpha ----

inline Tensor renyi_entropy(const Tensor& p, double alpha, IntArrayRef dim = -1,
                            string_view kind = "probs", optional<double> base = {},
                            bool keepdim = false, optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, double, IntArrayRef, string_view, optional<double>, bool,
                           optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::renyi_entropy");
  return call.call(p, alpha, dim, kind, base, keepdim, dtype);
}

inline Tensor tsallis_entropy(const Tensor& p, double alpha, IntArrayRef dim = -1,
                              string_view kind = "probs", bool keepdim = false,
                              optional<ScalarType> dtype = {}) {
  using Signature =
      Tensor(const Tensor&, double, IntArrayRef, string_view, bool, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::tsallis_entropy");
  return call.call(p, alpha, dim, kind, keepdim, dtype);
}

inline Tensor renyi_divergence(const Tensor& p, const Tensor& q, double alpha, IntArrayRef dim = -1,
                               string_view kind = "probs", optional<string_view> q_kind = {},
                               optional<double> base = {}, bool keepdim = false,
                               optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, double, IntArrayRef, string_view,
                           optional<string_view>, optional<double>, bool, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::renyi_divergence");
  return call.call(p, q, alpha, dim, kind, q_kind, base, keepdim, dtype);
}

inline Tensor alpha_divergence(const Tensor& p, const Tensor& q, double alpha, IntArrayRef dim = -1,
                               string_view kind = "probs", optional<string_view> q_kind = {},
                               bool keepdim = false, optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, double, IntArrayRef, string_view,
                           optional<string_view>, bool, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::alpha_divergence");
  return call.call(p, q, alpha, dim, kind, q_kind, keepdim, dtype);
}

// The distributions along `mixture_dim` have equal weights unless `weights` is given.
inline Tensor mixture_divergence(const Tensor& p, int64_t mixture_dim, IntArrayRef dim = -1,
                                 const optional<Tensor>& weights = {}, string_view kind = "probs",
                                 optional<double> base = {}, optional<ScalarType> dtype = {},
                                 double temperature = 1) {
  using Signature = Tensor(const Tensor&, int64_t, IntArrayRef, const optional<Tensor>&,
                           string_view, optional<double>, optional<ScalarType>, double);
  static const auto call = schema::op<Signature>("torch_infotheory::mixture_divergence");
  return call.call(p, mixture_dim, dim, weights, kind, base, dtype, temperature);
}

// ---- measures of a joint table ----

inline Tensor joint_entropy(const Tensor& joint, IntArrayRef x_dim = -2, IntArrayRef y_dim = -1,
                            string_view kind = "probs", optional<double> base = {},
                            bool keepdim = false, optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Table>("torch_infotheory::joint_entropy");
  return call.call(joint, x_dim, y_dim, kind, base, keepdim, dtype);
}

inline Tensor conditional_entropy(const Tensor& joint, IntArrayRef x_dim = -2,
                                  IntArrayRef y_dim = -1, string_view kind = "probs",
                                  optional<double> base = {}, bool keepdim = false,
                                  optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Table>("torch_infotheory::conditional_entropy");
  return call.call(joint, x_dim, y_dim, kind, base, keepdim, dtype);
}

inline Tensor mutual_information(const Tensor& joint, IntArrayRef x_dim = -2,
                                 IntArrayRef y_dim = -1, string_view kind = "probs",
                                 optional<double> base = {}, bool keepdim = false,
                                 optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Table>("torch_infotheory::mutual_information");
  return call.call(joint, x_dim, y_dim, kind, base, keepdim, dtype);
}

inline Tensor variation_of_information(const Tensor& joint, IntArrayRef x_dim = -2,
                                       IntArrayRef y_dim = -1, string_view kind = "probs",
                                       optional<double> base = {}, bool keepdim = false,
                                       optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Table>("torch_infotheory::variation_of_information");
  return call.call(joint, x_dim, y_dim, kind, base, keepdim, dtype);
}

inline Tensor pointwise_mutual_information(const Tensor& joint, IntArrayRef x_dim = -2,
                                           IntArrayRef y_dim = -1, string_view kind = "probs",
                                           optional<double> base = {}, bool normalized = false,
                                           optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::Table>("torch_infotheory::pointwise_mutual_information");
  return call.call(joint, x_dim, y_dim, kind, base, normalized, dtype);
}

// ---- measures of more variables, and variants of mutual information ----

inline Tensor conditional_mutual_information(const Tensor& joint, IntArrayRef x_dim = -3,
                                             IntArrayRef y_dim = -2, IntArrayRef z_dim = -1,
                                             string_view kind = "probs", optional<double> base = {},
                                             bool keepdim = false,
                                             optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, string_view,
                           optional<double>, bool, optional<ScalarType>);
  static const auto call =
      schema::op<Signature>("torch_infotheory::conditional_mutual_information");
  return call.call(joint, x_dim, y_dim, z_dim, kind, base, keepdim, dtype);
}

// `dims` lists the dimension or dimensions of each variable: {0, 1, {2, 3}}.
inline Tensor total_correlation(const Tensor& joint, at::ArrayRef<IntArrayRef> dims,
                                string_view kind = "probs", optional<double> base = {},
                                bool keepdim = false, optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Variables>("torch_infotheory::total_correlation");
  const schema::Dims d(dims);
  return call.call(joint, d.all, d.lengths, kind, base, keepdim, dtype);
}

inline Tensor dual_total_correlation(const Tensor& joint, at::ArrayRef<IntArrayRef> dims,
                                     string_view kind = "probs", optional<double> base = {},
                                     bool keepdim = false, optional<ScalarType> dtype = {}) {
  static const auto call =
      schema::op<schema::Variables>("torch_infotheory::dual_total_correlation");
  const schema::Dims d(dims);
  return call.call(joint, d.all, d.lengths, kind, base, keepdim, dtype);
}

inline Tensor co_information(const Tensor& joint, at::ArrayRef<IntArrayRef> dims,
                             string_view kind = "probs", optional<double> base = {},
                             bool keepdim = false, optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Variables>("torch_infotheory::co_information");
  const schema::Dims d(dims);
  return call.call(joint, d.all, d.lengths, kind, base, keepdim, dtype);
}

inline Tensor normalized_mutual_information(const Tensor& joint, IntArrayRef x_dim = -2,
                                            IntArrayRef y_dim = -1,
                                            string_view average = "arithmetic",
                                            string_view kind = "probs", bool keepdim = false,
                                            optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, IntArrayRef, IntArrayRef, string_view, string_view, bool,
                           optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::normalized_mutual_information");
  return call.call(joint, x_dim, y_dim, average, kind, keepdim, dtype);
}

inline Tensor lautum_information(const Tensor& joint, IntArrayRef x_dim = -2,
                                 IntArrayRef y_dim = -1, string_view kind = "probs",
                                 optional<double> base = {}, bool keepdim = false,
                                 optional<ScalarType> dtype = {}) {
  static const auto call = schema::op<schema::Table>("torch_infotheory::lautum_information");
  return call.call(joint, x_dim, y_dim, kind, base, keepdim, dtype);
}

inline Tensor positive_pointwise_mutual_information(const Tensor& joint, IntArrayRef x_dim = -2,
                                                    IntArrayRef y_dim = -1,
                                                    string_view kind = "probs",
                                                    optional<double> base = {},
                                                    optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, IntArrayRef, IntArrayRef, string_view, optional<double>,
                           optional<ScalarType>);
  static const auto call =
      schema::op<Signature>("torch_infotheory::positive_pointwise_mutual_information");
  return call.call(joint, x_dim, y_dim, kind, base, dtype);
}

inline Tensor binary_entropy(const Tensor& p, string_view kind = "probs",
                             optional<double> base = {}, optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, string_view, optional<double>, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::binary_entropy");
  return call.call(p, kind, base, dtype);
}

// ---- from data to joint tables ----

// Counts the pairs of labels along `dim`. The numbers of classes are by default one more than the
// largest labels, which synchronizes a GPU.
inline Tensor joint_table(const Tensor& x, const Tensor& y, optional<int64_t> num_x = {},
                          optional<int64_t> num_y = {}, const optional<Tensor>& weight = {},
                          int64_t dim = -1, optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, optional<int64_t>, optional<int64_t>,
                           const optional<Tensor>&, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::joint_table");
  return call.call(x, y, num_x, num_y, weight, dim, dtype);
}

// Several variables, one for each of `sizes`. The labels have the shape (..., variables, N).
inline Tensor joint_table(const Tensor& columns, IntArrayRef sizes,
                          const optional<Tensor>& weight = {}, int64_t dim = -1,
                          optional<ScalarType> dtype = {}) {
  using Signature =
      Tensor(const Tensor&, IntArrayRef, const optional<Tensor>&, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::joint_table", "columns");
  return call.call(columns, sizes, weight, dim, dtype);
}

// The ranges, {low, high}, are by default those of the samples.
inline Tensor soft_joint_histogram(const Tensor& x, const Tensor& y, int64_t bins,
                                   optional<at::ArrayRef<double>> x_range = {},
                                   optional<at::ArrayRef<double>> y_range = {},
                                   string_view kernel = "cubic", const optional<Tensor>& mask = {},
                                   int64_t dim = -1) {
  using Range = optional<at::ArrayRef<double>>;
  using Signature = Tensor(const Tensor&, const Tensor&, int64_t, Range, Range, string_view,
                           const optional<Tensor>&, int64_t);
  static const auto call = schema::op<Signature>("torch_infotheory::soft_joint_histogram");
  return call.call(x, y, bins, x_range, y_range, kernel, mask, dim);
}

// ---- losses ----

inline Tensor cross_entropy_loss(const Tensor& input, const Tensor& target,
                                 const optional<Tensor>& weight = {},
                                 int64_t reduction = at::Reduction::Mean,
                                 int64_t ignore_index = -100, double label_smoothing = 0,
                                 optional<ScalarType> dtype = {}, double temperature = 1) {
  using Signature = Tensor(const Tensor&, const Tensor&, const optional<Tensor>&, int64_t, int64_t,
                           double, optional<ScalarType>, double);
  static const auto call = schema::op<Signature>("torch_infotheory::cross_entropy_loss");
  return call.call(input, target, weight, reduction, ignore_index, label_smoothing, dtype,
                   temperature);
}

inline Tensor nll_loss(const Tensor& input, const Tensor& target,
                       const optional<Tensor>& weight = {}, int64_t reduction = at::Reduction::Mean,
                       int64_t ignore_index = -100, optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, const optional<Tensor>&, int64_t, int64_t,
                           optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::nll_loss");
  return call.call(input, target, weight, reduction, ignore_index, dtype);
}

inline Tensor kl_div(const Tensor& input, const Tensor& target,
                     int64_t reduction = at::Reduction::Mean, bool log_target = false,
                     optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, int64_t, bool, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::kl_div");
  return call.call(input, target, reduction, log_target, dtype);
}

inline Tensor entropy_loss(const Tensor& input, IntArrayRef dim = -1, string_view kind = "logits",
                           optional<double> base = {}, int64_t reduction = at::Reduction::Mean,
                           optional<ScalarType> dtype = {}, double temperature = 1,
                           const optional<Tensor>& mask = {}) {
  using Signature = Tensor(const Tensor&, IntArrayRef, string_view, optional<double>, int64_t,
                           optional<ScalarType>, double, const optional<Tensor>&);
  static const auto call = schema::op<Signature>("torch_infotheory::entropy_loss");
  return call.call(input, dim, kind, base, reduction, dtype, temperature, mask);
}

inline Tensor js_div(const Tensor& input, const Tensor& target, IntArrayRef dim = -1,
                     string_view kind = "logits", optional<string_view> target_kind = {},
                     optional<double> base = {}, int64_t reduction = at::Reduction::Mean,
                     optional<ScalarType> dtype = {}, double weight = 0.5, double temperature = 1,
                     const optional<Tensor>& mask = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                           optional<string_view>, optional<double>, int64_t, optional<ScalarType>,
                           double, double, const optional<Tensor>&);
  static const auto call = schema::op<Signature>("torch_infotheory::js_div");
  return call.call(input, target, dim, kind, target_kind, base, reduction, dtype, weight,
                   temperature, mask);
}

// ---- losses from hidden states: of the logits input @ linear_weight.T + linear_bias ----

inline Tensor linear_cross_entropy(const Tensor& input, const Tensor& linear_weight,
                                   const Tensor& target, const optional<Tensor>& linear_bias = {},
                                   const optional<Tensor>& weight = {},
                                   int64_t reduction = at::Reduction::Mean,
                                   optional<int64_t> ignore_index = {}, double label_smoothing = 0,
                                   optional<int64_t> chunk = {}, optional<double> softcap = {},
                                   double temperature = 1, optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&,
                           const optional<Tensor>&, int64_t, optional<int64_t>, double,
                           optional<int64_t>, optional<double>, double, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::linear_cross_entropy");
  return call.call(input, linear_weight, target, linear_bias, weight, reduction, ignore_index,
                   label_smoothing, chunk, softcap, temperature, dtype);
}

inline Tensor linear_entropy(const Tensor& input, const Tensor& linear_weight,
                             const optional<Tensor>& linear_bias = {},
                             const optional<Tensor>& mask = {}, optional<double> softcap = {},
                             double temperature = 1, optional<double> base = {},
                             int64_t reduction = at::Reduction::Mean,
                             optional<ScalarType> dtype = {}) {
  using Signature =
      Tensor(const Tensor&, const Tensor&, const optional<Tensor>&, const optional<Tensor>&,
             optional<double>, double, optional<double>, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::linear_entropy");
  return call.call(input, linear_weight, linear_bias, mask, softcap, temperature, base, reduction,
                   dtype);
}

// `target` is the teacher's distribution or, if `target_weight` is given, its hidden states.
inline Tensor linear_kl_div(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                            const optional<Tensor>& linear_bias = {},
                            const optional<Tensor>& target_weight = {},
                            const optional<Tensor>& target_bias = {}, string_view kind = "logits",
                            string_view direction = "forward", const optional<Tensor>& mask = {},
                            optional<double> softcap = {}, double temperature = 1,
                            int64_t reduction = at::Reduction::Mean,
                            optional<ScalarType> dtype = {}) {
  using Signature =
      Tensor(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&,
             const optional<Tensor>&, const optional<Tensor>&, string_view, string_view,
             const optional<Tensor>&, optional<double>, double, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::linear_kl_div");
  return call.call(input, linear_weight, target, linear_bias, target_weight, target_bias, kind,
                   direction, mask, softcap, temperature, reduction, dtype);
}

inline Tensor linear_js_div(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                            const optional<Tensor>& linear_bias = {},
                            const optional<Tensor>& target_weight = {},
                            const optional<Tensor>& target_bias = {}, string_view kind = "logits",
                            double weight = 0.5, const optional<Tensor>& mask = {},
                            optional<double> softcap = {}, double temperature = 1,
                            int64_t reduction = at::Reduction::Mean,
                            optional<ScalarType> dtype = {}) {
  using Signature =
      Tensor(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&,
             const optional<Tensor>&, const optional<Tensor>&, string_view, double,
             const optional<Tensor>&, optional<double>, double, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::linear_js_div");
  return call.call(input, linear_weight, target, linear_bias, target_weight, target_bias, kind,
                   weight, mask, softcap, temperature, reduction, dtype);
}

// ---- several quantities in a single pass, and losses of language models ----

struct LogProbs {
  Tensor log_prob, entropy, logsumexp;
};
// The log-probability of the class `index`, the entropy of the row, and its log-normalizer.
inline LogProbs log_probs(const Tensor& logits, const Tensor& index, int64_t dim = -1,
                          double temperature = 1, int64_t ignore_index = -100,
                          optional<ScalarType> dtype = {}) {
  using Signature = std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, int64_t,
                                                       double, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::log_probs");
  auto [log_prob, entropy, logsumexp] =
      call.call(logits, index, dim, temperature, ignore_index, dtype);
  return {log_prob, entropy, logsumexp};
}

inline LogProbs linear_log_probs(const Tensor& input, const Tensor& linear_weight,
                                 const Tensor& index, const optional<Tensor>& linear_bias = {},
                                 optional<double> softcap = {}, double temperature = 1,
                                 int64_t ignore_index = -100, optional<ScalarType> dtype = {}) {
  using Signature = std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&,
                                                       const optional<Tensor>&, optional<double>,
                                                       double, int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::linear_log_probs");
  auto [log_prob, entropy, logsumexp] = call.call(input, linear_weight, index, linear_bias, softcap,
                                                  temperature, ignore_index, dtype);
  return {log_prob, entropy, logsumexp};
}

// `target` has all classes, or log-probabilities of `target_classes`; the rest is then one class.
inline Tensor distillation_loss(const Tensor& input, const Tensor& target,
                                const optional<Tensor>& target_classes = {},
                                string_view divergence = "kl", string_view kind = "logits",
                                double weight = 0.5, double temperature = 1,
                                const optional<Tensor>& mask = {}, optional<double> base = {},
                                int64_t reduction = at::Reduction::Mean,
                                optional<ScalarType> dtype = {}) {
  using Signature = Tensor(const Tensor&, const Tensor&, const optional<Tensor>&, string_view,
                           string_view, double, double, const optional<Tensor>&, optional<double>,
                           int64_t, optional<ScalarType>);
  static const auto call = schema::op<Signature>("torch_infotheory::distillation_loss");
  return call.call(input, target, target_classes, divergence, kind, weight, temperature, mask, base,
                   reduction, dtype);
}

inline Tensor kl_estimate(const Tensor& log_p, const Tensor& log_q, string_view estimator = "k3") {
  using Signature = Tensor(const Tensor&, const Tensor&, string_view);
  static const auto call = schema::op<Signature>("torch_infotheory::kl_estimate");
  return call.call(log_p, log_q, estimator);
}

}  // namespace torch_infotheory
