// small_tables.inl -- joint tables of few cells, one in each lane: no line of theirs would fill a
// pack.
//
// Knows sources and layout; must not know any formula by name, tensors, threads, or torch. Read
// next: tables.inl.
#pragma once
#include "cpu/rows.inl"

namespace torch_infotheory {
namespace {

constexpr int64_t kFewCells = 256;

template <class A>
struct SmallTables {
  static constexpr int width = Pack<A>::width;
  const Rows& r;
  Team team{/*by_rows=*/true};
  Turn<A> turn;
  alignas(64) A cells[kFewCells * width];                          // x after x
  alignas(64) A of_x[kFewCells * width], of_y[kFewCells * width];  // log p(x), log p(y)
  Pack<A> high, low;
  Pack<A> total;                                 // of the cells
  double z_high[width] = {}, z_log[width] = {};  // the log-normalizer of each

  explicit SmallTables(const Rows& rows)
      : r(rows), turn(tile_reader<A>(r.p.type)), high(0), low(0) {}
  static bool pays(const Rows& r) {
    return r.x_classes * r.classes <= kFewCells && r.classes < 2 * width && r.rank > 0 &&
           r.sizes[r.rank - 1] > 1;
  }

  // To the tables from row j of a run on.
  void move_to(const Run& run, int64_t j) {
    team.take<A>(run.n - j);
    const int64_t at = run.at.p + j * row_stride(r, r.p);
    // The cells in one go, or line by line.
    const bool in_line = r.p_x_stride == r.classes * r.p.class_stride;
    const int64_t lines = in_line ? 1 : r.x_classes,
                  in_each = in_line ? r.x_classes * r.classes : r.classes;
    for (int64_t x = 0; x < lines; ++x) {
      const int64_t offset = (at + x * r.p_x_stride) * size_of(r.p.type);
      void* line = static_cast<char*>(const_cast<void*>(r.p.data)) + offset;
      turn({line, r.p.class_stride, row_stride(r, r.p), in_each, team.rows},
           cells + x * in_each * width);
    }
  }
  void take_normalisers() {
    if (r.p.kind != kLogits) return;
    const View<A> all{cells, Walk::along_rows(width, 1, r.x_classes * r.classes, width)};
    const Pack<A> top = highest_of(all, Pack<A>(-Format<A>::largest));
    Wide<A>(top).store_lanes(z_high);
    map([](auto sum) { return log(sum); }, Wide<A>(mass_of(all, top))).store_lanes(z_log);
  }
  // From here on, logits are read as log-probabilities.
  void normalise() {
    if (r.p.kind == kLogits) split(Wide<A>(z_high), Wide<A>(z_log), high, low);
  }
  void take_marginals() {
    with_kind(r.p.kind, [&]<Kind kind>() __attribute__((always_inline)) {
      const Stretch<A, kind> from{{cells, Walk::along_rows(width, 1, 0, width)}, high, low};
      total = Pack<A>(0);
      for (int64_t y = 0; y < r.classes; ++y) store(of_y + y * width, Pack<A>(0));
      for (int64_t x = 0; x < r.x_classes; ++x) {
        Pack<A> px(0);
        for (int64_t y = 0; y < r.classes; ++y) {
          const Pack<A> p = from.at(x * r.classes + y, Whole<true>{}).p;
          px = px + p;
          store(of_y + y * width, load<A>(of_y + y * width) + p);
        }
        total = total + px;
        store(of_x + x * width, log(px));
      }
      for (int64_t y = 0; y < r.classes; ++y)
        store(of_y + y * width, log(load<A>(of_y + y * width)));
    });
  }
  // visit<kind>(i, cell, log p(x), log p(y)): cell i / width.
  template <class Visit>
  TI_LANE void each_cell(Visit visit) const {
    with_kind(r.p.kind, [&]<Kind kind>() __attribute__((always_inline)) {
      const Stretch<A, kind> from{{cells, Walk::along_rows(width, 1, 0, width)}, high, low};
      for (int64_t x = 0, i = 0; x < r.x_classes; ++x)
        for (int64_t y = 0; y < r.classes; ++y, ++i)
          visit.template operator()<kind>(i * width, from.at(i, Whole<true>{}),
                                          load<A>(of_x + x * width), load<A>(of_y + y * width));
    });
  }
};

}  // namespace
}  // namespace torch_infotheory
