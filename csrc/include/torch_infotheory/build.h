// torch_infotheory/build.h -- what this library was built from and what of it runs here.
#pragma once
#include <string>

namespace torch_infotheory {

struct Build {
  std::string compiler;
  std::string torch;             // the release whose headers were compiled
  std::string instruction_sets;  // that there are CPU kernels of, separated by spaces
  std::string instruction_set;   // the one that runs on this machine
  std::string cuda;              // the architectures of the CUDA kernels; empty without any
  std::string why_not_cuda;
};
__attribute__((visibility("default"))) Build build();

}  // namespace torch_infotheory
