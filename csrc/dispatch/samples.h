// samples.h -- samples of several variables along one dimension of each tensor.
#pragma once
#include "dispatch/dims.h"

namespace torch_infotheory {
namespace {

// Moves the samples to the last dimension.
inline Tensor samples_last(const char* op, const char* argument, const Tensor& t, int64_t dim) {
  TORCH_CHECK(t.dim() > 0, op, ": expected samples along a dimension, got ", argument, " without");
  return t.movedim(wrapped_dims(op, "dim", dim, argument, t)[0], -1);
}

// Expands all tensors to one shape. `dim` is the original dimension of the samples.
inline std::vector<Tensor> broadcast_samples(const char* op, const std::vector<Tensor>& tensors,
                                             int64_t dim) {
  const auto shapes = [&] {
    std::string text;
    for (const Tensor& t : tensors) text += (text.empty() ? "" : " and ") + c10::str(t.sym_sizes());
    return text;
  };
  c10::SymDimVector common;
  for (const Tensor& t : tensors) {
    TORCH_CHECK(t.device() == tensors[0].device(), op, ": expected one device, got ",
                tensors[0].device(), " and ", t.device());
    TORCH_CHECK(t.sym_size(-1) == tensors[0].sym_size(-1), op,
                ": expected as many samples along dim ", dim, ", got ", shapes(), ", samples last");
    const auto sizes = t.sym_sizes();
    if (sizes.size() > common.size())
      common.insert(common.begin(), sizes.size() - common.size(), 1);
    for (size_t i = 1; i <= sizes.size(); ++i) {
      c10::SymInt& common_size = common[common.size() - i];
      const c10::SymInt& n = sizes[sizes.size() - i];
      if (common_size == 1) common_size = n;
      TORCH_CHECK(n == common_size || n == 1, op, ": ", shapes(),
                  ", samples last, do not broadcast");
    }
  }
  std::vector<Tensor> expanded;
  for (const Tensor& t : tensors) expanded.push_back(t.expand_symint(common));
  return expanded;
}

// The shape of the tables, one table of shape `cells` for each row of samples.
inline c10::SymDimVector shape_of_tables(const Tensor& samples, c10::SymIntArrayRef cells) {
  c10::SymDimVector shape(samples.sym_sizes().slice(0, samples.dim() - 1));
  shape.append(cells.begin(), cells.end());
  return shape;
}

}  // namespace
}  // namespace torch_infotheory
