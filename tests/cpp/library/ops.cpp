// ops.cpp -- every function of torch_infotheory/ops.h, in a program without Python: its value and
// its gradients against the definition, written in operations of torch.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch_infotheory/ops.h>

#include <cmath>
#include <cstdio>
#include <vector>

namespace it = torch_infotheory;
using at::Tensor;

int checks = 0, failures = 0;

void check_close(const char* name, const char* what, const Tensor& ours, const Tensor& expected) {
  ++checks;
  if (ours.sizes() == expected.sizes() && at::allclose(ours, expected, 1e-10, 1e-12)) return;
  ++failures;
  std::fprintf(stderr, "FAILED %s: %s differs by %g\n", name, what,
               (ours - expected).abs().max().item<double>());
}

// Each value gets a weight of its own, so that the gradients of two values cannot be exchanged.
std::vector<Tensor> gradients(const Tensor& value, const std::vector<Tensor>& inputs) {
  const Tensor weights = at::linspace(1, 2, value.numel(), at::kDouble).view(value.sizes());
  return torch::autograd::grad({(value * weights).sum()}, inputs, /*grad_outputs=*/{},
                               /*retain_graph=*/true);
}

void check(const char* name, const Tensor& ours, const Tensor& expected,
           const std::vector<Tensor>& inputs) {
  check_close(name, "value", ours, expected);
  const auto slopes = gradients(ours, inputs), expected_slopes = gradients(expected, inputs);
  for (size_t i = 0; i < inputs.size(); ++i)
    check_close(name, "gradient", slopes[i], expected_slopes[i]);
}

Tensor leaf(const Tensor& x) { return x.detach().requires_grad_(); }
Tensor normal(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
Tensor expectation(const Tensor& p, const Tensor& score) { return (p * score).sum(-1); }

void check_measures() {
  const Tensor p = leaf(normal({3, 5}).softmax(-1)), q = leaf(normal({3, 5}).softmax(-1));
  const Tensor logits = leaf(normal({3, 5})), log_q = logits.log_softmax(-1);
  const Tensor mean = (p + q) / 2;

  check("self_information", it::self_information(p, -1, "probs", 2), -p.log2(), {p});
  check("entropy", it::entropy(p), -expectation(p, p.log()), {p});
  check("entropy, with options", it::entropy(logits, 0, "logits", 2, /*keepdim=*/true),
        -(logits.softmax(0) * logits.log_softmax(0)).sum(0, true) / std::log(2), {logits});
  check("perplexity", it::perplexity(p), (-expectation(p, p.log())).exp(), {p});
  check("cross_entropy", it::cross_entropy(p, logits, -1, "probs", "logits"),
        -expectation(p, log_q), {p, logits});
  check("kl_divergence", it::kl_divergence(p, q), expectation(p, p.log() - q.log()), {p, q});
  check("js_divergence", it::js_divergence(p, q, -1, "probs", {}, 2),
        (expectation(p, (p / mean).log2()) + expectation(q, (q / mean).log2())) / 2, {p, q});
}

void check_other_divergences() {
  const Tensor p = leaf(normal({3, 5}).softmax(-1)), q = leaf(normal({3, 5}).softmax(-1));
  const Tensor m = 0.75 * p + 0.25 * q;
  const Tensor js = 0.75 * expectation(p, (p / m).log()) + 0.25 * expectation(q, (q / m).log());
  const Tensor roots = (p.sqrt() - q.sqrt()).square().sum(-1) / 2;
  const Tensor p3 = p.pow(3).sum(-1), mixed = (p.pow(3) * q.pow(-2)).sum(-1);

  check("js_divergence, weighted", it::js_divergence(p, q, -1, "probs", {}, {}, false, {}, 0.25),
        js, {p, q});
  check("js_distance", it::js_distance(p, q, -1, "probs", {}, {}, false, {}, 0.25), js.sqrt(),
        {p, q});
  check("jeffreys_divergence", it::jeffreys_divergence(p, q), ((p - q) * (p / q).log()).sum(-1),
        {p, q});
  check("squared_hellinger_distance", it::squared_hellinger_distance(p, q), roots, {p, q});
  check("hellinger_distance", it::hellinger_distance(p, q), roots.sqrt(), {p, q});
  check("bhattacharyya_coefficient", it::bhattacharyya_coefficient(p, q), (p * q).sqrt().sum(-1),
        {p, q});
  check("total_variation_distance", it::total_variation_distance(p, q), (p - q).abs().sum(-1) / 2,
        {p, q});
  check("chi_squared_divergence", it::chi_squared_divergence(p, q), ((p - q).square() / q).sum(-1),
        {p, q});
  check("renyi_entropy", it::renyi_entropy(p, 3), (p3 / p.sum(-1)).log() / -2, {p});
  check("tsallis_entropy", it::tsallis_entropy(p, 3), (p.sum(-1) - p3) / 2, {p});
  check("renyi_divergence", it::renyi_divergence(p, q, 3), (mixed / p.sum(-1)).log() / 2, {p});
  check("alpha_divergence", it::alpha_divergence(p, q, 3),
        (mixed - 3 * p.sum(-1) + 2 * q.sum(-1)) / 6, {p, q});
  const Tensor mean = p.mean(0);
  check("mixture_divergence", it::mixture_divergence(p, 0),
        expectation(p, p.log()).mean() - expectation(mean, mean.log()), {p});
}

void check_measures_of_tables() {
  const Tensor joint = leaf(normal({2, 12}).softmax(-1).view({2, 3, 4}));
  const Tensor log_x = joint.sum(-1, /*keepdim=*/true).log(), log_y = joint.sum(-2, true).log();
  const Tensor dependence = joint.log() - log_x - log_y;
  const auto mean = [&](const Tensor& score) { return (joint * score).sum({-2, -1}); };

  check("joint_entropy", it::joint_entropy(joint), -mean(joint.log()), {joint});
  check("conditional_entropy", it::conditional_entropy(joint), mean(log_x - joint.log()), {joint});
  check("conditional_entropy, of the other", it::conditional_entropy(joint, -1, -2),
        mean(log_y - joint.log()), {joint});
  check("mutual_information", it::mutual_information(joint, -2, -1, "probs", 2),
        mean(dependence) / std::log(2), {joint});
  check("variation_of_information", it::variation_of_information(joint),
        mean(log_x + log_y - 2 * joint.log()), {joint});
  check("pointwise_mutual_information", it::pointwise_mutual_information(joint), dependence,
        {joint});
  check("pointwise_mutual_information, normalized",
        it::pointwise_mutual_information(joint, -2, -1, "probs", {}, /*normalized=*/true),
        dependence / -joint.log(), {joint});
}

void check_losses() {
  const Tensor logits = leaf(normal({3, 5})), log_q = leaf(normal({3, 5}).log_softmax(-1));
  const Tensor p = leaf(normal({3, 5}).softmax(-1)), labels = at::tensor({4, 0, 2}, at::kLong);
  const Tensor weight = at::linspace(0.5, 2, 5, at::kDouble),
               ignored = at::tensor({4, -1, 2}, at::kLong);
  const auto sum = at::Reduction::Sum, none = at::Reduction::None;

  check("cross_entropy_loss", it::cross_entropy_loss(logits, labels),
        at::cross_entropy_loss(logits, labels), {logits});
  check("cross_entropy_loss, with options",
        it::cross_entropy_loss(logits, ignored, weight, none, -1, 0.1),
        at::cross_entropy_loss(logits, ignored, weight, none, -1, 0.1), {logits});
  check("nll_loss", it::nll_loss(log_q, labels, weight, sum),
        at::nll_loss(log_q, labels, weight, sum), {log_q});
  check("kl_div", it::kl_div(log_q, p, sum), at::kl_div(log_q, p, sum), {log_q, p});

  const Tensor entropies = -expectation(logits.softmax(-1), logits.log_softmax(-1));
  check("entropy_loss", it::entropy_loss(logits), entropies.mean(), {logits});
  const Tensor q = logits.softmax(-1), mean = (p + q) / 2;
  const Tensor divergence =
      (expectation(p, (p / mean).log()) + expectation(q, (q / mean).log())) / 2;
  check("js_div", it::js_div(logits, p, -1, "logits", "probs", {}, sum), divergence.sum(),
        {logits, p});
}

void check_language_models() {
  const Tensor logits = leaf(normal({3, 5})), teacher = normal({3, 5});
  const Tensor index = at::tensor({4, 0, 2});
  const Tensor log_p = logits.log_softmax(-1), log_t = teacher.log_softmax(-1);
  const Tensor of_index = log_p.gather(-1, index.unsqueeze(-1)).squeeze(-1);

  const it::LogProbs results = it::log_probs(logits, index);
  check("log_probs", results.log_prob, of_index, {logits});
  check("log_probs, entropy", results.entropy, -expectation(log_p.exp(), log_p), {logits});
  check("log_probs, logsumexp", results.logsumexp, logits.logsumexp(-1), {logits});
  const Tensor hidden = leaf(normal({3, 4})), weight = leaf(normal({5, 4}));
  check("linear_log_probs", it::linear_log_probs(hidden, weight, index).logsumexp,
        hidden.mm(weight.t()).logsumexp(-1), {hidden, weight});
  check("distillation_loss", it::distillation_loss(logits, teacher),
        expectation(log_t.exp(), log_t - log_p).mean(), {logits});
  check("kl_estimate", it::kl_estimate(log_p, log_t), (log_t - log_p).exp() - 1 - (log_t - log_p),
        {logits});
  check("entropy, with a temperature",
        it::entropy(logits, -1, "logits", {}, false, {}, /*temperature=*/2),
        -expectation((logits / 2).softmax(-1), (logits / 2).log_softmax(-1)), {logits});
}

int main() {
  at::manual_seed(0);
  check_measures();
  check_other_divergences();
  check_measures_of_tables();
  check_losses();
  check_language_models();
  std::printf("ops: %d checks, %d failed\n", checks, failures);
  return failures > 0 || checks == 0;
}
