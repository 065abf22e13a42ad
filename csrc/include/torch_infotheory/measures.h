// torch_infotheory/measures.h -- the measures of distributions.
#pragma once
#include "torch_infotheory/schema.h"

namespace torch_infotheory {

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

}  // namespace torch_infotheory
