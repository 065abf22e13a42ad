// walk.cuh -- one part of a row as the threads of a team see it.
//
// Classes side by side are taken in packs of 16 bytes, what comes before the first boundary and
// after the last one by one. Classes with a stride, and operands that reach their boundaries at
// different classes, are taken one by one throughout. Knows layout and kinds; must not know
// formulas by name. Read next: reduce.cuh.
#pragma once
#include <float.h>

#include "core/row.h"
#include "cuda/memory.cuh"
#include "cuda/plan.h"
#include "cuda/team.cuh"

namespace torch_infotheory {
namespace {

// Where a row lies in each operand, in elements.
struct Offsets {
  int64_t of[DeviceRows::kPlaces];
};
__device__ __forceinline__ Offsets locate(const DeviceRows& d, int64_t row) {
  Offsets at = {};
  for (int i = d.rows.rank - 1; i >= 0; --i) {
    int64_t index = row;
    if (i > 0) {
      row /= d.sizes[i];
      index -= row * d.sizes[i];
    }
#pragma unroll
    for (int k = 0; k < DeviceRows::kPlaces; ++k) at.of[k] += index * d.strides[k][i];
  }
  return at;
}

// A part of a row.
struct Part {
  int64_t row, first;  // its first class
  int classes;
  Offsets at;
};
__device__ __forceinline__ Part part_of(const DeviceRows& d, int64_t unit, bool there) {
  if (!there) return {};
  const Geometry& g = d.geometry;
  const int64_t row = g.parts == 1 ? unit : unit / g.parts,
                first = (unit - row * g.parts) * g.part_classes, left = d.rows.classes - first;
  return {row, first, int(left < g.part_classes ? left : g.part_classes), locate(d, row)};
}

// The numbers of one operand along a part. Absent where a label stands for them.
template <class A, int type_, int kind_>
struct Source {
  static constexpr int n = kPack<A, type_>;
  const char* data;
  int64_t stride;
  Type type_here;
  Kind kind_here;
  A high = 0, low = 0;  // logits are read relative to these

  __device__ __forceinline__ Source(const Operand& x, int64_t offset, int64_t first)
      : stride(x.class_stride), type_here(x.type), kind_here(x.kind) {
    data = static_cast<const char*>(x.data) + (offset + first * stride) * size_of(type());
  }
  __device__ __forceinline__ Type type() const {
    if constexpr (type_ == kAny)
      return type_here;
    else
      return Type(type_);
  }
  __device__ __forceinline__ Kind kind() const {
    if constexpr (kind_ == kAny)
      return kind_here;
    else
      return Kind(kind_);
  }
  __device__ __forceinline__ bool is_logits() const { return kind() == kLogits; }
  __device__ __forceinline__ bool is_absent() const { return kind() == kLabels; }

  // By how many elements the first class lies beyond a boundary; -1 where there are no packs.
  __device__ __forceinline__ int misaligned() const {
    const int size = int(size_of(type()));
    return stride == 1 ? int(reinterpret_cast<uintptr_t>(data) & (n * size - 1)) / size : -1;
  }
  __device__ __forceinline__ A one(int c) const { return load_one<A>(data, type(), c * stride); }
  __device__ __forceinline__ Pack pack(int c) const {
    const int size = int(size_of(type()));
    return load_pack(data + int64_t(c) * size, n * size);
  }
  // What stands for a class that is not there: probability 0, which contributes nothing.
  __device__ __forceinline__ A nothing() const {
    return kind() == kProbs || kind() == kWeights || is_absent() ? A(0) : A(-INFINITY);
  }
  // From here on logits are read as log-probabilities. In two parts, because z is not exact in A.
  __device__ __forceinline__ void normalise(double z_high, double z_log) {
    if (!is_logits()) return;
    const double z = z_high + z_log;
    high = A(z);
    low = A((z - double(high)) + rest_of(z_high, z_log, z));
  }
  __device__ __forceinline__ void probabilities(const A (&x)[n], Prob<A> (&c)[n]) const {
    if (is_logits()) {
#pragma unroll
      for (int k = 0; k < n; ++k) {
        c[k].log = (x[k] - high) - low;
        c[k].p = exp(c[k].log);
      }
    } else if (kind() == kLogProbs) {
#pragma unroll
      for (int k = 0; k < n; ++k) c[k] = {exp(x[k]), x[k]};
    } else if (kind() == kProbs) {
#pragma unroll
      for (int k = 0; k < n; ++k) {
        c[k].p = checked_probability<kProbs>(x[k]);
        c[k].log = log(c[k].p);
      }
    } else {
#pragma unroll
      for (int k = 0; k < n; ++k) c[k] = {x[k], x[k]};  // the logarithm is not read: see Target
    }
  }
};

// The classes of a part by the way they are taken.
struct Split {
  int classes, head, packs;

  template <int n, class... Sources>
  __device__ __forceinline__ static Split of(int classes, int misaligned, Sources... others) {
    if (misaligned < 0 || ((others != misaligned) || ...)) return {classes, 0, 0};
    int head = (n - misaligned) % n;
    if (head > classes) head = classes;
    return {classes, head, (classes - head) / n};
  }
};
// The classes that n numbers belong to; kNoClass is never among them.
constexpr int kNoClass = -2;
template <int n>
struct Whole {
  int first;
  __device__ __forceinline__ int operator[](int k) const { return first + k; }
  __device__ __forceinline__ bool has(int) const { return true; }
  __device__ __forceinline__ bool holds(int c) const { return unsigned(c - first) < unsigned(n); }
};
template <int n>
struct Ragged {
  int c[n];
  __device__ __forceinline__ int operator[](int k) const { return c[k]; }
  __device__ __forceinline__ bool has(int k) const { return c[k] >= 0; }
  __device__ __forceinline__ bool holds(int class_) const {
    bool any = false;
#pragma unroll
    for (int k = 0; k < n; ++k) any |= c[k] == class_;
    return any;
  }
};

// Reading a part that is read twice: its packs stay in shared memory where there is room.
enum class Parking { kNone, kKeep, kKept };

// p and q along a part.
template <class A, int type, int p_kind, int q_kind, bool two>
struct Pair {
  static constexpr int n = kPack<A, type>;
  using Number = A;
  struct Packs {
    Pack p, q;
  };
  Source<A, type, p_kind> p;
  Source<A, type, q_kind> q;
  Split split;
  Pack* parked = nullptr;
  int room = 0;

  __device__ __forceinline__ Pair(const Operand& p, const Operand& q, const Part& part)
      : p(p, part.at.of[DeviceRows::kP], part.first), q(q, part.at.of[DeviceRows::kQ], part.first) {
    split_at_boundaries(part.classes);
  }
  __device__ __forceinline__ void split_at_boundaries(int classes) {
    split = p.is_absent() ? Split::of<n>(classes, q.misaligned())
            : two         ? Split::of<n>(classes, p.misaligned(), q.misaligned())
                          : Split::of<n>(classes, p.misaligned());
  }
  // Each thread reads back only what it has parked itself, so that no barrier is needed.
  __device__ __forceinline__ void park_in(unsigned char* shared, const Team& team, int packs) {
    room = packs;
    parked = reinterpret_cast<Pack*>(shared) + int64_t(team.index) * (two ? 2 : 1) * packs;
  }
  template <Parking parking>
  __device__ __forceinline__ Packs load(int i) const {
    Packs x = {};
    if (parking == Parking::kKept && i < room) {
      x.p = parked[i];
      if (two) x.q = parked[room + i];
      return x;
    }
    const int c = split.head + i * n;
    if (!p.is_absent()) x.p = p.pack(c);
    if (two) x.q = q.pack(c);
    if (parking == Parking::kKeep && i < room) {
      parked[i] = x.p;
      if (two) parked[room + i] = x.q;
    }
    return x;
  }
  __device__ __forceinline__ void widen(const Packs& from, A (&x)[n], A (&y)[n]) const {
    torch_infotheory::widen(p.type(), from.p, x);  // 0, where p is absent
    if (two) torch_infotheory::widen(q.type(), from.q, y);
  }
  __device__ __forceinline__ void one(int c, A& x, A& y) const {
    x = c < 0 || p.is_absent() ? p.nothing() : p.one(c);
    if (two) y = c < 0 ? q.nothing() : q.one(c);
  }
};

// body(classes, x, y) over a part, `at_once` packs in flight.
template <Parking parking, int at_once, class Both, class Body>
__device__ __forceinline__ void sweep(const Team& team, const Both& rows, Body body) {
  constexpr int n = Both::n;
  typename Both::Number x[n], y[n];
  const Split& s = rows.split;
  const int ragged = s.classes - s.packs * n;
  for (int j = team.rank; j < ragged; j += n * team.lanes) {
    Ragged<n> at;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const int i = j + k * team.lanes;
      at.c[k] = i >= ragged ? -1 : i < s.head ? i : i + s.packs * n;
      rows.one(at.c[k], x[k], y[k]);
    }
    body(at, x, y);
  }
  int i = team.rank;
  for (; i + (at_once - 1) * team.lanes < s.packs; i += at_once * team.lanes) {
    typename Both::Packs packs[at_once];
#pragma unroll
    for (int u = 0; u < at_once; ++u) packs[u] = rows.template load<parking>(i + u * team.lanes);
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      rows.widen(packs[u], x, y);
      body(Whole<n>{s.head + (i + u * team.lanes) * n}, x, y);
    }
  }
  if constexpr (at_once > 1)
    for (; i < s.packs; i += team.lanes) {
      rows.widen(rows.template load<parking>(i), x, y);
      body(Whole<n>{s.head + i * n}, x, y);
    }
}

}  // namespace
}  // namespace torch_infotheory
