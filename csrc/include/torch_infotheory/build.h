// torch_infotheory/build.h -- how this library was built, and the instruction set in use.
#pragma once
#include <string>

namespace torch_infotheory {

struct Build {
  std::string compiler;
  std::string torch;             // the release whose headers were compiled
  std::string instruction_sets;  // of the CPU kernels, separated by spaces
  std::string instruction_set;   // the one that runs on this machine
  std::string cuda;              // the architectures of the CUDA kernels; empty without any
  std::string why_not_cuda;
};
__attribute__((visibility("default"))) Build build();

}  // namespace torch_infotheory
