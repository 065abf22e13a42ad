// train.cpp -- trains a classifier with LibTorch and the losses of torch_infotheory, and measures
// in bits what it learns. No Python is involved.
//
// The points lie on three arms of a spiral; the network says which arm a point belongs to. One line
// is printed per epoch, the untrained network being epoch 0.
#include <torch/torch.h>
#include <torch_infotheory/ops.h>

#include <cmath>
#include <cstdio>

namespace it = torch_infotheory;
using torch::Tensor;

constexpr int kArms = 3, kPointsPerArm = 200, kEpochs = 20, kBatch = 50;

struct Spiral {
  Tensor points, arms;
};

Spiral draw_spiral() {
  const Tensor arms = torch::arange(kArms).repeat_interleave(kPointsPerArm);
  const Tensor radius = torch::linspace(0.1, 1, kPointsPerArm).repeat(kArms);
  const Tensor noise = 0.2 * torch::randn(kArms * kPointsPerArm);
  const Tensor angle = 4 * radius + 2 * M_PI / kArms * arms + noise;
  return {torch::stack({radius * angle.cos(), radius * angle.sin()}, 1), arms};
}

// The layers are made one after the other, so that the seed fixes which random numbers each gets.
torch::nn::Sequential make_network() {
  torch::nn::Sequential network;
  network->push_back(torch::nn::Linear(2, 32));
  network->push_back(torch::nn::Tanh());
  network->push_back(torch::nn::Linear(32, 32));
  network->push_back(torch::nn::Tanh());
  network->push_back(torch::nn::Linear(32, kArms));
  return network;
}

void train_one_epoch(torch::nn::Sequential& network, torch::optim::Optimizer& optimizer,
                     const Spiral& data) {
  for (const Tensor& batch : torch::randperm(kArms * kPointsPerArm).split(kBatch)) {
    const Tensor loss = it::cross_entropy_loss(network->forward(data.points.index_select(0, batch)),
                                               data.arms.index_select(0, batch));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
}

void print_measurements(int epoch, torch::nn::Sequential& network, const Spiral& data) {
  const torch::NoGradGuard no_grad;
  const Tensor logits = network->forward(data.points), predictions = logits.argmax(1);
  const Tensor loss = it::cross_entropy_loss(logits, data.arms);
  const Tensor accuracy = (predictions == data.arms).to(torch::kDouble).mean();
  const Tensor entropy = it::entropy(logits, /*dim=*/1, "logits", /*base=*/2).mean();

  // How often each arm is predicted for each arm, as a joint distribution.
  Tensor confusion = torch::zeros({kArms, kArms});
  confusion.index_put_({data.arms, predictions}, torch::tensor(1.0f / data.arms.numel()),
                       /*accumulate=*/true);
  const Tensor information = it::mutual_information(confusion, -2, -1, "probs", /*base=*/2);

  std::printf("%5d %12.6f %9.4f %13.6f %17.6f\n", epoch, loss.item<double>(),
              accuracy.item<double>(), entropy.item<double>(), information.item<double>());
}

int main() {
  torch::manual_seed(0);
  const Spiral data = draw_spiral();
  torch::nn::Sequential network = make_network();
  torch::optim::Adam optimizer(network->parameters(), /*lr=*/0.02);

  std::puts("epoch   loss, nats  accuracy  entropy, bits  information, bits");
  for (int epoch = 0; epoch <= kEpochs; ++epoch) {
    if (epoch > 0) train_one_epoch(network, optimizer, data);
    print_measurements(epoch, network, data);
  }
}
