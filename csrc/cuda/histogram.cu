// histogram.cu -- registers the soft histogram ops for the CUDA dispatch key.
#include <torch/library.h>

#include "cuda/kernels.h"
#include "cuda/stream.h"
#include "dispatch/histogram_call.h"

namespace torch_infotheory {
namespace {

// The number of parts depends only on sizes, so that results do not depend on the device.
constexpr int64_t kSamplesPerPart = 512, kMaxParts = 1024;

Tensor scatter(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
               const optional<Tensor>& mask, const Tensor& range, int64_t bins, int64_t window,
               int64_t order_x, int64_t order_y) {
  const device::Guard guard(x.device());
  check_histogram(x, y, weight, mask, range, window, order_x, order_y);
  check_bins(bins, window);
  const Tensor table =
      at::empty({x.size(0), bins, bins}, x.options().dtype(exact_type(x, y, weight)));
  if (table.numel() == 0) return table;
  HistogramCall call(x, y, mask, range, bins, window, order_x, order_y);
  // Clearing and adding the table of a part costs a warp about as much as these samples.
  call.scatter(weight, std::max(kSamplesPerPart, bins * bins / 2), kMaxParts);
  call.h.out = samples_of(table.flatten(1));
  scatter_samples(call.h, device::current_stream());
  device::check_launches();
  return table;
}

Tensor gather(const Tensor& x, const Tensor& y, const optional<Tensor>& mask, const Tensor& range,
              const Tensor& table, int64_t window, int64_t order_x, int64_t order_y,
              ScalarType dtype) {
  const device::Guard guard(x.device());
  check_histogram(x, y, {}, mask, range, window, order_x, order_y);
  check_table(x, table, window);
  const Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  if (out.numel() == 0) return out;
  HistogramCall call(x, y, mask, range, table.size(-1), window, order_x, order_y);
  call.gather(table, out);
  gather_cells(call.h, device::current_stream());
  device::check_launches();
  return out;
}

TORCH_LIBRARY_IMPL(torch_infotheory, CUDA, m) {
  m.impl(kSoftHistogram, &scatter);
  m.impl(kSoftHistogramGather, &gather);
}

}  // namespace
}  // namespace torch_infotheory
