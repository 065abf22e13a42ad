// kernels.cu -- one kernel of every skeleton, for test_faults.py to compile with faults.
#include "cuda/histogram.cuh"
#include "cuda/rows.cuh"
#include "cuda/tables.cuh"

namespace torch_infotheory {
namespace {

#define KERNEL template __global__ void
#define ROWS (const __grid_constant__ DeviceRows)
KERNEL forward_rows<JsDivergence, float, kFloat, kLogits, kLogits> ROWS;
KERNEL forward_rows<CrossEntropy, float, kFloat, kLabels, kLogits> ROWS;
KERNEL merge_parts<JsDivergence, Merge::kMoments> ROWS;
KERNEL merge_parts<JsDivergence, Merge::kSums> ROWS;
KERNEL merge_parts<JsDivergence, Merge::kRefined> ROWS;
KERNEL merge_parts<CrossEntropy, Merge::kMoments> ROWS;
KERNEL refine_rows<JsDivergence> ROWS;
KERNEL add_samples<CubicWindow>(const __grid_constant__ Histogram, bool);

}  // namespace
}  // namespace torch_infotheory
