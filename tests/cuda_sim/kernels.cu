// kernels.cu -- one instance of every kernel template, which test_faults.py compiles with faults.
#include "cuda/forward.cuh"
#include "cuda/histogram.cuh"
#include "cuda/merge.cuh"
#include "cuda/tables.cuh"

namespace torch_infotheory {
namespace {

#define KERNEL template __global__ void
#define ROWS (const __grid_constant__ DeviceRows)
#define ROWS_BY(F) (const __grid_constant__ DeviceRows, const __grid_constant__ F)
KERNEL forward_rows<JsDivergence, float, kFloat, kLogits, kLogits> ROWS_BY(JsDivergence);
KERNEL forward_rows<CrossEntropy, float, kFloat, kLabels, kLogits> ROWS_BY(CrossEntropy);
KERNEL merge_segments<JsDivergence, ThreadMoments<double>> ROWS;
KERNEL merge_segments<JsDivergence, TermSums<double>> ROWS;
KERNEL merge_segments<JsDivergence, CenteredSums> ROWS;
KERNEL merge_segments<JsDivergence, NearSums> ROWS;
KERNEL merge_segments<CrossEntropy, ThreadMoments<double>> ROWS;
KERNEL refine_rows<JsDivergence, CenteredSums> ROWS_BY(JsDivergence);
KERNEL refine_rows<JsDivergence, NearSums> ROWS_BY(JsDivergence);
KERNEL add_samples<CubicWindow>(const __grid_constant__ Histogram, bool);

}  // namespace
}  // namespace torch_infotheory
