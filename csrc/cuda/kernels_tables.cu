// kernels_tables.cu -- the joint tables, forward and backward, compiled and launched.
//
// Knows formulas by their position in core/formulas.h; must not know tensors.
#include "cuda/kernels.h"
#include "cuda/tables.cuh"

namespace torch_infotheory {
namespace {

Geometry tables_geometry(const Rows& r) { return team_geometry(r.rows, lanes_for(r.x_classes)); }
Geometry lines_geometry(const Rows& r, bool columns) {
  const Operand& p = r.p;
  const int64_t lines = columns ? r.classes : r.x_classes,
                cells = columns ? r.x_classes : r.classes;
  const int64_t stride = columns ? r.p_x_stride : p.class_stride,
                across = columns ? p.class_stride : r.p_x_stride;
  // Neighboring threads read neighboring cells; a column each, if there are enough of them.
  const bool one_each = stride != 1 && across == 1 && r.rows * lines >= 8192;
  return team_geometry(r.rows * lines, one_each ? 1 : lanes_for(cells));
}

template <bool columns>
void sum(const DeviceRows& d, device::Stream stream) {
  const Geometry g = lines_geometry(d.rows, columns);
  device::launch(sum_lines<columns>, g, stream, d, g.lanes);
}
void marginals(const DeviceRows& d, device::Stream stream) {
  sum<false>(d, stream);
  sum<true>(d, stream);
  const Geometry g = tables_geometry(d.rows);
  device::launch(take_marginals, g, stream, d, g.lanes);
}
template <class F, bool centered>
void values(const DeviceRows& d, device::Stream stream) {
  const Geometry lines = lines_geometry(d.rows, false), tables = tables_geometry(d.rows);
  device::launch(sum_cells<F, centered>, lines, stream, d, lines.lanes);
  device::launch(finish_tables<F, centered>, tables, stream, d, tables.lanes);
}

template <class F>
void forward(DeviceRows d, const Plan&, device::Stream stream) {
  marginals(d, stream);
  values<F, false>(d, stream);
  if constexpr (F::divergence) values<F, true>(d, stream);
}
template <class F>
void backward(DeviceRows d, const Plan&, device::Stream stream) {
  d.normalized = true;
  marginals(d, stream);
  const Geometry g = lines_geometry(d.rows, false);
  device::launch(write_cells<F>, g, stream, d, g.lanes);
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
