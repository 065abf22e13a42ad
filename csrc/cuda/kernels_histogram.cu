// kernels_histogram.cu -- the kernels of soft histograms, compiled and launched.
//
// Knows windows; must not know tensors. Read next: histogram.cu.
#include "cuda/histogram.cuh"
#include "cuda/kernels.h"

namespace torch_infotheory {
namespace {

constexpr size_t kSharedOfTable = 44 * 1024;  // beside the samples of a warp, of 48 KB in all

// A lane for each of the units.
Geometry geometry(unsigned block, int64_t units, size_t shared = 0) {
  Geometry g;
  g.block = block;
  g.shared = shared;
  cover(g, units);
  return g;
}

}  // namespace

void scatter_samples(const Histogram& h, device::Stream stream) {
  const int64_t cells = h.bins * h.bins;
  const size_t bytes = sizeof(double) * cells;
  const bool in_shared = bytes <= kSharedOfTable;
  with_window(h.window, [&](auto w) {
    const Geometry g = geometry(kWarp, h.rows * h.parts * kWarp, in_shared ? bytes : 0);
    device::launch(add_samples<decltype(w)>, g, stream, h, in_shared);
  });
  device::launch(add_parts, geometry(kMostThreads, h.rows * cells), stream, h);
  device::launch(write_table, geometry(kMostThreads, h.rows * kMostThreads), stream, h);
}
void gather_cells(const Histogram& h, device::Stream stream) {
  with_window(h.window, [&](auto w) {
    const Geometry g = geometry(kMostThreads, h.rows * h.samples);
    device::launch(read_cells<decltype(w)>, g, stream, h);
  });
}

}  // namespace torch_infotheory
