// kernels_histogram.cu -- compiles and launches the kernels of soft histograms.
#include "cuda/histogram.cuh"
#include "cuda/kernels.h"

namespace torch_infotheory {
namespace {

constexpr size_t kMaxSharedTable = 44 * 1024;  // leaves room for a warp's samples in 48 KB

// A thread for each task.
Geometry geometry(unsigned block, int64_t tasks, size_t shared = 0) {
  Geometry g;
  g.block = block;
  g.shared = shared;
  set_grid(g, tasks);
  return g;
}

}  // namespace

void scatter_samples(const Histogram& h, device::Stream stream) {
  const int64_t cells = h.bins * h.bins;
  const size_t bytes = sizeof(double) * cells;
  const bool in_shared = bytes <= kMaxSharedTable;
  with_window(h.window, [&](auto w) {
    const Geometry g = geometry(kWarp, h.rows * h.parts * kWarp, in_shared ? bytes : 0);
    device::launch(add_samples<decltype(w)>, g, stream, h, in_shared);
  });
  device::launch(add_parts, geometry(kMaxThreads, h.rows * cells), stream, h);
  device::launch(write_table, geometry(kMaxThreads, h.rows * kMaxThreads), stream, h);
}
void gather_cells(const Histogram& h, device::Stream stream) {
  with_window(h.window, [&](auto w) {
    const Geometry g = geometry(kMaxThreads, h.rows * h.samples);
    device::launch(read_cells<decltype(w)>, g, stream, h);
  });
}

}  // namespace torch_infotheory
