// tables.cuh -- the kernels of a joint table, for every formula of JointExpectation.
//
// The marginals are sums along the lines (the cells of one x) and along the columns (those of one
// y). Then the cells are read for the value, and once more for the centered term of a mutual
// information near 0. Backward computes the marginals again instead of saving them. All arithmetic
// is in double. Each line is one task, so that a large table and many small ones both fill the
// device.
#pragma once
#include "cuda/backward.cuh"

namespace torch_infotheory {
namespace {

using CellReader = SegmentReader<double, kDynamic, kDynamic, kDynamic, false>;

// Calls body(p, first cell, cells, x) along line `i` of a table, or along its column.
template <bool column, class Body>
__device__ __forceinline__ void for_each_pack_of_line(const DeviceRows& d, const ThreadGroup& group,
                                                      int64_t table, int64_t i, bool active,
                                                      double z_high, double z_log, Body body) {
  const Rows& r = d.rows;
  Operand p = r.p;
  p.class_stride = column ? r.p_x_stride : r.p.class_stride;
  Segment segment = {table, 0, 0, active ? offsets_of(d, table) : RowOffsets{}};
  segment.offsets.by_operand[DeviceRows::kP] += i * (column ? r.p.class_stride : r.p_x_stride);
  const int64_t cells = active ? column ? r.x_classes : r.classes : 0;
  for (segment.first_class = 0; segment.first_class < cells;
       segment.first_class += kMaxSegmentClasses) {
    const int64_t left = cells - segment.first_class;
    segment.classes = int(left < kMaxSegmentClasses ? left : kMaxSegmentClasses);
    CellReader reader(p, p, segment);
    reader.p.set_normalizer(z_high, z_log);
    for_each_pack<Caching::kNone, 1>(group, reader,
                                     [&](const auto& classes, const auto& x, const auto&) {
                                       body(reader.p, segment.first_class, classes, x);
                                     });
  }
}

// Calls body(p, cell, y, log p_y) for the cells of a line; `line` counts through all tables.
template <class Body>
__device__ __forceinline__ void for_each_cell(const DeviceRows& d, const ThreadGroup& group,
                                              const TableSums& sums, int64_t line, bool active,
                                              Body body) {
  const int64_t lines = d.rows.x_classes, table = line / lines;
  const double* const log_py = sums.log_py + table * d.rows.classes;
  for_each_pack_of_line<false>(
      d, group, table, line % lines, active, active ? sums.z_high[table] : 0,
      active ? sums.z_log[table] : 0,
      [&](const auto& p, int64_t first_cell, const auto& classes, const auto& x) {
        constexpr int n = CellReader::n;
        Prob<double> cells[n];
        p.probabilities(x, cells);
        for (int k = 0; k < n; ++k)
          if (classes.has(k))
            body(p, cells[k], first_cell + classes[k], log_py[first_cell + classes[k]]);
      });
}

// The sum of every line, or of every column.
template <bool column>
__global__ void __launch_bounds__(kMaxThreads, 1)
    sum_lines(const __grid_constant__ DeviceRows d, int group_size) {
  const ThreadGroup group(group_size);
  const TableSums& sums = d.tables;
  const int64_t lines = column ? d.rows.classes : d.rows.x_classes;
  const bool logits = d.rows.p.kind == kLogits;
  group.for_each(d.rows.rows * lines, [&](int64_t line, bool active) {
    double max[] = {logits ? -kLargest<double> : 0}, thread_sum = 0;
    for_each_pack_of_line<column>(d, group, line / lines, line % lines, active, 0, 0,
                                  [&](const auto& p, int64_t, const auto&, const auto& x) {
                                    constexpr int n = CellReader::n;
                                    if (logits) return add_exp(max[0], thread_sum, x);
                                    Prob<double> cells[n];
                                    p.probabilities(x, cells);
                                    for (int k = 0; k < n; ++k) thread_sum += cells[k].p;
                                  });
    const double thread_max = max[0];
    all_reduce<1>(group, max, Maximum());
    double sum[] = {thread_sum * exp(bounded_shift(thread_max, max[0]))};
    all_reduce<1>(group, sum, Sum());
    if (!active || group.rank > 0) return;
    (column ? sums.log_py : sums.log_px)[line] = sum[0];
    (column ? sums.column_high : sums.line_high)[line] = max[0];
  });
}

// From sums to the logarithms of the marginals, in place. A group for each table.
__global__ void __launch_bounds__(kMaxThreads, 1)
    log_marginals(const __grid_constant__ DeviceRows d, int group_size) {
  const ThreadGroup group(group_size);
  const TableSums& sums = d.tables;
  const Rows& r = d.rows;
  const bool logits = r.p.kind == kLogits;
  group.for_each(r.rows, [&](int64_t table, bool active) {
    double* const px = sums.log_px + (active ? table * r.x_classes : 0);
    double* const py = sums.log_py + (active ? table * r.classes : 0);
    const double* const line_high = sums.line_high + (active ? table * r.x_classes : 0);
    const double* const column_high = sums.column_high + (active ? table * r.classes : 0);
    const int64_t lines = active ? r.x_classes : 0, columns = active ? r.classes : 0;
    double max[] = {-kLargest<double>}, sum[] = {0};
    for (int64_t x = group.rank; x < lines; x += group.size) max[0] = fmax(max[0], line_high[x]);
    all_reduce<1>(group, max, Maximum());
    for (int64_t x = group.rank; x < lines; x += group.size)
      sum[0] += px[x] * exp(bounded_shift(line_high[x], max[0]));
    all_reduce<1>(group, sum, Sum());
    double z_high = 0, z_log = 0;
    if (logits && active) {
      z_high = d.normalized ? r.saved_of(0, kHigh)[table] : max[0];
      z_log = d.normalized ? r.saved_of(0, kLogSum)[table] : log(sum[0]);
    }
    double total[] = {0};
    for (int64_t x = group.rank; x < lines; x += group.size) {
      const double line_sum = px[x], relative = (line_high[x] - z_high) - z_log;
      total[0] += line_sum * exp(relative);
      px[x] = log(line_sum) + relative;
    }
    for (int64_t y = group.rank; y < columns; y += group.size)
      py[y] = log(py[y]) + ((column_high[y] - z_high) - z_log);
    all_reduce<1>(group, total, Sum());
    if (!active || group.rank > 0) return;
    sums.total[table] = total[0];
    sums.z_high[table] = z_high;
    sums.z_log[table] = z_log;
  });
}

// The value of every line; by the centered term, only in tables that need refinement.
template <class F, bool centered>
__global__ void __launch_bounds__(kMaxThreads, 1)
    sum_cells(const __grid_constant__ DeviceRows d, int group_size) {
  const ThreadGroup group(group_size);
  const TableSums& sums = d.tables;
  const int64_t lines = d.rows.x_classes;
  group.for_each(d.rows.rows * lines, [&](int64_t line, bool active) {
    const int64_t table = line / lines;
    active = active && (!centered || d.refinement[table]);
    const double lx = active ? sums.log_px[line] : 0;
    double value[] = {0};
    for_each_cell(d, group, sums, line, active,
                  [&](const auto&, Prob<double> cell, int64_t, double ly) {
                    if constexpr (centered)
                      value[0] += F::centered(cell, {exp(lx + ly), lx + ly});
                    else
                      value[0] += times0(cell.p, F::score(cell.log, lx, ly));
                  });
    all_reduce<1>(group, value, Sum());
    if (active && group.rank == 0) sums.line_value[line] = value[0];
  });
}

// From the values of the lines to that of every table.
template <class F, bool centered>
__global__ void __launch_bounds__(kMaxThreads, 1)
    finalize_tables(const __grid_constant__ DeviceRows d, int group_size) {
  const ThreadGroup group(group_size);
  const TableSums& sums = d.tables;
  const Rows& r = d.rows;
  group.for_each(r.rows, [&](int64_t table, bool active) {
    active = active && (!centered || d.refinement[table]);
    double value[] = {0};
    for (int64_t x = group.rank; active && x < r.x_classes; x += group.size)
      value[0] += sums.line_value[table * r.x_classes + x];
    all_reduce<1>(group, value, Sum());
    if (!active || group.rank > 0) return;
    const double total = sums.total[table];
    if constexpr (!centered) {
      r.saved_of(0, kHigh)[table] = sums.z_high[table];
      r.saved_of(0, kLogSum)[table] = sums.z_log[table];
      r.saved_of(0, kTotal)[table] = value[0] + total * F::score(1., 1., 1.);
      if constexpr (F::divergence) {
        // The total of logits is 1 except for the rounding of its sum.
        const double rounding = r.p.kind == kLogits ? 1e-12 : rounding_of_totals(r.p),
                     product = total * total;
        const bool agree = totals_agree(rounding, total, product);
        if (agree) value[0] += product - total;
        d.refinement[table] = agree && value[0] < small_value<F, double>()
                                  ? DeviceRows::kInDouble
                                  : DeviceRows::kNotRefined;
      }
    }
    store_value(d, table, offsets_of(d, table), with_nan(value[0], total, 0.));
  });
}

template <class F>
__global__ void __launch_bounds__(kMaxThreads, 1)
    backward_cells(const __grid_constant__ DeviceRows d, int group_size) {
  const ThreadGroup group(group_size);
  const TableSums& sums = d.tables;
  const Rows& r = d.rows;
  const int64_t lines = r.x_classes;
  group.for_each(r.rows * lines, [&](int64_t line, bool active) {
    if (!active) return;
    const int64_t table = line / lines;
    const RowOffsets offsets = offsets_of(d, table);
    const double lx = sums.log_px[line], total = r.saved_of(0, kTotal)[table];
    const double scale =
        (d.divisor ? r.scale / *d.divisor : r.scale) *
        load_element<double>(r.g.data, r.g.type, offsets.by_operand[DeviceRows::kG]);
    void* const data = const_cast<void*>(r.gradients[kWrtP].data);
    const int64_t line_offset =
        offsets.by_operand[DeviceRows::kGradient] + (line % lines) * r.classes;
    for_each_cell(d, group, sums, line, active,
                  [&](const auto& p, Prob<double> cell, int64_t y, double ly) {
                    const double gradient = with_kind(p.kind(), [&]<Kind kind>() {
                      return gradient_by_cell<F, kind>(cell, lx, ly, total);
                    });
                    store_element(data, r.gradients[kWrtP].type, line_offset + y, gradient * scale);
                  });
  });
}

}  // namespace
}  // namespace torch_infotheory
