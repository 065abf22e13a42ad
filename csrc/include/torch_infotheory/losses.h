// torch_infotheory/losses.h -- the losses.
#pragma once
#include <ATen/core/Reduction.h>

#include "torch_infotheory/schema.h"

namespace torch_infotheory {

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
