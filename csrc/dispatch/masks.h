// masks.h -- rows that a mask excludes from a loss.
#pragma once
#include "dispatch/arguments.h"
#include "dispatch/dims.h"

namespace torch_infotheory {
namespace {

// One boolean for each distribution. Without a mask all rows count.
class RowMask {
 public:
  RowMask(const char* op, const optional<Tensor>& mask, const Tensor& input,
          const std::vector<int64_t>& class_dims)
      : dims(class_dims) {
    if (!mask) return;
    c10::SymDimVector rows;
    for (int64_t d = 0; d < input.dim(); ++d)
      if (std::find(dims.begin(), dims.end(), d) == dims.end()) rows.push_back(input.sym_size(d));
    check_mask(op, *mask, rows);
    counts = *mask;
  }
  // Replaces masked rows by ones, which are valid for every kind, because their contents must not
  // affect a gradient.
  Tensor clean(const Tensor& x) const {
    return counts.defined() ? at::where(keep_dims(counts, dims), x, 1) : x;
  }
  // The reduction of the row op.
  int64_t reduction(int64_t asked) const { return counts.defined() ? int64_t(kNone) : asked; }
  // Reduces value(dtype), unless the row op has done so. `dtype` is the requested dtype, `promoted`
  // that of the inputs.
  template <class Value>
  Tensor reduce(Value value, int64_t asked, optional<ScalarType> dtype, ScalarType promoted) const {
    if (!counts.defined()) return value(dtype);
    const ScalarType type = result_type(counts.device(), promoted, dtype);
    Tensor v = at::where(counts, value(exact_type(c10::promoteTypes(promoted, type))), 0.);
    if (asked != kNone) v = v.sum();
    if (asked == kMean) v = v / counts.sum();
    return v.to(type);
  }

 private:
  Tensor counts;
  std::vector<int64_t> dims;
};

}  // namespace
}  // namespace torch_infotheory
