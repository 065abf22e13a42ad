// tables.cuh -- the kernels of a joint table, for every formula of JointExpectation.
//
// A table is read along its lines and along its columns for the marginals, then for its cells; a
// mutual information that comes out small once more, by its centred term. Backward takes the
// marginals again rather than keep them. As on the CPU everything is computed in double. A line is
// one team's work throughout, so that large tables and many small ones both fill a card.
//
// Knows sources and the names score, centred; must not know any formula by name, or tensors.
#pragma once
#include "cuda/gradients.cuh"

namespace torch_infotheory {
namespace {

using Cells = Pair<double, kAny, kAny, kAny, false>;

// body(at, x) over the cells of line `i` of a table, or of its column.
template <bool column, class Body>
__device__ __forceinline__ void sweep_line(const DeviceRows& d, const Team& team, int64_t table,
                                           int64_t i, bool there, double z_high, double z_log,
                                           Body body) {
  const Rows& r = d.rows;
  Operand x = r.p;
  x.class_stride = column ? r.p_x_stride : r.p.class_stride;
  Part part = {table, 0, 0, there ? locate(d, table) : Offsets{}};
  part.at.of[DeviceRows::kP] += i * (column ? r.p.class_stride : r.p_x_stride);
  const int64_t cells = there ? column ? r.x_classes : r.classes : 0;
  for (part.first = 0; part.first < cells; part.first += kMostOfAPart) {
    const int64_t left = cells - part.first;
    part.classes = int(left < kMostOfAPart ? left : kMostOfAPart);
    Cells line(x, x, part);
    line.p.normalise(z_high, z_log);
    sweep<Parking::kNone, 1>(team, line, [&](const auto& at, const auto& values, const auto&) {
      body(line.p, part.first, at, values);
    });
  }
}

// body(p, cell, y, log p_y) over the cells of a line, counted through all tables.
template <class Body>
__device__ __forceinline__ void sweep_cells(const DeviceRows& d, const Team& team,
                                            const TableSums& sums, int64_t unit, bool there,
                                            Body body) {
  const int64_t lines = d.rows.x_classes, table = unit / lines;
  const double* const log_py = sums.log_py + table * d.rows.classes;
  sweep_line<false>(d, team, table, unit % lines, there, there ? sums.z_high[table] : 0,
                    there ? sums.z_log[table] : 0,
                    [&](const auto& p, int64_t first, const auto& at, const auto& x) {
                      constexpr int n = Cells::n;
                      Prob<double> cells[n];
                      p.probabilities(x, cells);
                      for (int k = 0; k < n; ++k)
                        if (at.has(k)) body(p, cells[k], first + at[k], log_py[first + at[k]]);
                    });
}

// The sum of every line, or column.
template <bool column>
__global__ void __launch_bounds__(kMostThreads, 1)
    sum_lines(const __grid_constant__ DeviceRows d, int lanes) {
  const Team team(lanes);
  const TableSums& sums = d.tables;
  const int64_t lines = column ? d.rows.classes : d.rows.x_classes;
  const bool logits = d.rows.p.kind == kLogits;
  team.each(d.rows.rows * lines, [&](int64_t unit, bool there) {
    double high[] = {logits ? -kLargest<double> : 0}, mass = 0;
    sweep_line<column>(d, team, unit / lines, unit % lines, there, 0, 0,
                       [&](const auto& p, int64_t, const auto&, const auto& x) {
                         constexpr int n = Cells::n;
                         if (logits) return add_mass(high[0], mass, x);
                         Prob<double> cells[n];
                         p.probabilities(x, cells);
                         for (int k = 0; k < n; ++k) mass += cells[k].p;
                       });
    const double of_thread = high[0];
    combine<1>(team, high, Maximum());
    double all[] = {mass * exp(moved(of_thread, high[0]))};
    combine<1>(team, all, Sum());
    if (!there || team.rank > 0) return;
    (column ? sums.log_py : sums.log_px)[unit] = all[0];
    (column ? sums.column_high : sums.line_high)[unit] = high[0];
  });
}

// From sums to the logarithms of the marginals. One team for each table.
__global__ void __launch_bounds__(kMostThreads, 1)
    take_marginals(const __grid_constant__ DeviceRows d, int lanes) {
  const Team team(lanes);
  const TableSums& sums = d.tables;
  const Rows& r = d.rows;
  const bool logits = r.p.kind == kLogits;
  team.each(r.rows, [&](int64_t table, bool there) {
    double* const px = sums.log_px + (there ? table * r.x_classes : 0);
    double* const py = sums.log_py + (there ? table * r.classes : 0);
    const double* const line_high = sums.line_high + (there ? table * r.x_classes : 0);
    const double* const column_high = sums.column_high + (there ? table * r.classes : 0);
    const int64_t lines = there ? r.x_classes : 0, columns = there ? r.classes : 0;
    double high[] = {-kLargest<double>}, mass[] = {0};
    for (int64_t x = team.rank; x < lines; x += team.lanes) high[0] = fmax(high[0], line_high[x]);
    combine<1>(team, high, Maximum());
    for (int64_t x = team.rank; x < lines; x += team.lanes)
      mass[0] += px[x] * exp(moved(line_high[x], high[0]));
    combine<1>(team, mass, Sum());
    double z_high = 0, z_log = 0;
    if (logits && there) {
      z_high = d.normalised ? r.saved_of(0, kHigh)[table] : high[0];
      z_log = d.normalised ? r.saved_of(0, kLogSum)[table] : log(mass[0]);
    }
    double total[] = {0};
    for (int64_t x = team.rank; x < lines; x += team.lanes) {
      const double of_line = px[x], relative = (line_high[x] - z_high) - z_log;
      total[0] += of_line * exp(relative);
      px[x] = log(of_line) + relative;
    }
    for (int64_t y = team.rank; y < columns; y += team.lanes)
      py[y] = log(py[y]) + ((column_high[y] - z_high) - z_log);
    combine<1>(team, total, Sum());
    if (!there || team.rank > 0) return;
    sums.total[table] = total[0];
    sums.z_high[table] = z_high;
    sums.z_log[table] = z_log;
  });
}

// The value of the cells of every line. By the centred term, of the tables that came out small.
template <class F, bool centred>
__global__ void __launch_bounds__(kMostThreads, 1)
    sum_cells(const __grid_constant__ DeviceRows d, int lanes) {
  const Team team(lanes);
  const TableSums& sums = d.tables;
  const int64_t lines = d.rows.x_classes;
  team.each(d.rows.rows * lines, [&](int64_t unit, bool there) {
    const int64_t table = unit / lines;
    there = there && (!centred || d.small[table]);
    const double lx = there ? sums.log_px[unit] : 0;
    double value[] = {0};
    sweep_cells(d, team, sums, unit, there,
                [&](const auto&, Prob<double> cell, int64_t, double ly) {
                  if constexpr (centred)
                    value[0] += F::centred(cell, {exp(lx + ly), lx + ly});
                  else
                    value[0] += times0(cell.p, F::score(cell.log, lx, ly));
                });
    combine<1>(team, value, Sum());
    if (there && team.rank == 0) sums.line_value[unit] = value[0];
  });
}

// The value of every table.
template <class F, bool centred>
__global__ void __launch_bounds__(kMostThreads, 1)
    finish_tables(const __grid_constant__ DeviceRows d, int lanes) {
  const Team team(lanes);
  const TableSums& sums = d.tables;
  const Rows& r = d.rows;
  team.each(r.rows, [&](int64_t table, bool there) {
    there = there && (!centred || d.small[table]);
    double value[] = {0};
    for (int64_t x = team.rank; there && x < r.x_classes; x += team.lanes)
      value[0] += sums.line_value[table * r.x_classes + x];
    combine<1>(team, value, Sum());
    if (!there || team.rank > 0) return;
    const double total = sums.total[table];
    if constexpr (!centred) {
      r.saved_of(0, kHigh)[table] = sums.z_high[table];
      r.saved_of(0, kLogSum)[table] = sums.z_log[table];
      r.saved_of(0, kTotal)[table] = value[0] + total * F::score(1., 1., 1.);
      if constexpr (F::divergence) {
        // The total of logits is 1 but for the rounding of its sum.
        const double rounding = r.p.kind == kLogits ? 1e-12 : rounding_of_totals(r.p),
                     product = total * total;
        const bool agree = totals_agree(rounding, total, product);
        d.small[table] = agree && value[0] < kSmall<double>;
        if (agree) value[0] += product - total;
      }
    }
    store_value(d, table, locate(d, table), with_nan(value[0], total, 0.));
  });
}

template <class F>
__global__ void __launch_bounds__(kMostThreads, 1)
    write_cells(const __grid_constant__ DeviceRows d, int lanes) {
  const Team team(lanes);
  const TableSums& sums = d.tables;
  const Rows& r = d.rows;
  const int64_t lines = r.x_classes;
  team.each(r.rows * lines, [&](int64_t unit, bool there) {
    if (!there) return;
    const int64_t table = unit / lines;
    const Offsets at_table = locate(d, table);
    const double lx = sums.log_px[unit], total = r.saved_of(0, kTotal)[table];
    const double scale = (d.divisor ? r.scale / *d.divisor : r.scale) *
                         load_one<double>(r.g.data, r.g.type, at_table.of[DeviceRows::kG]);
    void* const out = const_cast<void*>(r.gradient.data);
    const int64_t to = at_table.of[DeviceRows::kGradient] + (unit % lines) * r.classes;
    sweep_cells(
        d, team, sums, unit, there, [&](const auto& p, Prob<double> cell, int64_t y, double ly) {
          const double slope = p.is_logits() ? gradient_by_cell<F, kLogits>(cell, lx, ly, total)
                               : p.kind() == kLogProbs
                                   ? gradient_by_cell<F, kLogProbs>(cell, lx, ly, total)
                                   : gradient_by_cell<F, kProbs>(cell, lx, ly, total);
          store_one(out, r.gradient.type, to + y, slope * scale);
        });
  });
}

}  // namespace
}  // namespace torch_infotheory
