// run_package.cpp -- runs an AOTInductor package without Python: the classifier that
// examples/cpp/export_package.py compiled, with a loss and an entropy of torch_infotheory inside.
//
//   run_package classifier.pt2
//
// The package names the operators of torch_infotheory; the library that registers them is linked.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: run_package classifier.pt2\n");
    return 2;
  }
  const c10::InferenceMode inference;
  torch::inductor::AOTIModelPackageLoader classifier(argv[1]);

  // The number of points was left open when the package was compiled.
  for (const int64_t points : {2, 7}) {
    const at::Tensor features = at::linspace(-2, 2, 4 * points).view({points, 4});
    const at::Tensor labels = at::arange(points).remainder(3);
    const auto outputs = classifier.run({features, labels});
    std::printf("loss %.6f nats, entropy", outputs.at(0).item<double>());
    for (int64_t i = 0; i < points; ++i) std::printf(" %.6f", outputs.at(1)[i].item<double>());
    std::puts(" bits");
  }
}
