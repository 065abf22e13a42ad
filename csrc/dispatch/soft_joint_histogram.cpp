// soft_joint_histogram.cpp -- the public op of soft histograms.
#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/histogram.h"
#include "dispatch/samples.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

const char* const kSoftJointHistogram = "soft_joint_histogram";

int64_t window_of(string_view kernel) {
  static constexpr string_view names[kWindows] = {"linear", "cubic", "gaussian"};
  const auto found = std::find(std::begin(names), std::end(names), kernel);
  TORCH_CHECK_VALUE(found != std::end(names), kSoftJointHistogram,
                    ": expected kernel to be one of 'linear', 'cubic', 'gaussian', got '", kernel,
                    "'");
  return found - names;
}

using Range = optional<at::ArrayRef<double>>;  // low, high

void check_range(const Range& range) {
  if (!range) return;
  TORCH_CHECK_VALUE(range->size() == 2, kSoftJointHistogram,
                    ": expected a range of two numbers, low and high, got ", *range);
  const double low = (*range)[0], high = (*range)[1];
  TORCH_CHECK_VALUE(std::isfinite(low) && std::isfinite(high) && low < high, kSoftJointHistogram,
                    ": expected a finite range with low below high, got (", low, ", ", high, ")");
}
// The ends of the range of each row; by default its smallest and largest sample.
std::pair<Tensor, Tensor> ends_of(const Tensor& samples, const Range& range,
                                  const optional<Tensor>& mask, ScalarType type) {
  const Tensor x = samples.detach();
  const auto rows = x.sym_sizes().slice(0, x.dim() - 1);
  const auto filled = [&](double end) {
    return x.new_full_symint(rows, end, x.options().dtype(type));
  };
  if (range) return {filled((*range)[0]), filled((*range)[1])};
  if (x.sym_size(-1) == 0) return {filled(0), filled(0)};
  if (!mask) {
    const auto [low, high] = x.aminmax(-1);
    return {low.to(type), high.to(type)};
  }
  const Tensor gone = mask->logical_not();
  return {x.masked_fill(gone, INFINITY).amin(-1).to(type),
          x.masked_fill(gone, -INFINITY).amax(-1).to(type)};
}

Tensor soft_joint_histogram(const Tensor& x, const Tensor& y, int64_t bins, Range x_range,
                            Range y_range, string_view kernel, const optional<Tensor>& mask,
                            int64_t dim) {
  const char* op = kSoftJointHistogram;
  check_distribution(op, "x", x);
  check_distribution(op, "y", y);
  const int64_t window = window_of(kernel);
  TORCH_CHECK_VALUE(bins >= support_of(window), op, ": expected bins to be at least ",
                    support_of(window), " for kernel='", kernel, "', got ", bins);
  check_range(x_range);
  check_range(y_range);
  std::vector<Tensor> tensors{samples_last(op, "x", x, dim), samples_last(op, "y", y, dim)};
  if (mask) {
    check_dense(op, "mask", *mask);
    TORCH_CHECK_TYPE(mask->scalar_type() == at::kBool, op,
                     ": expected mask to be a tensor of booleans, got ", mask->scalar_type());
    tensors.push_back(samples_last(op, "mask", *mask, dim));
  }
  tensors = broadcast_samples(op, tensors, dim);
  optional<Tensor> counted;
  if (mask) counted = tensors[2];
  const ScalarType type = exact_type(x, y, {});
  const auto [x_low, x_high] = ends_of(tensors[0], x_range, counted, type);
  const auto [y_low, y_high] = ends_of(tensors[1], y_range, counted, type);

  const c10::SymDimVector shape = shape_of_tables(tensors[0], {bins, bins});
  const c10::SymInt samples = tensors[0].sym_size(-1),
                    rows = c10::multiply_integers(x_low.sym_sizes());
  for (Tensor& t : tensors) t = t.reshape_symint({rows, samples});
  const Tensor ends = at::stack({x_low, x_high, y_low, y_high}, -1).reshape_symint({rows, 4});
  if (mask) counted = tensors[2];
  const Tensor table =
      soft_histogram_op().call(tensors[0], tensors[1], {}, counted, ends, bins, window, 0, 0);
  const Tensor shares =
      mask ? table / counted->sum(-1).to(type).view({-1, 1, 1}) : table / at::Scalar(samples);
  return shares.reshape_symint(shape);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  define(m,
         "soft_joint_histogram(Tensor x, Tensor y, int bins, float[]? x_range=None, float[]? "
         "y_range=None, *, str kernel=\"cubic\", Tensor? mask=None, int dim=-1) -> Tensor");
}
void register_soft_joint_histogram(torch::Library& m) {
  m.impl(kSoftJointHistogram, &soft_joint_histogram);
}
TI_COMPOSITES(register_soft_joint_histogram)

}  // namespace
}  // namespace torch_infotheory
