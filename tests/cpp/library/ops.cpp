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

Tensor entropy_of(const Tensor& joint, at::IntArrayRef summed_out) {
  const Tensor p = summed_out.empty() ? joint : joint.sum(summed_out);
  return -(p * p.log()).flatten(1).sum(-1);
}

// Sums of entropies, which the library does not take.
void check_measures_of_more_variables() {
  const Tensor joint = leaf(normal({2, 24}).softmax(-1).view({2, 2, 3, 4}));  // of X, Y and Z
  const Tensor h = entropy_of(joint, {}), h_x = entropy_of(joint, {2, 3}),
               h_y = entropy_of(joint, {1, 3}), h_z = entropy_of(joint, {1, 2}),
               h_xy = entropy_of(joint, {3}), h_xz = entropy_of(joint, {2}),
               h_yz = entropy_of(joint, {1}), total = joint.sum({1, 2, 3});
  const Tensor none = total * total.log();  // 0, but for its gradient

  check("conditional_mutual_information",
        it::conditional_mutual_information(joint, -3, -2, -1, "probs", 2),
        (h_xz + h_yz - h - h_z) / std::log(2), {joint});
  check("conditional_mutual_information, of pairs",
        it::conditional_mutual_information(joint, {1, 2}, 3, {}), h_xy + h_z - h + none, {joint});
  check("total_correlation", it::total_correlation(joint, {1, 2, 3}), h_x + h_y + h_z - h, {joint});
  check("total_correlation, of pairs", it::total_correlation(joint, {{1, 3}, 2}), h_xz + h_y - h,
        {joint});
  check("dual_total_correlation",
        it::dual_total_correlation(joint, {3, 1, 2}, "probs", {}, /*keepdim=*/true),
        (h_xy + h_xz + h_yz - 2 * h).view({2, 1, 1, 1}), {joint});
  check("co_information", it::co_information(joint, {1, 2, 3}),
        h_x + h_y + h_z - h_xy - h_xz - h_yz + h, {joint});
  check_close("co_information, of counts", "value",
              it::co_information(17 * joint, {1, 2, 3}, "counts"),
              it::co_information(joint, {1, 2, 3}));
  check("co_information, of pairs", it::co_information(joint, {1, {2, 3}}), h_x + h_yz - h,
        {joint});

  check("normalized_mutual_information", it::normalized_mutual_information(joint, {1, 2}, 3),
        (h_xy + h_z - h) / ((h_xy + h_z) / 2), {joint});
  check("normalized_mutual_information, studholme",
        it::normalized_mutual_information(joint, {1, 2}, 3, "studholme"), (h_xy + h_z) / h,
        {joint});
  const Tensor table = leaf(normal({2, 12}).softmax(-1).view({2, 3, 4}));
  const Tensor product = table.sum(-1, /*keepdim=*/true) * table.sum(-2, true);
  check("lautum_information", it::lautum_information(table),
        (product * (product / table).log()).sum({-2, -1}), {table});
  check("positive_pointwise_mutual_information", it::positive_pointwise_mutual_information(table),
        (table / product).log().clamp_min(0), {table});
  const Tensor p = leaf(normal({3, 4}).sigmoid()), logits = leaf(normal({3, 4}));
  check("binary_entropy", it::binary_entropy(p, "probs", 2),
        -p * p.log2() - (1 - p) * (1 - p).log2(), {p});
  const Tensor q = logits.sigmoid();
  check("binary_entropy, of logits", it::binary_entropy(logits, "logits"),
        -q * q.log() - (1 - q) * (1 - q).log(), {logits});
}

void check_tables_of_data() {
  const Tensor x = at::tensor({0, 2, 1, 2, -1, 2}), y = at::tensor({1, 0, 1, 0, 1, 1});
  const Tensor weight = leaf(at::linspace(1, 2, 6, at::kDouble));
  // Products of indicators, summed over the samples.
  const auto indicators = [](const Tensor& labels, int64_t classes) {
    return (labels.unsqueeze(-1) == at::arange(classes)).to(at::kDouble);
  };
  const Tensor of_x = indicators(x, 3), of_y = indicators(y, 2), counts = of_x.t().mm(of_y);

  check_close("joint_table", "value", it::joint_table(x, y).to(at::kDouble), counts);
  check_close("joint_table, of more classes", "value",
              it::joint_table(x, y, 4, 3, {}, /*dim=*/0, at::kDouble),
              at::constant_pad_nd(counts, {0, 1, 0, 1}));
  check("joint_table, weighted", it::joint_table(x, y, {}, {}, weight),
        (of_x * weight.unsqueeze(-1)).t().mm(of_y), {weight});
  const Tensor z = at::tensor({0, 1, 0, 1, 1, 0});
  check("joint_table, of columns", it::joint_table(at::stack({x, y, z}), {3, 2, 2}, weight),
        at::einsum("nx,ny,nz,n->xyz", {of_x, of_y, indicators(z, 2), weight}), {weight});

  // The linear window is 1 - |distance| between neighboring cells.
  const Tensor a = leaf(normal({2, 5})), b = leaf(normal({2, 5}));
  const auto window = [](const Tensor& samples, double low, double high) {
    const Tensor place = (samples.clamp(low, high) - low) * (3 / (high - low));
    return (1 - (place.unsqueeze(-1) - at::arange(4, at::kDouble)).abs()).clamp_min(0);
  };
  const Tensor mask = at::tensor({1, 1, 0, 1, 1}).to(at::kBool);
  const Tensor kept = mask.to(at::kDouble).view({1, 5, 1}) / 4;
  check("soft_joint_histogram",
        it::soft_joint_histogram(a, b, 4, {{-1, 2}}, {{-3, 1.5}}, "linear", mask),
        (kept * window(a, -1, 2)).transpose(1, 2).matmul(window(b, -3, 1.5)), {a, b});
  const Tensor cubic = it::soft_joint_histogram(a, b, 8);
  check_close("soft_joint_histogram, without a range", "total", cubic.sum({1, 2}),
              at::ones(2, at::kDouble));
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
  check_measures_of_more_variables();
  check_tables_of_data();
  check_losses();
  check_language_models();
  std::printf("ops: %d checks, %d failed\n", checks, failures);
  return failures > 0 || checks == 0;
}
