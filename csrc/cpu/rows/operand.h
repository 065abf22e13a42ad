// operand.h -- row groups, and the operands as their lanes see them.
//
// A row group is one row, whose classes are distributed over the lanes, or as many rows as there
// are lanes, one each: many rows of few classes, which are transposed into a panel first, or rows
// that are contiguous along an inner dimension, as in (N, C, H, W). The loops are the same for
// both; only at the end the lanes of a single row are merged.
#pragma once
#include "core/row.h"
#include "cpu/memory/dtypes.h"
#include "cpu/rows/iterate.h"

namespace torch_infotheory {
namespace {

struct RowGroup {
  bool lanes_are_rows;
  int64_t rows;  // 1, or up to the width of a pack

  explicit RowGroup(bool by_rows) : lanes_are_rows(by_rows), rows(1) {}
  // Whether a group should have a row in each lane.
  static bool prefers_rows(const Rows& r) {
    const Operand& x = r.p.kind == kLabels ? r.q : r.p;
    if (r.rank == 0 || r.elementwise || r.sizes[r.rank - 1] < 2) return false;
    return x.class_stride == 1 ? r.classes <= kFewClasses : x.row_strides[r.rank - 1] == 1;
  }
  // Takes as many of the `left` rows of a range as there are lanes.
  template <class A>
  void resize(int64_t left) {
    if (lanes_are_rows) rows = left < Pack<A>::width ? left : Pack<A>::width;
  }
  template <class A>
  int64_t classes_per_block() const {
    return lanes_are_rows ? kBlock / Pack<A>::width : kBlock;
  }
  // The packs that n classes take.
  template <class A>
  int64_t packs(int64_t n) const {
    return lanes_are_rows ? n : (n + Pack<A>::width - 1) / Pack<A>::width;
  }
};

// Rows of few classes are copied into a panel because contiguous classes have to be transposed, and
// because rows that lie a power of two apart would evict each other from the cache between two
// passes.
inline bool uses_panel(const RowGroup& group, const Rows& r) {
  return group.lanes_are_rows && r.classes <= kFewClasses;
}
// One number per row of a group, in the lanes of the row.
template <class A>
TI_LANE InDouble<A> in_lanes(const RowGroup& group, const double* numbers) {
  return group.lanes_are_rows ? InDouble<A>(numbers) : InDouble<A>(*numbers);
}
// The log-normalizers z of rows in their two parts, see core/row.h.
struct Normalizers {
  const double *high, *log;
};

// z as the sum of two numbers of A.
template <class A>
TI_LANE void split(const InDouble<A>& z_high, const InDouble<A>& z_log, Pack<A>& high,
                   Pack<A>& low) {
  const InDouble<A> z = map([](auto a, auto b) { return a + b; }, z_high, z_log);
  high = z.narrowed();
  low = map([](auto a, auto b, auto z, auto high) { return (z - high) + error_of_sum(a, b, z); },
            z_high, z_log, z, InDouble<A>(high))
            .narrowed();
}

// The reference of sums of exponentials may be this far below the maximum before it is moved,
// because every move rescales the sums.
constexpr double kSlack = 8;
// Moves the reference of a row group if the maximum in some lane is above it by more; returns
// whether it did.
template <class A>
TI_LANE bool move_up(const RowGroup& group, Pack<A> top, Pack<A>& reference) {
  const auto above = top > reference + Pack<A>(kSlack);
  if (!any(above, top)) return false;
  reference = group.lanes_are_rows ? select(above, top, reference) : Pack<A>(highest(top));
  return true;
}

// An operand of a row group.
template <class A>
struct Source {
  static constexpr int width = Pack<A>::width;

  const char* data = nullptr;
  int64_t class_stride, lane_stride, size;
  Kind kind;
  A* panel;  // or null
  CopyPanel<A> load_panel;
  Convert<A> convert;  // null where memory, or the panel, has the numbers computed with
  Read<A> read;
  A temperature;
  bool divides_in_float;
  Pack<A> high, low;
  int64_t converted_from = -1;  // the first class in `converted`
  alignas(64) A converted[kBlock];

  Source(const Rows& r, const Operand& x, const RowGroup& group, A* panel_memory)
      : class_stride(x.class_stride),
        lane_stride(row_stride(r, x)),
        size(size_of(x.type)),
        kind(x.kind),
        panel(kind != kLabels && uses_panel(group, r) ? panel_memory : nullptr),
        load_panel(panel_loader<A>(x.type)),
        convert(panel || (x.type == own_type<A> && x.temperature == 1) ? nullptr
                                                                       : converter<A>(x.type)),
        read(reader<A>(kind)),
        temperature(A(x.temperature)),
        divides_in_float(x.quotient == kFloat),
        high(0),
        low(0) {
    if (panel) {
      data = reinterpret_cast<const char*>(panel);
      class_stride = width;
      lane_stride = 1;
    }
  }

  bool is_logits() const { return kind == kLogits; }
  // Whether its packs are contiguous.
  bool is_plain(const RowGroup& group) const {
    return convert || (group.lanes_are_rows ? lane_stride : class_stride) == 1;
  }
  void move_to(const Rows& r, const Operand& x, int64_t offset, const RowGroup& group) {
    const char* there = static_cast<const char*>(x.data) + offset * size;
    if (panel) {
      load_panel(
          {const_cast<char*>(there), x.class_stride, row_stride(r, x), r.classes, group.rows},
          panel);
      divide_logits(panel, r.classes);
    } else {
      data = there;
    }
    converted_from = -1;
    high = Pack<A>(is_logits() ? -Format<A>::largest : A(0));
    low = Pack<A>(0);
  }
  // By the temperature, in copies of memory.
  void divide_logits(A* x, int64_t packs) const {
    if (temperature == 1) return;
    if constexpr (sizeof(A) == sizeof(double))
      if (divides_in_float) return divide_in_float(x, packs * width, float(temperature));
    divide(x, packs * width, temperature);
  }
  // Moves to other classes, which are in no panel.
  void point_to(const Operand& x, int64_t offset) {
    data = static_cast<const char*>(x.data) + offset * size;
    converted_from = -1;
  }
  // n classes. (Each span is built in its return statement, because a copy would wait for the
  // stores of the one copied.)
  Span<A> span(const RowGroup& group, int64_t first, int64_t n) {
    const auto pattern = [&](int64_t class_step, int64_t row_step, int64_t rows) {
      return group.lanes_are_rows ? AccessPattern::along_rows(class_step, row_step, n, rows)
                                  : AccessPattern::along_classes(class_step, n, width);
    };
    if (panel) return {panel + first * width, pattern(width, 1, width)};
    const char* there = data + first * class_stride * size;
    if (!convert)
      return {reinterpret_cast<const A*>(there), pattern(class_stride, lane_stride, group.rows)};
    if (converted_from != first) {
      convert(there, pattern(class_stride, lane_stride, group.rows), converted);
      divide_logits(converted, group.packs<A>(n));
    }
    converted_from = first;
    return {converted, pattern(group.lanes_are_rows ? width : 1, 1, width)};
  }
  template <Kind k>
  TI_LANE ProbSpan<A, k> probs(const RowGroup& group, int64_t first, int64_t n) {
    return {span(group, first, n), high, low};
  }
  void read_block(const RowGroup& group, int64_t first, int64_t n, Block<A>& to) {
    read(span(group, first, n), high, low, to);
  }
  // From here on blocks have no probabilities, or have them again.
  void read_logarithms() {
    if (is_logits()) read = torch_infotheory::read_logarithms<A>;
  }
  void read_probabilities() { read = reader<A>(kind); }
  // The sum of the probabilities of n classes, relative to the reference.
  Pack<A> sum_of_block(const RowGroup& group, int64_t first, int64_t n, Block<A>& scratch) {
    if (is_logits()) return sum_of_exp(span(group, first, n), high);
    Pack<A> sum(0);
    if (kind == kLabels) return sum;
    read_block(group, first, n, scratch);
    for (int64_t i = 0; i < group.packs<A>(n); ++i) sum = sum + load<A>(scratch.p + i * width);
    return sum;
  }
  // Updates the reference by n classes; returns old - new, which is at most 0.
  Pack<A> update_max(const RowGroup& group, int64_t first, int64_t n) {
    if (!is_logits()) return Pack<A>(0);
    const Pack<A> old = high, top = highest_of(span(group, first, n), old);
    if (!move_up(group, top, high)) return Pack<A>(0);
    return max(Pack<A>(-Format<A>::largest / 4), old - high);  // beyond it e^move is 0 anyway
  }
  // From here on logits are read as log-probabilities: relative to z, in two parts because z is not
  // exact in A.
  void normalize(const InDouble<A>& z_high, const InDouble<A>& z_log) {
    if (is_logits()) split(z_high, z_log, high, low);
  }
  void normalize(const Normalizers& z, const RowGroup& group) {
    normalize(in_lanes<A>(group, z.high), in_lanes<A>(group, z.log));
  }
};

// The panels of a kernel.
template <class A>
struct Workspace {
  Panel<A> p, q, by_p, by_q;
};
// Up to four row groups that are processed in step: more than one only where their rows are
// contiguous and in no panel, because all groups share the panels.
template <class T>
struct RowGroups {
  static constexpr int most = 4;
  T group[most];
  int n;
  template <class... X>
  RowGroups(Rows& r, X... x)
      : group{T(r, x...), T(r, x...), T(r, x...), T(r, x...)},
        n(group[0].rows.group.lanes_are_rows && !group[0].has_panels() ? most : 1) {}
  // Moves to the rows of a range from row j on, and j past them; returns the number of groups.
  int move_to(const RowRange& range, int64_t& j) {
    int i = 0;
    do {
      group[i].move_to(range, j);
      j += group[i].rows.group.rows;
    } while (++i < n && j < range.n);
    return i;
  }
};

}  // namespace
}  // namespace torch_infotheory
