// blocks.inl -- from memory to probabilities and back, 512 classes at a time.
//
// A reader turns a stretch of a row into a Block: every class as a probability and as its logarithm, in L1 cache. A formula
// folds blocks and never sees memory; so there are (kinds x types) readers plus (formulas) folds, not their product.
// Knows sources and packs; must not know any formula by name, tensors, or torch. Read next: rows.inl.
#pragma once
#include "core/sources.h"
#include "cpu/pack.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kBlock = 512;

template <class A>
struct Block {
  alignas(64) A p[kBlock];
  alignas(64) A log[kBlock];
  TI_LANE Prob<Pack<A>> at(int64_t i) const { return {load<A>(p + i), load<A>(log + i)}; }
};

// What a lane without a class holds: probability 0, which contributes nothing to any formula.
template <class A>
TI_LANE void pad(Block<A>& block, int64_t n) {
  for (int64_t i = n; i % Pack<A>::width; ++i) block.p[i] = 0, block.log[i] = A(-INFINITY);
}

// f(i, pack) over n numbers of memory. The last pack may be partial: its spare lanes repeat a number that is there.
template <class A, class T, class F>
TI_LANE void each_pack(const T* x, int64_t stride, int64_t n, F f) {
  constexpr int64_t width = Pack<A>::width;
  int64_t i = 0;
  if (stride == 1)
    for (; i + width <= n; i += width) f(i, load<A>(x + i));
  for (; i < n; i += width) {
    T part[width];
    for (int64_t j = 0; j < width; ++j) part[j] = x[(i + j < n ? i + j : i) * stride];
    f(i, load<A>(part));
  }
}

template <class A>
using Read = void (*)(const void* x, int64_t stride, int64_t n, A high, A low, Block<A>& to);
template <class A>
using Highest = A (*)(const void* x, int64_t stride, int64_t n);
template <class A>
using Write = void (*)(const A* from, void* to, int64_t stride, int64_t n);

// Logits are read relative to high + low, which is the row's log-normaliser in two parts once that is known.
template <class A, class T, Kind kind>
void read(const void* x, int64_t stride, int64_t n, A high, A low, Block<A>& to) {
  each_pack<A>(static_cast<const T*>(x), stride, n, [&](int64_t i, Pack<A> v) __attribute__((always_inline)) {
    Prob<Pack<A>> c;
    if constexpr (kind == kLogits) c.log = (v - Pack<A>(high)) - Pack<A>(low);
    if constexpr (kind == kLogProbs) c.log = v;
    if constexpr (kind == kProbs || kind == kWeights) {
      c.p = checked_probability<kind>(v);
      c.log = log(c.p);
    } else {
      c.p = exp(c.log);
    }
    store(to.p + i, c.p);
    store(to.log + i, c.log);
  });
  pad(to, n);
}

template <class A, class T>
A highest_of(const void* x, int64_t stride, int64_t n) {
  Pack<A> top(-INFINITY);
  each_pack<A>(static_cast<const T*>(x), stride, n,
               [&](int64_t, Pack<A> v) __attribute__((always_inline)) { top = max(top, v); });
  return highest(top);
}

template <class A, class T>
void write(const A* from, void* to, int64_t stride, int64_t n) {
  constexpr int64_t width = Pack<A>::width;
  T* out = static_cast<T*>(to);
  int64_t i = 0;
  if (stride == 1)
    for (; i + width <= n; i += width) store(out + i, load<A>(from + i));
  for (; i < n; i += width) {
    T part[width];
    store(part, load<A>(from + i));
    for (int64_t j = 0; j < width && i + j < n; ++j) out[(i + j) * stride] = part[j];
  }
}

// ---- the same, chosen at run time ------------------------------------------------------------------------------------
template <class T>
struct Tag {
  using type = T;
};
// f(Tag<T>) for the floating type that `type` names. Double memory is computed in double only.
template <class A, class F>
TI_LANE auto with_type(Type type, F f) {
  switch (type) {
    case kBFloat16: return f(Tag<BFloat16>{});
    case kHalf: return f(Tag<Half>{});
    case kFloat: return f(Tag<float>{});
    default: return f(Tag<A>{});
  }
}
template <class A>
Read<A> reader(Kind kind, Type type) {
  return with_type<A>(type, [&](auto tag) -> Read<A> {
    using T = typename decltype(tag)::type;
    switch (kind) {
      case kLogits: return read<A, T, kLogits>;
      case kLogProbs: return read<A, T, kLogProbs>;
      case kWeights: return read<A, T, kWeights>;
      default: return read<A, T, kProbs>;
    }
  });
}
template <class A>
Highest<A> highest_reader(Type type) {
  return with_type<A>(type, [](auto tag) -> Highest<A> { return highest_of<A, typename decltype(tag)::type>; });
}
template <class A>
Write<A> writer(Type type) {
  return with_type<A>(type, [](auto tag) -> Write<A> { return write<A, typename decltype(tag)::type>; });
}

inline int64_t size_of(Type type) { return type == kDouble ? 8 : type == kFloat ? 4 : 2; }

inline void store_number(const Operand& to, int64_t offset, double value) {
  writer<double>(to.type)(&value, static_cast<char*>(const_cast<void*>(to.data)) + offset * size_of(to.type), 1, 1);
}
inline double load_number(const Operand& from, int64_t offset) {
  double value;
  const char* x = static_cast<const char*>(from.data) + offset * size_of(from.type);
  with_type<double>(from.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    each_pack<double>(reinterpret_cast<const T*>(x), 1, 1, [&](int64_t, Pack<double> v) { value = v.v[0]; });
  });
  return value;
}

}  // namespace
}  // namespace torch_infotheory
