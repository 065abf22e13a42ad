// log_probs.h -- log-probability of a class, entropy and log-normalizer of rows of logits.
#pragma once
#include <array>
#include <vector>

#include "dispatch/distributions.h"
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

namespace {

// Which rows count, and a valid class for every row.
struct ChosenClasses {
  Tensor counts, classes;
  ChosenClasses(const Tensor& index, const LogProbsOptions& o)
      : counts(not_ignored(index, o.ignore_index)),
        classes(at::where(counts, index, 0).to(at::kLong)) {}
  // Sets ignored rows to 0, because their contents must not affect a gradient.
  Tensor mask_rows(const Tensor& x) const { return at::where(counts, x, 0.); }
  Tensor mask_classes(const Tensor& x, int64_t dim) const {
    return at::where(counts.unsqueeze(dim), x, 0.);
  }
  // The gradients of the results in `type`; undefined ones are 0.
  std::array<Tensor, 3> cotangents(const std::vector<Tensor>& grad_results, ScalarType type) const {
    std::array<Tensor, 3> out;
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = grad_results[i].defined()
                   ? mask_rows(grad_results[i].to(type))
                   : at::zeros_symint(counts.sym_sizes(), counts.options().dtype(type));
    return out;
  }
};

}  // namespace

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
