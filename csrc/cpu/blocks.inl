// blocks.inl -- from memory to probabilities and back, 512 classes at a time.
//
// A reader turns a stretch of a row into a Block: every class as a probability and as its
// logarithm, in L1 cache. A formula folds blocks and never sees memory; so there are (kinds x
// types) readers plus (formulas) folds, not their product. Knows sources and packs; must not know
// any formula by name, tensors, or torch. Read next: rows.inl.
#pragma once
#include "core/sources.h"
#include "cpu/wide.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kBlock = 512;
constexpr int64_t kAhead = 1024;  // bytes of a row asked for before they are read

// Which numbers of memory the packs of a block are: number j of pack k lies at k * step + j * lane.
// The lanes are classes of one row, or rows (tiles.inl). A pack has `full` of them, the last one
// `last`.
struct Walk {
  int64_t step, lane, packs, full, last;

  template <class A>
  static Walk along_classes(int64_t stride, int64_t n) {
    constexpr int64_t width = Pack<A>::width;
    const int64_t packs = (n + width - 1) / width;
    return {width * stride, stride, packs, width, n - (packs - 1) * width};
  }
  static Walk along_rows(int64_t class_stride, int64_t row_stride, int64_t classes, int64_t rows) {
    return {class_stride, row_stride, classes, rows, rows};
  }
};

// f(i, pack, lanes, k): pack i / width of the walk, of which that many lanes are there; the others
// repeat its first. k counts the packs modulo 4, for four sums in flight hide the latency of one.
// It depends on nothing else, so that a lane sums in one order whatever the other lanes hold.
template <class A, class T, class F>
TI_LANE void each_pack(const T* x, const Walk& walk, F f) {
  constexpr int64_t width = Pack<A>::width;
  int64_t pack = 0, whole = 0;
  const auto next = [&](int k) __attribute__((always_inline)) {
    f(pack * width, load<A>(x), width, k);
    x += walk.step;
    ++pack;
  };
  if (walk.lane == 1) whole = walk.full < width ? 0 : walk.packs - (walk.last < width);
  while (pack + 4 <= whole) {  // numbers side by side
    __builtin_prefetch(reinterpret_cast<const char*>(x) + kAhead);
    next(0), next(1), next(2), next(3);
  }
  if (pack < whole) next(0);
  if (pack < whole) next(1);
  if (pack < whole) next(2);
  for (; pack < walk.packs; ++pack, x += walk.step) {
    const int64_t lanes = pack + 1 < walk.packs ? walk.full : walk.last;
    T part[width];
    for (int64_t j = 0; j < lanes; ++j) part[j] = x[j * walk.lane];
    for (int64_t j = lanes; j < width; ++j) part[j] = x[0];
    const Pack<A> v = load<A>(part);
    switch (pack % 4) {  // a k known to the compiler keeps the sums in registers
      case 0:
        f(pack * width, v, lanes, 0);
        break;
      case 1:
        f(pack * width, v, lanes, 1);
        break;
      case 2:
        f(pack * width, v, lanes, 2);
        break;
      default:
        f(pack * width, v, lanes, 3);
    }
  }
}

template <class A>
struct Block {
  alignas(64) A p[kBlock];
  alignas(64) A log[kBlock];
  TI_LANE Prob<Pack<A>> at(int64_t i) const { return {load<A>(p + i), load<A>(log + i)}; }

  // What a lane without a number holds: probability 0, which contributes nothing to any formula.
  void empty(int64_t i, int64_t lanes) {
    for (int64_t j = lanes; j < Pack<A>::width; ++j) p[i + j] = 0, log[i + j] = A(-INFINITY);
  }
};

template <class A>
using Read = void (*)(const void* x, const Walk& walk, Pack<A> high, Pack<A> low, Block<A>& to);
template <class A>
using Highest = Pack<A> (*)(const void* x, const Walk& walk, Pack<A> least);
template <class A>
using Mass = Pack<A> (*)(const void* x, const Walk& walk, Pack<A> high);
template <class A>
using Write = void (*)(const A* from, void* to, const Walk& walk);

// Logits are read relative to high + low, which is the row's log-normaliser in two parts once that
// is known.
template <class A, class T, Kind kind>
void read(const void* x, const Walk& walk, Pack<A> high, Pack<A> low, Block<A>& to) {
  each_pack<A>(static_cast<const T*>(x), walk,
               [&](int64_t i, Pack<A> v, int64_t lanes, int) __attribute__((always_inline)) {
                 Prob<Pack<A>> c;
                 if constexpr (kind == kLogits) c.log = (v - high) - low;
                 if constexpr (kind == kLogProbs) c.log = v;
                 if constexpr (kind == kLogits || kind == kLogProbs) c.p = exp(c.log);
                 if constexpr (kind == kProbs || kind == kWeights)
                   c.p = checked_probability<kind>(v);
                 if constexpr (kind == kProbs) c.log = log(c.p);
                 if constexpr (kind == kWeights) c.log = c.p;  // not read: see Target
                 store(to.p + i, c.p);
                 store(to.log + i, c.log);
                 if (lanes != Pack<A>::width) to.empty(i, lanes);
               });
}

template <class A>
TI_LANE Pack<A> first_lanes(Pack<A> x, int64_t lanes) {
  for (int64_t j = lanes; j < Pack<A>::width; ++j) x.v[j] = 0;
  return x;
}

// The maximum of each lane.
template <class A, class T>
Pack<A> highest_of(const void* x, const Walk& walk, Pack<A> least) {
  Pack<A> top[4] = {least, least, least, least};
  each_pack<A>(static_cast<const T*>(x), walk,
               [&](int64_t, Pack<A> v, int64_t, int k)
                   __attribute__((always_inline)) { top[k] = max(top[k], v); });
  return max(max(top[0], top[1]), max(top[2], top[3]));
}

// The sum of each lane's e^(x - high): all that a formula which only wants the normaliser has to
// read.
template <class A, class T>
Pack<A> mass_of(const void* x, const Walk& walk, Pack<A> high) {
  Pack<A> sum[4];
  for (Pack<A>& part : sum) part = Pack<A>(0);
  each_pack<A>(static_cast<const T*>(x), walk,
               [&](int64_t, Pack<A> v, int64_t lanes, int k) __attribute__((always_inline)) {
                 const Pack<A> p = exp(v - high);
                 sum[k] = sum[k] + (lanes == Pack<A>::width ? p : first_lanes(p, lanes));
               });
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class A, class T>
void write(const A* from, void* to, const Walk& walk) {
  constexpr int64_t width = Pack<A>::width;
  T* out = static_cast<T*>(to);
  for (int64_t k = 0; k < walk.packs; ++k, out += walk.step, from += width) {
    const int64_t lanes = k + 1 < walk.packs ? walk.full : walk.last;
    if (walk.lane == 1 && lanes == width) {
      store(out, load<A>(from));
    } else {
      T part[width];
      store(part, load<A>(from));
      for (int64_t j = 0; j < lanes; ++j) out[j * walk.lane] = part[j];
    }
  }
}

// ---- the same, chosen at run time
// ------------------------------------------------------------------------------------
template <class T>
struct Tag {
  using type = T;
};
// f(Tag<T>) for the floating type that `type` names. Double memory is computed in double only.
template <class A, class F>
TI_LANE auto with_type(Type type, F f) {
  switch (type) {
    case kBFloat16:
      return f(Tag<BFloat16>{});
    case kHalf:
      return f(Tag<Half>{});
    case kFloat:
      return f(Tag<float>{});
    default:
      return f(Tag<A>{});
  }
}
template <class A>
Read<A> reader(Kind kind, Type type) {
  return with_type<A>(type, [&](auto tag) -> Read<A> {
    using T = typename decltype(tag)::type;
    switch (kind) {
      case kLogits:
        return read<A, T, kLogits>;
      case kLogProbs:
        return read<A, T, kLogProbs>;
      case kWeights:
        return read<A, T, kWeights>;
      default:
        return read<A, T, kProbs>;
    }
  });
}
template <class A>
Highest<A> highest_reader(Type type) {
  return with_type<A>(
      type, [](auto tag) -> Highest<A> { return highest_of<A, typename decltype(tag)::type>; });
}
template <class A>
Mass<A> mass_reader(Type type) {
  return with_type<A>(type,
                      [](auto tag) -> Mass<A> { return mass_of<A, typename decltype(tag)::type>; });
}
template <class A>
Write<A> writer(Type type) {
  return with_type<A>(type,
                      [](auto tag) -> Write<A> { return write<A, typename decltype(tag)::type>; });
}

// One number. The common types are spelt out: this happens for every row.
inline void store_number(const Operand& to, int64_t offset, double value) {
  void* data = const_cast<void*>(to.data);
  if (to.type == kFloat) {
    static_cast<float*>(data)[offset] = float(value);
  } else if (to.type == kDouble) {
    static_cast<double*>(data)[offset] = value;
  } else {
    const float lanes[Pack<float>::width] = {float(value)};
    writer<float>(to.type)(lanes, static_cast<uint16_t*>(data) + offset,
                           Walk::along_classes<float>(1, 1));
  }
}
inline double load_number(const Operand& from, int64_t offset) {
  if (from.type == kFloat) return static_cast<const float*>(from.data)[offset];
  if (from.type == kDouble) return static_cast<const double*>(from.data)[offset];
  uint16_t bits = static_cast<const uint16_t*>(from.data)[offset];
  return from.type == kHalf ? widen<1>(reinterpret_cast<Half*>(&bits))[0]
                            : widen<1>(reinterpret_cast<BFloat16*>(&bits))[0];
}

}  // namespace
}  // namespace torch_infotheory
