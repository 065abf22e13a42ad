// blocks.h -- from memory to probabilities and back, up to 512 classes at a time.
//
// A ProbSpan is a piece of a row in the compute type: memory itself, or a copy that was converted.
// It gives every class as a probability and its logarithm. A Block holds both in L1 cache, whatever
// the kind of the memory, so that there are (dtypes) converters + (kinds) readers + (formulas)
// folds and not their product. Only the most frequent kinds are folded from their ProbSpan.
#pragma once
#include <cmath>
#include <type_traits>

#include "core/sources.h"
#include "cpu/simd/wide.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kBlock = 512;
// Bytes of prefetch distance in a row. Not where lanes are rows: there each class may lie in
// another page, and every prefetch would look up its address translation.
constexpr int64_t kAhead = 2048;

// Where the numbers of packs lie: number j of pack k at k * step + j * lane. The lanes are classes
// of one row, or rows (rows/operand.h). Each pack has `full` lanes in use, and the last one `last`.
struct AccessPattern {
  int64_t step, lane, packs, full, last;

  static AccessPattern along_classes(int64_t stride, int64_t n, int64_t width) {
    const int64_t packs = (n + width - 1) / width;
    return {width * stride, stride, packs, width, n - (packs - 1) * width};
  }
  static AccessPattern along_rows(int64_t class_stride, int64_t row_stride, int64_t classes,
                                  int64_t rows) {
    return {class_stride, row_stride, classes, rows, rows};
  }
  int64_t lanes(int64_t pack) const { return pack + 1 < packs ? full : last; }
  // The number of packs that are contiguous in memory and use all lanes.
  int64_t whole(int64_t width) const {
    return lane != 1 || full != width ? 0 : packs - (last != width);
  }
};

// Calls visit(first, n) for consecutive ranges of at most `most` classes.
template <class Visit>
TI_LANE void each_block(int64_t classes, int64_t most, Visit visit) {
  for (int64_t first = 0; first < classes; first += most)
    visit(first, classes - first < most ? classes - first : most);
}

// Calls f(pack, k, whole) for each pack, where `whole` is a constant: whether all its lanes are in
// use and contiguous. k = pack % 4, because four independent sums hide the latency of an addition;
// it depends on nothing else, so that a lane sums in one order whatever the other lanes hold.
template <class F>
TI_LANE void each_pack(int64_t packs, int64_t whole, F f) {
  int64_t i = 0;
  for (; i + 4 <= whole; i += 4) {
    f(i, 0, std::true_type{});
    f(i + 1, 1, std::true_type{});
    f(i + 2, 2, std::true_type{});
    f(i + 3, 3, std::true_type{});
  }
  for (; i < packs; i += 4) {
    f(i, 0, std::false_type{});
    if (i + 1 < packs) f(i + 1, 1, std::false_type{});
    if (i + 2 < packs) f(i + 2, 2, std::false_type{});
    if (i + 3 < packs) f(i + 3, 3, std::false_type{});
  }
}

// Pack `pack` of x; lanes that are not in use are `fill`.
template <class A, class T, bool whole>
TI_LANE Pack<A> load_pack(const T* x, const AccessPattern& pattern, int64_t pack,
                          std::bool_constant<whole>, A fill) {
  const T* at = x + pack * pattern.step;
  if constexpr (whole) {
    if (pattern.step == Pack<A>::width)
      __builtin_prefetch(reinterpret_cast<const char*>(at) + kAhead);
    return load<A>(at);
  }
  return load_lanes<A>(at, pattern.lane, pattern.lanes(pack), fill);
}

// Converts numbers of another type into contiguous packs.
template <class A>
using Convert = void (*)(const void* x, const AccessPattern& pattern, A* to);
template <class A, class T>
void convert(const void* x, const AccessPattern& pattern, A* to) {
  const T* from = static_cast<const T*>(x);
  each_pack(pattern.packs, pattern.whole(Pack<A>::width),
            [&](int64_t i, int, auto w) __attribute__((always_inline)) {
              store(to + i * Pack<A>::width, load_pack(from, pattern, i, w, A(0)));
            });
}

// Divides n numbers, in whole packs, by a temperature. Where that is a power of two the product is
// the same and takes less than half the time.
template <class A>
void divide(A* x, int64_t n, A temperature) {
  const A inverse = 1 / temperature;
  int exponent;
  const bool is_exact =
      std::frexp(temperature, &exponent) == A(0.5) && inverse >= Format<A>::smallest_normal;
  const Pack<A> divisor(temperature), factor(inverse);
  for (int64_t i = 0; i < n; i += Pack<A>::width) {
    const Pack<A> v = load<A>(x + i);
    store(x + i, is_exact ? v * factor : v / divisor);
  }
}
// In double, but rounded to float.
inline void divide_in_float(double* x, int64_t n, float temperature) {
  for (int64_t i = 0; i < n; ++i) x[i] = float(x[i]) / temperature;
}

// Classes of a row group as packs of A.
template <class A>
struct Span {
  const A* x;
  AccessPattern pattern;
};
// A lane without a class has probability 0, which contributes nothing to any formula.
template <class A, Kind k>
struct ProbSpan {
  static constexpr Kind kind = k;
  Span<A> span;
  Pack<A> high, low;  // logits are read relative to high + low: the maximum so far, then z

  int64_t packs() const { return span.pattern.packs; }
  int64_t whole() const { return span.pattern.whole(Pack<A>::width); }
  template <bool whole>
  TI_LANE Pack<A> raw(int64_t pack, std::bool_constant<whole> w) const {
    constexpr bool log = kind == kLogits || kind == kLogProbs;
    return load_pack(span.x, span.pattern, pack, w, log ? A(-INFINITY) : A(0));
  }
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, std::bool_constant<whole> w) const {
    const Pack<A> v = raw(pack, w);
    return probability_of<kind>(kind == kLogits ? (v - high) - low : v);
  }
};

template <class A>
struct Block {
  alignas(64) A p[kBlock];
  alignas(64) A log[kBlock];
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, std::bool_constant<whole>) const {
    return from(pack * Pack<A>::width);
  }
  TI_LANE Prob<Pack<A>> from(int64_t i) const { return {load<A>(p + i), load<A>(log + i)}; }
};

template <class A>
using Read = void (*)(const Span<A>& span, Pack<A> high, Pack<A> low, Block<A>& to);
template <class A>
using Write = void (*)(const A* from, void* to, const AccessPattern& pattern);

template <class A, Kind kind>
void read(const Span<A>& span, Pack<A> high, Pack<A> low, Block<A>& to) {
  const ProbSpan<A, kind> from{span, high, low};
  each_pack(from.packs(), from.whole(), [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    const Prob<Pack<A>> c = from.at(i, w);
    store(to.p + i * Pack<A>::width, c.p);
    store(to.log + i * Pack<A>::width, c.log);
  });
}

// The logarithms of logits alone, where no formula reads the probabilities.
template <class A>
void read_logarithms(const Span<A>& span, Pack<A> high, Pack<A> low, Block<A>& to) {
  const ProbSpan<A, kLogits> from{span, high, low};
  each_pack(from.packs(), from.whole(), [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    store(to.log + i * Pack<A>::width, from.at(i, w).log);
  });
}

// The maximum of each lane.
template <class A>
Pack<A> highest_of(const Span<A>& span, Pack<A> least) {
  const ProbSpan<A, kLogits> from{span, least, least};
  Pack<A> top[4] = {least, least, least, least};
  each_pack(from.packs(), from.whole(),
            [&](int64_t i, int k, auto w)
                __attribute__((always_inline)) { top[k] = max(top[k], from.raw(i, w)); });
  return max(max(top[0], top[1]), max(top[2], top[3]));
}

// The sum of e^(x - high) in each lane: all that is needed where only the normalizer is.
template <class A>
Pack<A> sum_of_exp(const Span<A>& span, Pack<A> high) {
  const ProbSpan<A, kLogits> from{span, high, high};
  Pack<A> sum[4];
  for (Pack<A>& part : sum) part = Pack<A>(0);
  each_pack(from.packs(), from.whole(),
            [&](int64_t i, int k, auto w)
                __attribute__((always_inline)) { sum[k] = sum[k] + exp(from.raw(i, w) - high); });
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class A, class T>
void write(const A* from, void* to, const AccessPattern& pattern) {
  constexpr int64_t width = Pack<A>::width;
  const int64_t whole = pattern.whole(width);
  T* out = static_cast<T*>(to);
  for (int64_t k = 0; k < pattern.packs; ++k, out += pattern.step, from += width)
    if (k < whole)
      store(out, load<A>(from));
    else
      store_lanes(out, pattern.lane, pattern.lanes(k), load<A>(from));
}

// with_kind of probabilities: a ProbSpan knows its kind, a Block has that of its operand.
template <class Probs, class F>
TI_LANE void as_kind(const Probs&, Kind kind, F f) {
  if constexpr (requires { Probs::kind; })
    f.template operator()<Probs::kind>();
  else
    with_kind(kind, f);
}

}  // namespace
}  // namespace torch_infotheory
