// kernels_tables.cu -- compiles and launches the kernels of joint tables, forward and backward.
#include "cuda/kernels.h"
#include "cuda/tables.cuh"

namespace torch_infotheory {
namespace {

Geometry tables_geometry(const Rows& r) {
  return geometry_of_groups(r.rows, group_size_for(r.x_classes));
}
Geometry lines_geometry(const Rows& r, bool columns) {
  const Operand& p = r.p;
  const int64_t lines = columns ? r.classes : r.x_classes,
                cells = columns ? r.x_classes : r.classes;
  const int64_t stride = columns ? r.p_x_stride : p.class_stride,
                across = columns ? p.class_stride : r.p_x_stride;
  // Neighboring threads should read neighboring cells: each thread sums a line of its own if the
  // lines lie side by side and there are enough of them.
  const bool thread_per_line = stride != 1 && across == 1 && r.rows * lines >= 8192;
  return geometry_of_groups(r.rows * lines, thread_per_line ? 1 : group_size_for(cells));
}

template <bool columns>
void launch_sums(const DeviceRows& d, device::Stream stream) {
  const Geometry g = lines_geometry(d.rows, columns);
  device::launch(sum_lines<columns>, g, stream, d, g.group_size);
}
void launch_marginals(const DeviceRows& d, device::Stream stream) {
  launch_sums<false>(d, stream);
  launch_sums<true>(d, stream);
  const Geometry g = tables_geometry(d.rows);
  device::launch(log_marginals, g, stream, d, g.group_size);
}
template <class F, bool centered>
void launch_values(const DeviceRows& d, device::Stream stream) {
  const Geometry lines = lines_geometry(d.rows, false), tables = tables_geometry(d.rows);
  device::launch(sum_cells<F, centered>, lines, stream, d, lines.group_size);
  device::launch(finalize_tables<F, centered>, tables, stream, d, tables.group_size);
}

template <class F>
void forward(DeviceRows d, const Plan&, device::Stream stream) {
  launch_marginals(d, stream);
  launch_values<F, false>(d, stream);
  if constexpr (F::divergence) launch_values<F, true>(d, stream);
}
template <class F>
void backward(DeviceRows d, const Plan&, device::Stream stream) {
  d.normalized = true;
  launch_marginals(d, stream);
  const Geometry g = lines_geometry(d.rows, false);
  device::launch(backward_cells<F>, g, stream, d, g.group_size);
}

template <class... F>
DeviceKernel kernel_of(List<F...>, int formula, bool is_backward) {
  static constexpr DeviceKernel table[][2] = {{forward<F>, backward<F>}...};
  return table[formula][is_backward];
}

}  // namespace

DeviceKernel table_forward(int formula) { return kernel_of(TableFormulas{}, formula, false); }
DeviceKernel table_backward(int formula) { return kernel_of(TableFormulas{}, formula, true); }

}  // namespace torch_infotheory
