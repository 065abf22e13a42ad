// torch_infotheory/tables.h -- the measures of joint tables, and tables from data.
#pragma once
#include "torch_infotheory/schema.h"

namespace torch_infotheory {

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

}  // namespace torch_infotheory
