// small_table.h -- joint tables of few cells, one in each lane, because their lines would not fill
// a pack.
#pragma once
#include "cpu/rows/operand.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kFewCells = 256;

template <class A>
struct SmallTables {
  static constexpr int width = Pack<A>::width;
  const Rows& r;
  RowGroup group{/*by_rows=*/true};
  CopyPanel<A> load_panel;
  alignas(64) A cells[kFewCells * width];                              // x after x
  alignas(64) A log_px[kFewCells * width], log_py[kFewCells * width];  // log p(x), log p(y)
  Pack<A> high, low;
  Pack<A> total;                                 // of the cells
  double z_high[width] = {}, z_log[width] = {};  // the log-normalizer of each

  explicit SmallTables(const Rows& rows)
      : r(rows), load_panel(panel_loader<A>(r.p.type)), high(0), low(0) {}
  static bool is_faster(const Rows& r) {
    return r.x_classes * r.classes <= kFewCells && r.classes < 2 * width && r.rank > 0 &&
           r.sizes[r.rank - 1] > 1;
  }

  // Moves to the tables of a range from row j on.
  void move_to(const RowRange& range, int64_t j) {
    group.resize<A>(range.n - j);
    const int64_t at = range.at.p + j * row_stride(r, r.p);
    const bool in_line = r.p_x_stride == r.classes * r.p.class_stride;
    const int64_t lines = in_line ? 1 : r.x_classes,
                  in_each = in_line ? r.x_classes * r.classes : r.classes;
    for (int64_t x = 0; x < lines; ++x) {
      const int64_t offset = (at + x * r.p_x_stride) * size_of(r.p.type);
      void* line = static_cast<char*>(const_cast<void*>(r.p.data)) + offset;
      load_panel({line, r.p.class_stride, row_stride(r, r.p), in_each, group.rows},
                 cells + x * in_each * width);
    }
  }
  void find_normalizers() {
    if (r.p.kind != kLogits) return;
    const Span<A> all{cells, AccessPattern::along_rows(width, 1, r.x_classes * r.classes, width)};
    const Pack<A> top = highest_of(all, Pack<A>(-Format<A>::largest));
    InDouble<A>(top).store_lanes(z_high);
    map([](auto sum) { return log(sum); }, InDouble<A>(sum_of_exp(all, top))).store_lanes(z_log);
  }
  // From here on logits are read as log-probabilities.
  void normalize() {
    if (r.p.kind == kLogits) split(InDouble<A>(z_high), InDouble<A>(z_log), high, low);
  }
  void find_marginals() {
    with_kind(r.p.kind, [&]<Kind kind>() __attribute__((always_inline)) {
      const ProbSpan<A, kind> from{
          {cells, AccessPattern::along_rows(width, 1, 0, width)}, high, low};
      total = Pack<A>(0);
      for (int64_t y = 0; y < r.classes; ++y) store(log_py + y * width, Pack<A>(0));
      for (int64_t x = 0; x < r.x_classes; ++x) {
        Pack<A> px(0);
        for (int64_t y = 0; y < r.classes; ++y) {
          const Pack<A> p = from.at(x * r.classes + y, std::true_type{}).p;
          px = px + p;
          store(log_py + y * width, load<A>(log_py + y * width) + p);
        }
        total = total + px;
        store(log_px + x * width, log(px));
      }
      for (int64_t y = 0; y < r.classes; ++y)
        store(log_py + y * width, log(load<A>(log_py + y * width)));
    });
  }
  // Calls visit<kind>(i, cell, log p(x), log p(y)) for each cell; i / width is its index.
  template <class Visit>
  TI_LANE void each_cell(Visit visit) const {
    with_kind(r.p.kind, [&]<Kind kind>() __attribute__((always_inline)) {
      const ProbSpan<A, kind> from{
          {cells, AccessPattern::along_rows(width, 1, 0, width)}, high, low};
      for (int64_t x = 0, i = 0; x < r.x_classes; ++x)
        for (int64_t y = 0; y < r.classes; ++y, ++i)
          visit.template operator()<kind>(i * width, from.at(i, std::true_type{}),
                                          load<A>(log_px + x * width), load<A>(log_py + y * width));
    });
  }
};

}  // namespace
}  // namespace torch_infotheory
