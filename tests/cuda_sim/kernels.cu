// kernels.cu -- one instance of every kernel template, which test_faults.py compiles with faults.
#include "cuda/forward.cuh"
#include "cuda/histogram.cuh"
#include "cuda/tables.cuh"

namespace torch_infotheory {
namespace {

#define KERNEL template __global__ void
#define ROWS (const __grid_constant__ DeviceRows)
KERNEL forward_rows<JsDivergence, float, kFloat, kLogits, kLogits> ROWS;
KERNEL forward_rows<CrossEntropy, float, kFloat, kLabels, kLogits> ROWS;
KERNEL merge_segments<JsDivergence, Partials::kMoments> ROWS;
KERNEL merge_segments<JsDivergence, Partials::kTermSums> ROWS;
KERNEL merge_segments<JsDivergence, Partials::kRefinedSums> ROWS;
KERNEL merge_segments<CrossEntropy, Partials::kMoments> ROWS;
KERNEL refine_rows<JsDivergence> ROWS;
KERNEL add_samples<CubicWindow>(const __grid_constant__ Histogram, bool);

}  // namespace
}  // namespace torch_infotheory
