// histogram.cpp -- the CPU key of soft histograms: instruction set, threads, and the sum of parts.
//
// Knows tensors and the border struct; must not know windows. Read first: histogram.inl.
#include "dispatch/histogram.h"

#include <torch/library.h>

#include <algorithm>
#include <memory>

#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "dispatch/call.h"
#include "dispatch/devices.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kSamplesPerThread = 16384;  // a thread is not worth waking for less
constexpr int64_t kSamplesPerPart = 65536, kMostParts = 32;

const HistogramKernels& kernels() {
#if defined(__x86_64__)
  static const HistogramKernels best =
      cpu_instruction_set() == "default" ? histogram_default() : histogram_avx2();
#else
  static const HistogramKernels best = histogram_default();
#endif
  return best;
}

Samples samples_of(const Tensor& t) {
  return {t.const_data_ptr(), type_of(t), t.stride(0), t.stride(1)};
}
Histogram call_of(const Tensor& x, const Tensor& y, const optional<Tensor>& mask,
                  const Tensor& range, int64_t bins, int64_t window, int64_t order_x,
                  int64_t order_y) {
  Histogram h{.rows = x.size(0),
              .samples = x.size(1),
              .bins = bins,
              .window = window,
              .orders = {order_x, order_y},
              .variables = {samples_of(x), samples_of(y)},
              .range = range.const_data_ptr<double>()};
  if (mask) {
    h.mask = mask->const_data_ptr<bool>();
    h.mask_row_stride = mask->stride(0), h.mask_stride = mask->stride(1);
  }
  // A part has a table of its own, which is to cost less than its samples.
  const int64_t least = std::max(kSamplesPerPart, 4 * bins * bins);
  h.parts = std::clamp<int64_t>(h.samples / least, 1, kMostParts);
  return h;
}
void run(HistogramKernel kernel, const Histogram& h, int64_t scratch) {
  const int64_t grain = std::max<int64_t>(1, kSamplesPerThread / (h.samples_per_part() + 1));
  parallel_for(h.rows * h.parts, grain, [&](int64_t begin, int64_t end) {
    const auto memory = std::make_unique_for_overwrite<double[]>(scratch);
    kernel(h, begin, end, memory.get());
  });
}

// In the order of the parts, into the first one. A sample that is no number makes none of any cell.
void add_parts(const Histogram& h) {
  const int64_t cells = h.bins * h.bins;
  for (int64_t row = 0; row < h.rows; ++row) {
    double* const table = h.table + row * h.parts * cells;
    double total = 0;
    for (int64_t part = 1; part < h.parts; ++part)
      for (int64_t i = 0; i < cells; ++i) table[i] += table[part * cells + i];
    for (int64_t i = 0; i < cells; ++i) total += table[i];
    if (total != total) std::fill_n(table, cells, total);
  }
}

Tensor scatter(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
               const optional<Tensor>& mask, const Tensor& range, int64_t bins, int64_t window,
               int64_t order_x, int64_t order_y) {
  check_histogram(x, y, weight, mask, range, window, order_x, order_y);
  check_bins(bins, window);
  const Tensor range_of_rows = range.to(at::kDouble).contiguous();
  Histogram h = call_of(x, y, mask, range_of_rows, bins, window, order_x, order_y);
  if (weight) h.weight = samples_of(*weight);
  const Tensor parts = at::empty({h.rows, h.parts, bins, bins}, x.options().dtype(at::kDouble)),
               table = at::empty({h.rows, bins, bins}, x.options().dtype(exact_type(x, y, weight)));
  h.table = parts.mutable_data_ptr<double>();
  run(kernels().scatter, h, h.copies());
  add_parts(h);
  return table.copy_(parts.select(1, 0));
}

Tensor gather(const Tensor& x, const Tensor& y, const optional<Tensor>& mask, const Tensor& range,
              const Tensor& table, int64_t window, int64_t order_x, int64_t order_y,
              ScalarType dtype) {
  check_histogram(x, y, {}, mask, range, window, order_x, order_y);
  check_table(x, table, window);
  const Tensor cells = table.to(at::kDouble).contiguous(),
               range_of_rows = range.to(at::kDouble).contiguous(),
               out = at::empty(x.sizes(), x.options().dtype(dtype));
  advise_huge_pages(out);
  Histogram h = call_of(x, y, mask, range_of_rows, table.size(-1), window, order_x, order_y);
  h.table = const_cast<double*>(cells.const_data_ptr<double>());
  h.out = samples_of(out);
  run(kernels().gather, h, 0);
  return out;
}

TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) {
  m.impl(kSoftHistogram, &scatter);
  m.impl(kSoftHistogramGather, &gather);
}

}  // namespace
}  // namespace torch_infotheory
