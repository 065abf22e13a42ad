// teams.inl -- the order in which a kernel takes rows: team after team, several in step, or
// segments of few long rows.
//
// Knows layout; must not know any formula by name, tensors, threads, or torch. Read next:
// values.inl.
#pragma once
#include "cpu/lanes.inl"

namespace torch_infotheory {
namespace {

// Where the rows of a kernel are worked on.
template <class A>
struct Room {
  Tile<A> p, q, out;
};
// Teams that are worked on in step, and how many of them: more than one only where their rows lie
// side by side, and none of them has a tile, because all teams share the tiles.
template <class T>
struct Teams {
  static constexpr int most = 4;
  T of[most];
  int n;
  template <class... X>
  Teams(Rows& r, X... x)
      : of{T(r, x...), T(r, x...), T(r, x...), T(r, x...)},
        n(of[0].rows.team.lanes_are_rows && !of[0].has_tiles() ? most : 1) {}
  // Moves to the rows from row j of a run on, and j behind them; returns how many teams there are.
  int move_to(const Run& run, int64_t& j) {
    int i = 0;
    do {
      of[i].move_to(run, j);
      j += of[i].rows.team.rows;
    } while (++i < n && j < run.n);
    return i;
  }
};

// visit(row, segment, first, last) for units of work: classes [first, last) of a row.
template <class Visit>
TI_LANE void each_segment(const Rows& r, int64_t begin, int64_t end, Visit visit) {
  const int64_t segments = r.segments();
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t first = unit % segments * r.segment, rest = r.classes - first;
    visit(unit / segments, unit, first, first + (rest < r.segment ? rest : r.segment));
  }
}

}  // namespace
}  // namespace torch_infotheory
