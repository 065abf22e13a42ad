// launch_config.h -- launch geometry: which threads work on which classes of which row.
//
// Plain C++ with fixed constants, so that results do not depend on the device.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <algorithm>

namespace torch_infotheory {

// A group of `group_size` threads, some lanes of a warp or the whole block, works on one segment of
// a row. A row has `segments` segments of `segment_classes` classes each; the last one may be
// shorter.
struct Geometry {
  unsigned grid = 0, block = 0;
  size_t shared = 0;  // dynamic shared memory of a block, in bytes
  int group_size = 1;
  int64_t segments = 1, segment_classes = 0;
  int cached_packs = 0;  // of each operand of a segment, in shared memory
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int next_power_of_two(int64_t n) {
  int power = 1;
  while (power < n && power < (1 << 30)) power *= 2;
  return power;
}

struct RowShape {
  int64_t rows, classes;
  int pack;  // classes in 16 bytes
  // Neighboring threads read neighboring classes. Otherwise they read neighboring rows, which are
  // contiguous instead.
  bool along_classes;
};

constexpr int64_t kMaxSegmentClasses = int64_t(1) << 30;  // a segment counts them in 32 bits
// Threads of a block.
constexpr int kWarp = 32, kMinThreads = 128, kMaxThreads = 256;
// Dynamic shared memory that a block has by default: all_reduce needs the static part.
constexpr size_t kStaticShared = 2048, kDefaultDynamicShared = 48 * 1024 - kStaticShared;

inline void split_rows(Geometry& g, const RowShape& x, int64_t segments, int64_t min_classes) {
  segments = std::min(segments, x.classes / min_classes);
  segments = std::max({segments, ceil_div(x.classes, kMaxSegmentClasses), int64_t(1)});
  constexpr int64_t alignment = 64;  // if a row begins at a 16-byte boundary, so do its segments
  g.segment_classes =
      std::max(ceil_div(ceil_div(x.classes, segments), alignment), int64_t(1)) * alignment;
  g.segments = std::max(ceil_div(x.classes, g.segment_classes), int64_t(1));
}
inline void set_grid(Geometry& g, int64_t rows) {
  const int64_t groups = g.block / g.group_size, blocks = ceil_div(rows * g.segments, groups);
  g.grid = unsigned(std::clamp<int64_t>(blocks, 1, 0x7fffffff));
}

// Reductions. A few long rows are split into segments, whose results are merged in order.
inline Geometry forward_geometry(const RowShape& x) {
  constexpr int64_t target_blocks = 256, target_threads = 32768;
  Geometry g;
  if (x.along_classes) {
    const bool few_rows = x.rows < target_blocks / 2;
    split_rows(g, x, few_rows ? target_blocks / std::max<int64_t>(1, x.rows) : 1, 8192);
    const int64_t packs = ceil_div(std::min(x.classes, g.segment_classes), x.pack);
    const bool fits_warp = x.classes <= 1024;
    g.block =
        fits_warp
            ? kMinThreads
            : unsigned(std::clamp(next_power_of_two(ceil_div(packs, 8)), kMinThreads, kMaxThreads));
    g.group_size = fits_warp ? std::min(kWarp, next_power_of_two(packs)) : int(g.block);
  } else {
    split_rows(g, x, target_threads / std::max<int64_t>(1, x.rows), 32);
    g.block = kMinThreads;
  }
  set_grid(g, x.rows);
  return g;
}
// Rows that are read twice are cached in shared memory, of which a block has `bytes`, as far as
// they fit. The size of the cache does not change results.
inline void reserve_cache(Geometry& g, const RowShape& x, int operands, size_t bytes) {
  constexpr size_t bytes_of_pack = 16;
  const int64_t groups = g.block / g.group_size,
                packs = std::min(x.classes, g.segment_classes) / x.pack,
                capacity = int64_t(bytes / (bytes_of_pack * operands * groups));
  g.cached_packs = int(std::min(packs, capacity));
  g.shared = g.cached_packs * bytes_of_pack * operands * groups;
}

// Elementwise kernels. Segments need no merging, so they can be short enough to fill any device.
inline Geometry elementwise_geometry(const RowShape& x) {
  constexpr int64_t packs_per_thread = 8, target_threads = 65536;
  Geometry g;
  g.block = kMaxThreads;
  if (x.along_classes) {
    const int64_t max_classes = kMaxThreads * packs_per_thread * x.pack;
    split_rows(g, x, ceil_div(x.classes, max_classes), 1);
    const int64_t packs = ceil_div(std::min(x.classes, g.segment_classes), x.pack);
    g.group_size = std::min(kMaxThreads, next_power_of_two(packs));
  } else {
    split_rows(g, x, target_threads / std::max<int64_t>(1, x.rows), 8);
  }
  set_grid(g, x.rows);
  return g;
}

// The threads that reduce `count` numbers: up to a warp, or up to a block if each has several.
inline int group_size_for(int64_t count) {
  const int power = next_power_of_two(count);
  return power <= 1024 ? std::min(power, kWarp) : std::min(power / 8, kMaxThreads);
}
// One group for each of `tasks` tasks.
inline Geometry geometry_of_groups(int64_t tasks, int group_size) {
  Geometry g;
  g.block = unsigned(std::max(group_size, kMinThreads));
  g.group_size = group_size;
  set_grid(g, tasks);
  return g;
}

// A sum of `count` numbers. One block then sums the results of all blocks.
inline Geometry sum_geometry(int64_t count) {
  Geometry g;
  g.block = kMaxThreads;
  g.group_size = kMaxThreads;
  g.grid = unsigned(std::clamp<int64_t>(ceil_div(count, 16 * kMaxThreads), 1, 256));
  return g;
}

}  // namespace torch_infotheory
