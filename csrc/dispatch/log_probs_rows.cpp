// log_probs_rows.cpp -- log_probs of plain tensors, from one reading and with one gradient.
//
// The row op of the entropy saves the log-normalizer, and its backward op with a modified total
// yields the gradient of all three results.
#include <algorithm>

#include "dispatch/arguments.h"
#include "dispatch/cpu.h"
#include "dispatch/log_probs.h"

namespace torch_infotheory {
namespace {

// The logit of a class of each row, divided by the temperature as the kernels do: by a tensor,
// because CUDA multiplies by the inverse of a number.
Tensor logit_of(const Tensor& x, const Tensor& classes, const LogProbsOptions& o) {
  const Tensor logit = widened(x.gather(o.dim, classes.unsqueeze(o.dim)).squeeze(o.dim));
  return o.temperature == 1 ? logit : logit / at::full({}, o.temperature, logit.options());
}

// The gradient is g_H dH/dx + p_c (g_z - g_l), and g_l at the class of the index, for the gradients
// g_H, g_z and g_l of the entropy, the log-normalizer and the log-probability. The backward op
// returns g (w_c - p_c T) with the total T that the entropy saves, so the total T + (g_l - g_z) /
// g_H makes it return the first two terms. Where g_H is so small that this overflows, g_H is
// replaced by a factor whose contribution is less than the rounding of the rest. The class of the
// index is computed apart, so that it is rounded once.
template <class V>
struct GradientOfRow {
  V factor, total, own;
  GradientOfRow(V log_p, V total_of_entropy, V g_l, V g_H, V g_z, double negligible) {
    const V shift = g_l - g_z, p = exp(log_p), least = magnitude(shift) * V(negligible);
    factor = select(magnitude(g_H) < least, least, g_H);
    total = total_of_entropy + select(factor == V(0), V(0), shift / factor);
    own = g_l - p * shift - g_H * p * (log_p + V(1) + total_of_entropy);
  }

 private:
  static V magnitude(V x) { return select(x < V(0), -x, x); }
};
// Of all rows.
struct GradientOfRows {
  Tensor factor, saved, own;  // `saved` with the total that the backward op is to use
  bool may_be_ignored;
};
GradientOfRows gradient_of_rows(const Tensor& x, const Tensor& index, const Tensor& saved,
                                const LogProbsOptions& o, const std::vector<Tensor>& grad_results,
                                double negligible) {
  const ChosenClasses chosen(index, o);
  const auto [g_l, g_H, g_z] = chosen.cotangents(grad_results, saved.scalar_type());
  const Tensor logit = logit_of(x, chosen.classes, o).to(saved.scalar_type());
  const GradientOfRow<Lane> rows(logit - saved[kHigh] - saved[kLogSum], saved[kTotal], g_l, g_H,
                                 g_z, negligible);
  return {rows.factor.t, at::stack({saved[kHigh], saved[kLogSum], rows.total.t}),
          chosen.mask_rows(rows.own.t), true};
}

// On the CPU the numbers of rows are computed in a loop, because two dozen operations of torch take
// longer than many a reading of the logits.
bool are_numbers_on_cpu(at::ArrayRef<Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& t) {
    return !t.defined() || (t.is_cpu() && is_plain_tensor(t));
  });
}
class RowsOnCpu {
 public:
  const int64_t n;
  RowsOnCpu(const Tensor& x, const Tensor& index, const Tensor& saved, const LogProbsOptions& o)
      : n(index.numel()),
        ignore_index(o.ignore_index),
        label_memory(index.to(at::kLong).contiguous()),
        logit_memory(negative_logits(x, index, o)),
        labels(label_memory.const_data_ptr<int64_t>()),
        logits(logit_memory.const_data_ptr<double>()),
        numbers(saved.const_data_ptr<double>()),
        read{.temperature = o.temperature,
             .quotient = x.scalar_type() == at::kDouble ? kDouble : kFloat} {}
  bool counts(int64_t row) const { return labels[row] != ignore_index; }
  double saved(Saved number, int64_t row) const { return numbers[number * n + row]; }
  double log_p(int64_t row) const {
    return tempered(-logits[row], read) - saved(kHigh, row) - saved(kLogSum, row);
  }

 private:
  // The kernels gather -x of the label as the loss of a log-probability.
  static Tensor negative_logits(const Tensor& x, const Tensor& index, const LogProbsOptions& o) {
    Options gather = o.label_options();
    gather.q_kind = kLogProbs;
    gather.temperature = 1;
    return std::get<0>(call_forward<CrossEntropy>({index, x, {}}, gather, at::kDouble));
  }
  int64_t ignore_index;
  Tensor label_memory, logit_memory;
  const int64_t* labels;
  const double *logits, *numbers;
  Operand read;
};
GradientOfRows gradient_on_cpu(const Tensor& x, const Tensor& index, const Tensor& saved,
                               const LogProbsOptions& o, const std::vector<Tensor>& grad_results,
                               double negligible) {
  const RowsOnCpu rows(x, index, saved, o);
  std::array<Tensor, 3> wide;
  std::array<const double*, 3> g{};
  for (size_t i = 0; i < wide.size(); ++i) {
    if (!grad_results[i].defined()) continue;
    wide[i] = grad_results[i].to(at::kDouble).contiguous();
    g[i] = wide[i].const_data_ptr<double>();
  }
  GradientOfRows out{at::empty(index.sizes(), saved.options()), saved.clone(),
                     at::empty(index.sizes(), saved.options()), false};
  double *factor = out.factor.mutable_data_ptr<double>(), *own = out.own.mutable_data_ptr<double>(),
         *total = out.saved.mutable_data_ptr<double>() + kTotal * rows.n;
  const auto at = [&](size_t result, int64_t j) { return g[result] ? g[result][j] : 0; };
  for (int64_t j = 0; j < rows.n; ++j) {
    factor[j] = own[j] = 0;
    if (!rows.counts(j)) {
      out.may_be_ignored = true;
      continue;
    }
    const GradientOfRow<double> row(rows.log_p(j), rows.saved(kTotal, j), at(0, j), at(1, j),
                                    at(2, j), negligible);
    factor[j] = row.factor, total[j] = row.total, own[j] = row.own;
  }
  return out;
}

}  // namespace

Tensor log_probs_gradient(const Tensor& x, const Tensor& index, const Tensor& saved,
                          const LogProbsOptions& o, const std::vector<Tensor>& grad_results,
                          const Tensor& out) {
  const ScalarType exact = exact_type(x.scalar_type());
  const double negligible = exact == at::kDouble ? 0x1p-70 : 0x1p-36;
  const bool on_cpu = are_numbers_on_cpu({x, index, saved}) && are_numbers_on_cpu(grad_results);
  const GradientOfRows rows =
      (on_cpu ? gradient_on_cpu : gradient_of_rows)(x, index, saved, o, grad_results, negligible);
  Tensor gradient = backward_into<Entropy>(rows.factor.to(exact), {x, {}, {}}, rows.saved,
                                           o.entropy_options(), kWrtP, out);
  const Tensor own = (rows.own / o.temperature).to(gradient.scalar_type()).unsqueeze(o.dim);
  if (!rows.may_be_ignored)
    return gradient.scatter_(o.dim, index.to(at::kLong).unsqueeze(o.dim), own);
  const ChosenClasses chosen(index, o);
  gradient.scatter_(o.dim, chosen.classes.unsqueeze(o.dim), own);
  return gradient.masked_fill_(chosen.counts.logical_not().unsqueeze(o.dim), 0);
}

std::tuple<LogProbs, Tensor> log_probs_forward(const Tensor& x, const Tensor& index,
                                               const LogProbsOptions& o) {
  if (are_numbers_on_cpu({x, index})) {
    auto [entropy, saved] = call_forward<Entropy>({x, {}, {}}, o.entropy_options(), at::kDouble);
    const RowsOnCpu rows(x, index, saved, o);
    const Tensor log_prob = at::empty_like(entropy), logsumexp = at::empty_like(entropy);
    double *l = log_prob.mutable_data_ptr<double>(), *h = entropy.mutable_data_ptr<double>(),
           *z = logsumexp.mutable_data_ptr<double>();
    for (int64_t j = 0; j < rows.n; ++j) {
      const bool counts = rows.counts(j);
      l[j] = counts ? rows.log_p(j) : 0;
      z[j] = counts ? rows.saved(kHigh, j) + rows.saved(kLogSum, j) : 0;
      if (!counts) h[j] = 0;
    }
    return {{log_prob, entropy, logsumexp}, saved};
  }
  const auto [entropy, saved] =
      call_forward<Entropy>({x, {}, {}}, o.entropy_options(), exact_type(x.scalar_type()));
  const ChosenClasses chosen(index, o);
  const Tensor logit = logit_of(x, chosen.classes, o).to(saved.scalar_type());
  return {{chosen.mask_rows(logit - saved[kHigh] - saved[kLogSum]), chosen.mask_rows(entropy),
           chosen.mask_rows(saved[kHigh] + saved[kLogSum])},
          saved};
}

}  // namespace torch_infotheory
