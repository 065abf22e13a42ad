// histogram.cpp -- the CPU key of soft histograms: instruction set, threads, and the sum of parts.
#include <torch/library.h>

#include <algorithm>
#include <memory>

#include "cpu/huge_pages.h"
#include "cpu/threads.h"
#include "dispatch/devices.h"
#include "dispatch/histogram_call.h"

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
  HistogramCall call(x, y, mask, range, bins, window, order_x, order_y);
  // A part has a table of its own, which is to cost less than its samples.
  call.scatter(weight, std::max(kSamplesPerPart, 4 * bins * bins), kMostParts);
  const Histogram& h = call.h;
  run(kernels().scatter, h, h.copies());
  add_parts(h);
  const Tensor table = call.cells.select(1, 0);
  return table.to(exact_type(x, y, weight), /*non_blocking=*/false, /*copy=*/true);
}

Tensor gather(const Tensor& x, const Tensor& y, const optional<Tensor>& mask, const Tensor& range,
              const Tensor& table, int64_t window, int64_t order_x, int64_t order_y,
              ScalarType dtype) {
  check_histogram(x, y, {}, mask, range, window, order_x, order_y);
  check_table(x, table, window);
  const Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  advise_huge_pages(out);
  HistogramCall call(x, y, mask, range, table.size(-1), window, order_x, order_y);
  call.gather(table, out);
  run(kernels().gather, call.h, 0);
  return out;
}

TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) {
  m.impl(kSoftHistogram, &scatter);
  m.impl(kSoftHistogramGather, &gather);
}

}  // namespace
}  // namespace torch_infotheory
