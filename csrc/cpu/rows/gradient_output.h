// gradient_output.h -- where the gradient of a row group goes: to memory, a buffer or a panel.
#pragma once
#include "cpu/rows/operand.h"

namespace torch_infotheory {
namespace {

// Where the derivatives of a block go: to the gradient in memory, or to a buffer of whole packs.
template <class A>
struct GradientSink {
  A* to;
  AccessPattern pattern;
  bool padded;
  int64_t whole() const { return padded ? pattern.packs : pattern.whole(Pack<A>::width); }
  template <bool whole>
  TI_LANE void store(int64_t pack, std::bool_constant<whole>, Pack<A> v) const {
    A* at = to + pack * pattern.step;
    if (whole || padded)
      torch_infotheory::store(at, v);
    else
      store_lanes(at, 1, pattern.lanes(pack), v);
  }
};

// The gradient of a row group by one operand.
template <class A>
struct GradientOutput {
  static constexpr int width = Pack<A>::width;
  const Rows& r;
  const Wrt by;
  const Operand& to;
  A* panel;  // or null
  CopyPanel<A> store_panel;
  Write<A> write;
  int64_t offset = 0;  // of its rows

  // There is one pass, so that contiguous rows gain nothing from a panel.
  GradientOutput(const Rows& all, Wrt operand, const RowGroup& group, A* panel_memory)
      : r(all),
        by(operand),
        to(all.gradients[operand]),
        panel(uses_panel(group, all) && row_stride(all, to) != 1 ? panel_memory : nullptr),
        store_panel(panel_storer<A>(to.type)),
        write(writer<A>(to.type)) {}

  void move_to(const RowRange& range, int64_t j) {
    offset = range.at.gradients[by] + j * row_stride(r, to);
  }
  char* memory(int64_t first) const {
    return static_cast<char*>(const_cast<void*>(to.data)) +
           (offset + first * to.class_stride) * size_of(to.type);
  }
  AccessPattern pattern(const RowGroup& group, int64_t n) const {
    return group.lanes_are_rows
               ? AccessPattern::along_rows(to.class_stride, row_stride(r, to), n, group.rows)
               : AccessPattern::along_classes(to.class_stride, n, width);
  }
  // Where n classes go: to memory if nothing else is to be done with them, or to a buffer.
  GradientSink<A> sink(const RowGroup& group, int64_t first, int64_t n, bool plain,
                       A* buffer) const {
    const AccessPattern there = pattern(group, n);
    if (plain && !panel && to.type == own_type<A> && there.lane == 1)
      return {reinterpret_cast<A*>(memory(first)), there, false};
    const int64_t packs = group.packs<A>(n);
    return {panel ? panel + first * width : buffer, {width, 1, packs, width, width}, true};
  }
  void write_block(const RowGroup& group, int64_t first, int64_t n, const A* d) const {
    if (!panel) write(d, memory(first), pattern(group, n));
  }
  void flush(const RowGroup& group) const {
    if (panel)
      store_panel({memory(0), to.class_stride, row_stride(r, to), r.classes, group.rows}, panel);
  }
};

}  // namespace
}  // namespace torch_infotheory
