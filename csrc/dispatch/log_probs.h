// log_probs.h -- the log-probability of a class, the entropy and the log-normalizer of rows of
// logits: for logits that are there, and for those that linear.cpp makes of hidden states.
//
// Knows tensors and row ops; must not know how a row is reduced. Read next: log_probs.cpp.
#pragma once
#include <vector>

#include "dispatch/signature.h"

namespace torch_infotheory {

// log_prob, entropy, logsumexp.
using LogProbs = std::tuple<Tensor, Tensor, Tensor>;

struct LogProbsOptions {
  int64_t dim = -1, ignore_index = -100;
  auto fields() { return std::tie(dim, ignore_index); }
  Options of_entropy() const { return {.dim = dim, .p_kind = kLogits}; }
  Options of_labels() const {
    return {.dim = dim, .p_kind = kLabels, .q_kind = kLogits, .ignore_index = ignore_index};
  }
};

// From one reading, the results in the widest type; and what backward needs.
std::tuple<LogProbs, Tensor> read_log_probs(const Tensor& logits, const Tensor& index,
                                            const LogProbsOptions& o);
// By the logits, given the derivatives by the results; undefined ones are 0.
Tensor log_probs_gradient(const Tensor& logits, const Tensor& index, const Tensor& saved,
                          const LogProbsOptions& o, const std::vector<Tensor>& by_results);

// The same as compositions of row ops, which can be differentiated further.
LogProbs composed_log_probs(const Tensor& logits, const Tensor& index, const LogProbsOptions& o);
Tensor composed_log_probs_gradient(const Tensor& logits, const Tensor& index,
                                   const LogProbsOptions& o, const std::vector<Tensor>& by_results);

}  // namespace torch_infotheory
