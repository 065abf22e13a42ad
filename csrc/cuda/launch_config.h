// launch_config.h -- launch geometry: who works on which classes of which row.
//
// Plain C++ and fixed constants, so that the launcher, the tests and a simulator agree, and results
// do not depend on the card. Must not know CUDA, tensors, or formulas. Read next: rows.cuh.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <algorithm>

namespace torch_infotheory {

// A team of `lanes` threads works on one part of a row: some lanes of a warp, or the whole block. A
// row of `classes` is cut into `parts` of `part_classes` each, the last one shorter.
struct Geometry {
  unsigned grid = 0, block = 0;
  size_t shared = 0;  // dynamic shared memory of a block, in bytes
  int lanes = 1;
  int64_t parts = 1, part_classes = 0;
  int parked = 0;  // packs of each operand that a team keeps in shared memory
};

inline int64_t quotient_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int power_of_two_above(int64_t n) {
  int power = 1;
  while (power < n && power < (1 << 30)) power *= 2;
  return power;
}

// How the classes of a row lie, and how many of them a thread takes at once.
struct RowShape {
  int64_t rows, classes;
  int pack;
  // The classes lie side by side. If not, neighboring threads take neighboring rows instead.
  bool along_classes;
};

constexpr int64_t kMostOfAPart = int64_t(1) << 30;  // classes of a part are counted in 32 bits
// Threads of a block, for short rows and for long ones.
constexpr int kWarp = 32, kFewThreads = 128, kMostThreads = 256;
// Dynamic shared memory that a block may use without asking: what the sums across its warps take is
// left to them.
constexpr size_t kSharedBySums = 2048, kSharedMemory = 48 * 1024 - kSharedBySums;

inline void cut_rows(Geometry& g, const RowShape& x, int64_t parts, int64_t least) {
  parts = std::min(parts, x.classes / least);
  parts = std::max({parts, quotient_up(x.classes, kMostOfAPart), int64_t(1)});
  constexpr int64_t aligned = 64;  // parts of a row that begins at 16 bytes begin there, too
  g.part_classes =
      std::max(quotient_up(quotient_up(x.classes, parts), aligned), int64_t(1)) * aligned;
  g.parts = std::max(quotient_up(x.classes, g.part_classes), int64_t(1));
}
inline void cover(Geometry& g, int64_t rows) {
  const int64_t teams = g.block / g.lanes, blocks = quotient_up(rows * g.parts, teams);
  g.grid = unsigned(std::clamp<int64_t>(blocks, 1, 0x7fffffff));
}

// Reductions. Few long rows are cut into parts, whose results are merged in order.
inline Geometry forward_geometry(const RowShape& x) {
  constexpr int64_t enough_blocks = 256, enough_threads = 32768;
  Geometry g;
  if (x.along_classes) {
    const bool few = x.rows < enough_blocks / 2;
    cut_rows(g, x, few ? enough_blocks / std::max<int64_t>(1, x.rows) : 1, 8192);
    const int64_t packs = quotient_up(std::min(x.classes, g.part_classes), x.pack);
    const bool warp_is_enough = x.classes <= 1024;
    g.block = warp_is_enough ? kFewThreads
                             : unsigned(std::clamp(power_of_two_above(quotient_up(packs, 8)),
                                                   kFewThreads, kMostThreads));
    g.lanes = warp_is_enough ? std::min(kWarp, power_of_two_above(packs)) : int(g.block);
  } else {
    cut_rows(g, x, enough_threads / std::max<int64_t>(1, x.rows), 32);
    g.block = kFewThreads;
  }
  cover(g, x.rows);
  return g;
}
// Rows that are read twice stay in shared memory, of which a block has `bytes`, as far as they fit.
// How much that is changes no result.
inline void park(Geometry& g, const RowShape& x, int operands, size_t bytes) {
  constexpr size_t bytes_of_pack = 16;
  const int64_t teams = g.block / g.lanes, packs = std::min(x.classes, g.part_classes) / x.pack,
                room = int64_t(bytes / (bytes_of_pack * operands * teams));
  g.parked = int(std::min(packs, room));
  g.shared = g.parked * bytes_of_pack * operands * teams;
}

// Elementwise work: parts need no merging, so that they are short enough to fill any card.
inline Geometry map_geometry(const RowShape& x) {
  constexpr int64_t packs_per_thread = 8, enough_threads = 65536;
  Geometry g;
  g.block = kMostThreads;
  if (x.along_classes) {
    const int64_t most = kMostThreads * packs_per_thread * x.pack;
    cut_rows(g, x, quotient_up(x.classes, most), 1);
    const int64_t packs = quotient_up(std::min(x.classes, g.part_classes), x.pack);
    g.lanes = std::min(kMostThreads, power_of_two_above(packs));
  } else {
    cut_rows(g, x, enough_threads / std::max<int64_t>(1, x.rows), 8);
  }
  cover(g, x.rows);
  return g;
}

// Lanes for so many numbers: some of a warp, or up to a block where there is work for each.
inline int lanes_for(int64_t numbers) {
  const int enough = power_of_two_above(numbers);
  return enough <= 1024 ? std::min(enough, kWarp) : std::min(enough / 8, kMostThreads);
}
// One team for each row, whatever its length.
inline Geometry team_geometry(int64_t rows, int lanes) {
  Geometry g;
  g.block = unsigned(std::max(lanes, kFewThreads));
  g.lanes = lanes;
  cover(g, rows);
  return g;
}

// A sum over `numbers` numbers by that many blocks; one block sums their results.
inline Geometry sum_geometry(int64_t numbers) {
  Geometry g;
  g.block = kMostThreads;
  g.lanes = kMostThreads;
  g.grid = unsigned(std::clamp<int64_t>(quotient_up(numbers, 16 * kMostThreads), 1, 256));
  return g;
}

}  // namespace torch_infotheory
