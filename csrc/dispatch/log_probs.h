// log_probs.h -- log-probability of a class, entropy and log-normalizer of rows of logits.
#pragma once
#include <vector>

#include "dispatch/signature.h"

namespace torch_infotheory {

// log_prob, entropy, logsumexp.
using LogProbs = std::tuple<Tensor, Tensor, Tensor>;

struct LogProbsOptions {
  int64_t dim = -1, ignore_index = kIgnoreIndex;
  double temperature = 1;
  auto fields() { return std::tie(dim, ignore_index, temperature); }
  Options entropy_options() const {
    return {.dim = dim, .p_kind = kLogits, .temperature = temperature};
  }
  Options label_options() const {
    return {.dim = dim,
            .p_kind = kLabels,
            .q_kind = kLogits,
            .ignore_index = ignore_index,
            .temperature = temperature};
  }
};

// A single pass: the results in the widest type, and the tensor that backward needs.
std::tuple<LogProbs, Tensor> log_probs_forward(const Tensor& logits, const Tensor& index,
                                               const LogProbsOptions& o);
// The gradient of the logits, given those of the results; undefined ones are 0. See backward_into
// for `out`.
Tensor log_probs_gradient(const Tensor& logits, const Tensor& index, const Tensor& saved,
                          const LogProbsOptions& o, const std::vector<Tensor>& grad_results,
                          const Tensor& out = {});

// The same as compositions of row ops, which can be differentiated further.
LogProbs composed_log_probs(const Tensor& logits, const Tensor& index, const LogProbsOptions& o);
Tensor composed_log_probs_gradient(const Tensor& logits, const Tensor& index,
                                   const LogProbsOptions& o,
                                   const std::vector<Tensor>& grad_results);

}  // namespace torch_infotheory
