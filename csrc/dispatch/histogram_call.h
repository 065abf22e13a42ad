// histogram_call.h -- fills the struct Histogram of core/histogram.h from tensors, for all devices.
#pragma once
#include "dispatch/call.h"
#include "dispatch/histogram.h"

namespace torch_infotheory {
namespace {

Samples samples_of(const Tensor& t) {
  return {t.const_data_ptr(), type_of(t), t.stride(0), t.stride(1)};
}

// Owns the memory that `h` points to.
struct HistogramCall {
  Histogram h;
  Tensor range, cells;

  HistogramCall(const Tensor& x, const Tensor& y, const optional<Tensor>& mask,
                const Tensor& range_of_rows, int64_t bins, int64_t window, int64_t order_x,
                int64_t order_y)
      : h{.rows = x.size(0),
          .samples = x.size(1),
          .bins = bins,
          .window = window,
          .orders = {order_x, order_y},
          .variables = {samples_of(x), samples_of(y)}},
        range(range_of_rows.to(at::kDouble).contiguous()) {
    h.range = range.const_data_ptr<double>();
    if (!mask) return;
    h.mask = mask->const_data_ptr<bool>();
    h.mask_row_stride = mask->stride(0), h.mask_stride = mask->stride(1);
  }

  // Allocates a table for each part, which the caller sums. Few long rows are divided into parts of
  // at least `samples_of_a_part` samples.
  void scatter(const optional<Tensor>& weight, int64_t samples_of_a_part, int64_t most_parts) {
    if (weight) h.weight = samples_of(*weight);
    h.parts = std::clamp<int64_t>(h.samples / samples_of_a_part, 1, most_parts);
    cells = at::empty({h.rows, h.parts, h.bins, h.bins}, range.options());
    h.table = cells.mutable_data_ptr<double>();
  }
  void gather(const Tensor& table, const Tensor& out) {
    cells = table.to(at::kDouble).contiguous();
    h.table = const_cast<double*>(cells.const_data_ptr<double>());
    h.out = samples_of(out);
  }
};

}  // namespace
}  // namespace torch_infotheory
