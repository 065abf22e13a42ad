// operand.cuh -- how the threads of a group read p and q along a segment of a row.
//
// Contiguous classes are read in packs of 16 bytes; those before the first 16-byte boundary and
// after the last one are read one by one. Classes with a stride, and operands whose boundaries fall
// on different classes, are read one by one throughout.
#pragma once
#include <float.h>

#include "core/row.h"
#include "cuda/memory.cuh"
#include "cuda/plan.h"
#include "cuda/segment.cuh"
#include "cuda/thread_group.cuh"

namespace torch_infotheory {
namespace {

// Reads one operand along a segment. A label index has no numbers along it: p is then not read.
template <class A, int type_, int kind_>
struct OperandReader {
  static constexpr int n = kPackSize<A, type_>;
  const char* data;
  int64_t stride;
  Type dynamic_type;
  Kind dynamic_kind;
  A temperature;
  bool divides_in_float;
  // Logits are read relative to the sum of these two.
  A reference = 0, reference_low = 0;

  __device__ __forceinline__ OperandReader(const Operand& x, int64_t offset, int64_t first_class)
      : stride(x.class_stride),
        dynamic_type(x.type),
        dynamic_kind(x.kind),
        temperature(x.temperature),
        divides_in_float(x.quotient == kFloat) {
    data = static_cast<const char*>(x.data) + (offset + first_class * stride) * size_of(type());
  }
  __device__ __forceinline__ Type type() const {
    if constexpr (type_ == kDynamic)
      return dynamic_type;
    else
      return Type(type_);
  }
  __device__ __forceinline__ Kind kind() const {
    if constexpr (kind_ == kDynamic)
      return dynamic_kind;
    else
      return Kind(kind_);
  }
  __device__ __forceinline__ bool is_logits() const { return kind() == kLogits; }
  __device__ __forceinline__ bool is_label() const { return kind() == kLabels; }

  // By how many elements the first class lies beyond a 16-byte boundary; -1 if there are no packs.
  __device__ __forceinline__ int misaligned() const {
    const int size = int(size_of(type()));
    return stride == 1 ? int(reinterpret_cast<uintptr_t>(data) & (n * size - 1)) / size : -1;
  }
  __device__ __forceinline__ A element(int c) const {
    A x[] = {load_element<A>(data, type(), c * stride)};
    divide(x);
    return x[0];
  }
  // By the temperature, which is 1 in specialized kernels.
  template <int count>
  __device__ __forceinline__ void divide(A (&x)[count]) const {
    if constexpr (kind_ == kDynamic)
      if (temperature != 1)
#pragma unroll
        for (int k = 0; k < count; ++k)
          x[k] = divides_in_float ? A(float(x[k]) / float(temperature)) : x[k] / temperature;
  }
  __device__ __forceinline__ Pack pack(int c) const {
    const int size = int(size_of(type()));
    return load_pack(data + int64_t(c) * size, n * size);
  }
  // Stands for a class that does not exist: probability 0, which contributes nothing.
  __device__ __forceinline__ A padding() const {
    return kind() == kProbs || kind() == kWeights || is_label() ? A(0) : A(-INFINITY);
  }
  // From here on logits are read as log-probabilities. In two parts, because z is not exact in A.
  __device__ __forceinline__ void set_normalizer(double z_high, double z_log) {
    if (!is_logits()) return;
    const double z = z_high + z_log;
    reference = A(z);
    reference_low = A((z - double(reference)) + error_of_sum(z_high, z_log, z));
  }
  __device__ __forceinline__ void probabilities(const A (&x)[n], Prob<A> (&c)[n]) const {
    const auto read = [&]<Kind kind>() {
#pragma unroll
      for (int k = 0; k < n; ++k)
        c[k] = probability_of<kind>(kind == kLogits ? (x[k] - reference) - reference_low : x[k]);
    };
    if (kind() == kWeights || is_label())
      read.template operator()<kWeights>();
    else
      with_kind(kind(), read);
  }
};

// A segment that is read twice stays in shared memory as far as it fits: the first reading fills
// this cache, the second one reads it.
enum class Caching { kNone, kFill, kRead };

// Reads p and, if the formula has two operands, q along a segment.
template <class A, int type, int p_kind, int q_kind, bool has_q>
struct SegmentReader {
  static constexpr int n = kPackSize<A, type>;
  using Number = A;
  struct Packs {
    Pack p, q;
  };
  OperandReader<A, type, p_kind> p;
  OperandReader<A, type, q_kind> q;
  AccessPattern pattern;
  Pack* cache = nullptr;
  int cached_packs = 0;  // of each operand

  __device__ __forceinline__ SegmentReader(const Operand& p, const Operand& q,
                                           const Segment& segment)
      : p(p, segment.offsets.by_operand[DeviceRows::kP], segment.first_class),
        q(q, segment.offsets.by_operand[DeviceRows::kQ], segment.first_class) {
    const int classes = segment.classes;
    pattern = this->p.is_label() ? AccessPattern::in_packs<n>(classes, this->q.misaligned())
              : has_q
                  ? AccessPattern::in_packs<n>(classes, this->p.misaligned(), this->q.misaligned())
                  : AccessPattern::in_packs<n>(classes, this->p.misaligned());
  }
  // Each thread reads back only what it has stored itself, so that no barrier is needed.
  __device__ __forceinline__ void set_cache(unsigned char* shared, const ThreadGroup& group,
                                            int packs) {
    cached_packs = packs;
    cache = reinterpret_cast<Pack*>(shared) + int64_t(group.index) * (has_q ? 2 : 1) * packs;
  }
  template <Caching caching>
  __device__ __forceinline__ Packs load(int i) const {
    Packs x = {};
    if (caching == Caching::kRead && i < cached_packs) {
      x.p = cache[i];
      if (has_q) x.q = cache[cached_packs + i];
      return x;
    }
    const int c = pattern.head + i * n;
    if (!p.is_label()) x.p = p.pack(c);
    if (has_q) x.q = q.pack(c);
    if (caching == Caching::kFill && i < cached_packs) {
      cache[i] = x.p;
      if (has_q) cache[cached_packs + i] = x.q;
    }
    return x;
  }
  __device__ __forceinline__ void unpack(const Packs& packs, A (&x)[n], A (&y)[n]) const {
    torch_infotheory::unpack(p.type(), packs.p, x);  // 0 if p is a label
    p.divide(x);
    if (!has_q) return;
    torch_infotheory::unpack(q.type(), packs.q, y);
    q.divide(y);
  }
  __device__ __forceinline__ void load_class(int c, A& x, A& y) const {
    x = c < 0 || p.is_label() ? p.padding() : p.element(c);
    if (has_q) y = c < 0 ? q.padding() : q.element(c);
  }
};

// Calls body(classes, x, y) with n numbers of p and of q at a time until this thread's share of the
// segment is read. `unroll` packs of each operand are in flight.
template <Caching caching, int unroll, class Reader, class Body>
__device__ __forceinline__ void for_each_pack(const ThreadGroup& group, const Reader& reader,
                                              Body body) {
  constexpr int n = Reader::n;
  typename Reader::Number x[n], y[n];
  const AccessPattern& pattern = reader.pattern;
  const int singles = pattern.classes - pattern.packs * n;
  for (int j = group.rank; j < singles; j += n * group.size) {
    SingleClasses<n> classes;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const int i = j + k * group.size;
      classes.index[k] = i >= singles ? -1 : i < pattern.head ? i : i + pattern.packs * n;
      reader.load_class(classes.index[k], x[k], y[k]);
    }
    body(classes, x, y);
  }
  int i = group.rank;
  for (; i + (unroll - 1) * group.size < pattern.packs; i += unroll * group.size) {
    typename Reader::Packs packs[unroll];
#pragma unroll
    for (int u = 0; u < unroll; ++u) packs[u] = reader.template load<caching>(i + u * group.size);
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      reader.unpack(packs[u], x, y);
      body(ConsecutiveClasses<n>{pattern.head + (i + u * group.size) * n}, x, y);
    }
  }
  if constexpr (unroll > 1)
    for (; i < pattern.packs; i += group.size) {
      reader.unpack(reader.template load<caching>(i), x, y);
      body(ConsecutiveClasses<n>{pattern.head + i * n}, x, y);
    }
}

}  // namespace
}  // namespace torch_infotheory
