// blocks.inl -- from memory to probabilities and back, some 512 classes at a time.
//
// A Stretch is a piece of a row, in the type that is computed with: memory as it lies, or what
// memory of another type was converted to. Every class of it can be had as a probability and as its
// logarithm. A Block holds the same in L1 cache, whatever kind the memory has; so there are (types)
// converters, (kinds) readers and (formulas) folds, not their product. Only what people use most is
// folded straight from its Stretch. Knows sources and packs; must not know any formula by name,
// tensors, or torch. Read next: tiles.inl.
#pragma once
#include "core/sources.h"
#include "cpu/wide.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kBlock = 512;
// Bytes of a row asked for before they are read. Not where lanes are rows: one class after the
// other lies in a page of its own, which is looked up at once for each line that is asked for.
constexpr int64_t kAhead = 2048;

// Which numbers of memory the packs of a stretch are: number j of pack k lies at k * step + j *
// lane. The lanes are classes of one row, or rows (lanes.inl). A pack has `full` of them, the last
// one `last`.
struct Walk {
  int64_t step, lane, packs, full, last;

  static Walk along_classes(int64_t stride, int64_t n, int64_t width) {
    const int64_t packs = (n + width - 1) / width;
    return {width * stride, stride, packs, width, n - (packs - 1) * width};
  }
  static Walk along_rows(int64_t class_stride, int64_t row_stride, int64_t classes, int64_t rows) {
    return {class_stride, row_stride, classes, rows, rows};
  }
  int64_t lanes(int64_t pack) const { return pack + 1 < packs ? full : last; }
  // So many packs are there in full, side by side.
  int64_t whole(int64_t width) const {
    return lane != 1 || full != width ? 0 : packs - (last != width);
  }
};

// visit(first, n) over the classes, at most so many at a time.
template <class Visit>
TI_LANE void each_stretch(int64_t classes, int64_t most, Visit visit) {
  for (int64_t first = 0; first < classes; first += most)
    visit(first, classes - first < most ? classes - first : most);
}

template <bool b>
struct Whole {
  static constexpr bool value = b;
};
// f(pack, k, Whole) over the packs. k counts them modulo 4, for four sums in flight hide the
// latency of one; it depends on nothing else, so that a lane sums in one order whatever the other
// lanes hold.
template <class F>
TI_LANE void each_pack(int64_t packs, int64_t whole, F f) {
  int64_t i = 0;
  for (; i + 4 <= whole; i += 4) {
    f(i, 0, Whole<true>{});
    f(i + 1, 1, Whole<true>{});
    f(i + 2, 2, Whole<true>{});
    f(i + 3, 3, Whole<true>{});
  }
  for (; i < packs; i += 4) {
    f(i, 0, Whole<false>{});
    if (i + 1 < packs) f(i + 1, 1, Whole<false>{});
    if (i + 2 < packs) f(i + 2, 2, Whole<false>{});
    if (i + 3 < packs) f(i + 3, 3, Whole<false>{});
  }
}

// Pack `pack` of a walk over x; the lanes that it does not have are `rest`.
template <class A, class T, bool whole>
TI_LANE Pack<A> load_pack(const T* x, const Walk& walk, int64_t pack, Whole<whole>, A rest) {
  const T* at = x + pack * walk.step;
  if constexpr (whole) {
    if (walk.step == Pack<A>::width) __builtin_prefetch(reinterpret_cast<const char*>(at) + kAhead);
    return load<A>(at);
  }
  return load_lanes<A>(at, walk.lane, walk.lanes(pack), rest);
}

// Numbers of another type, side by side in whole packs.
template <class A>
using Convert = void (*)(const void* x, const Walk& walk, A* to);
template <class A, class T>
void convert(const void* x, const Walk& walk, A* to) {
  const T* from = static_cast<const T*>(x);
  each_pack(walk.packs, walk.whole(Pack<A>::width),
            [&](int64_t i, int, auto w) __attribute__((always_inline)) {
              store(to + i * Pack<A>::width, load_pack(from, walk, i, w, A(0)));
            });
}

// Classes of a team's rows as packs of A.
template <class A>
struct View {
  const A* x;
  Walk walk;
};
// A lane without a class holds what contributes nothing to any formula: probability 0.
template <class A, Kind k>
struct Stretch {
  static constexpr Kind kind = k;
  View<A> of;
  Pack<A> high, low;  // logits are read relative to high + low, the log-normalizer once it is known

  int64_t packs() const { return of.walk.packs; }
  int64_t whole() const { return of.walk.whole(Pack<A>::width); }
  template <bool whole>
  TI_LANE Pack<A> raw(int64_t pack, Whole<whole> w) const {
    constexpr bool log = kind == kLogits || kind == kLogProbs;
    return load_pack(of.x, of.walk, pack, w, log ? A(-INFINITY) : A(0));
  }
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, Whole<whole> w) const {
    const Pack<A> v = raw(pack, w);
    if constexpr (kind == kLogits) {
      const Pack<A> log = (v - high) - low;
      return {exp(log), log};
    } else if constexpr (kind == kLogProbs) {
      return {unbiased_exp(v), v};
    } else {
      const Pack<A> p = checked_probability<kind>(v);
      return {p, kind == kProbs ? log(p) : p};  // no formula reads the logarithm of kWeights
    }
  }
};

template <class A>
struct Block {
  alignas(64) A p[kBlock];
  alignas(64) A log[kBlock];
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, Whole<whole>) const {
    return from(pack * Pack<A>::width);
  }
  TI_LANE Prob<Pack<A>> from(int64_t i) const { return {load<A>(p + i), load<A>(log + i)}; }
};

template <class A>
using Read = void (*)(const View<A>& of, Pack<A> high, Pack<A> low, Block<A>& to);
template <class A>
using Write = void (*)(const A* from, void* to, const Walk& walk);

template <class A, Kind kind>
void read(const View<A>& of, Pack<A> high, Pack<A> low, Block<A>& to) {
  const Stretch<A, kind> from{of, high, low};
  each_pack(from.packs(), from.whole(), [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    const Prob<Pack<A>> c = from.at(i, w);
    store(to.p + i * Pack<A>::width, c.p);
    store(to.log + i * Pack<A>::width, c.log);
  });
}

// Of logits the logarithms alone, which spares their exponentials.
template <class A>
void read_logarithms(const View<A>& of, Pack<A> high, Pack<A> low, Block<A>& to) {
  const Stretch<A, kLogits> from{of, high, low};
  each_pack(from.packs(), from.whole(), [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    store(to.log + i * Pack<A>::width, from.at(i, w).log);
  });
}

// The maximum of each lane.
template <class A>
Pack<A> highest_of(const View<A>& of, Pack<A> least) {
  const Stretch<A, kLogits> from{of, least, least};
  Pack<A> top[4] = {least, least, least, least};
  each_pack(from.packs(), from.whole(),
            [&](int64_t i, int k, auto w)
                __attribute__((always_inline)) { top[k] = max(top[k], from.raw(i, w)); });
  return max(max(top[0], top[1]), max(top[2], top[3]));
}

// The sum of each lane's e^(x - high): all that a formula which only wants the normalizer has to
// read.
template <class A>
Pack<A> mass_of(const View<A>& of, Pack<A> high) {
  const Stretch<A, kLogits> from{of, high, high};
  Pack<A> sum[4];
  for (Pack<A>& part : sum) part = Pack<A>(0);
  each_pack(from.packs(), from.whole(),
            [&](int64_t i, int k, auto w)
                __attribute__((always_inline)) { sum[k] = sum[k] + exp(from.raw(i, w) - high); });
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class A, class T>
void write(const A* from, void* to, const Walk& walk) {
  constexpr int64_t width = Pack<A>::width;
  const int64_t whole = walk.whole(width);
  T* out = static_cast<T*>(to);
  for (int64_t k = 0; k < walk.packs; ++k, out += walk.step, from += width)
    if (k < whole)
      store(out, load<A>(from));
    else
      store_lanes(out, walk.lane, walk.lanes(k), load<A>(from));
}

// f.operator()<kind>().
template <class F>
TI_LANE void with_kind(Kind kind, F f) {
  switch (kind) {
    case kLogits:
      return f.template operator()<kLogits>();
    case kLogProbs:
      return f.template operator()<kLogProbs>();
    default:
      return f.template operator()<kProbs>();
  }
}
// The same for a view: a Stretch has a kind of its own, a Block that of its operand.
template <class View, class F>
TI_LANE void as_kind(const View&, Kind kind, F f) {
  if constexpr (requires { View::kind; })
    f.template operator()<View::kind>();
  else
    with_kind(kind, f);
}

}  // namespace
}  // namespace torch_infotheory
