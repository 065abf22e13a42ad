// check.h -- what the C++ tests share: checks that are counted, memory that ends where a page may
// not be touched, numbers of every format, and the kernels that this machine can run.
#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cpu/kernels.h"

namespace torch_infotheory {
namespace {

using Real = long double;

// TI_TEST_EVERY=n runs every n-th case, because an emulated processor takes a hundred times as
// long.
inline int every() {
  static const char* const set = getenv("TI_TEST_EVERY");
  static const int n = set ? std::max(atoi(set), 1) : 1;
  return n;
}
inline bool leaves_out_this_case() {
  static long cases = 0;
  return cases++ % every() != 0;
}

struct Checks {
  long done = 0, failed = 0;
  // `say` gives the context, and is asked on failure only.
  template <class Say>
  void that(bool holds, Say say) {
    ++done;
    if (!holds && ++failed <= 20) fprintf(stderr, "FAILED %s\n", std::string(say()).c_str());
  }
  // A test that checked nothing has not passed.
  int report(const char* what) const {
    printf("%s: %ld checks, %ld failed\n", what, done, failed);
    return failed || !done;
  }
};

template <class... T>
std::string text(const char* format, T... values) {
  char line[512];
  snprintf(line, sizeof line, format, values...);
  return line;
}

// ---- the formats of memory, by arithmetic instead of by bits ----
struct Format16 {
  int mantissa, bias;
};
constexpr Format16 kBFloat16Format{7, 127}, kHalfFormat{10, 15};

inline double decoded(Format16 f, uint16_t bits) {
  const double sign = bits >> 15 ? -1 : 1;
  const int exponent = (bits & 0x7fff) >> f.mantissa, fraction = bits & ((1 << f.mantissa) - 1);
  if (exponent == 2 * f.bias + 1) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? ldexp(fraction + (1 << f.mantissa), exponent - f.bias - f.mantissa)
                          : ldexp(fraction, 1 - f.bias - f.mantissa));
}
// To nearest, ties to even, as nearbyint rounds.
inline uint16_t encoded(Format16 f, double x) {
  const uint16_t sign = signbit(x) ? 0x8000 : 0, infinity = (2 * f.bias + 1) << f.mantissa;
  if (x != x) return sign | infinity | 1 << (f.mantissa - 1);
  if (x == 0) return sign;
  if (isinf(x)) return sign | infinity;
  const int exponent = std::max(ilogb(x), 1 - f.bias);
  const int steps = int(nearbyint(ldexp(fabs(x), f.mantissa - exponent)));
  const int bits = ((exponent + f.bias - 1) << f.mantissa) + steps;  // a carry moves the exponent
  return sign | (bits < infinity ? bits : infinity);
}

inline int64_t bytes_of(Type type) {
  switch (type) {
    case kDouble:
    case kInt64:
      return 8;
    case kFloat:
    case kInt32:
      return 4;
    case kUInt8:
    case kInt8:
      return 1;
    default:
      return 2;
  }
}
// Half a unit in the last place of 1, and the least positive number.
inline Real rounding_of(Type type) {
  return type == kDouble  ? 0x1p-53L
         : type == kFloat ? 0x1p-24L
         : type == kHalf  ? 0x1p-11L
                          : 0x1p-8L;
}
inline Real least_of(Type type) {
  return type == kDouble  ? 0x1p-1074L
         : type == kFloat ? 0x1p-149L
         : type == kHalf  ? 0x1p-24L
                          : 0x1p-133L;
}
// What a type stores of a number beyond its range is an infinity.
inline Real within_range_of(Type type, Real x) {
  const Real rounded_to_infinity = type == kDouble  ? 0x1.fffffffffffff8p1023L
                                   : type == kFloat ? 0x1.ffffffp127L
                                   : type == kHalf  ? 65520.L
                                                    : 0x1.ffp127L;
  return fabsl(x) < rounded_to_infinity ? x : copysignl(INFINITY, x);
}

// ---- numbers in memory that ends at a page which may not be touched ----
class Array {
 public:
  Array(Type type, int64_t size) : type_(type), size_(size) {
    const size_t page = sysconf(_SC_PAGESIZE), bytes = size * bytes_of(type);
    mapped_ = (bytes + page - 1) / page * page + page;
    start_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (start_ == MAP_FAILED || mprotect(start_ + mapped_ - page, page, PROT_NONE)) {
      perror("Array");
      abort();
    }
    data_ = start_ + mapped_ - page - bytes;
  }
  Array(const Array&) = delete;
  ~Array() { munmap(start_, mapped_); }

  Type type() const { return type_; }
  int64_t size() const { return size_; }
  void* data() const { return data_; }

  // Returns the number as it was rounded.
  Real set(int64_t i, Real x) {
    char* to = data_ + i * bytes_of(type_);
    const auto put = [&](auto number) { memcpy(to, &number, sizeof number); };
    switch (type_) {
      case kDouble:
        put(double(x));
        break;
      case kFloat:
        put(float(x));
        break;
      case kBFloat16:
        put(encoded(kBFloat16Format, double(x)));
        break;
      case kHalf:
        put(encoded(kHalfFormat, double(x)));
        break;
      case kUInt8:
        put(uint8_t(x));
        break;
      case kInt8:
        put(int8_t(x));
        break;
      case kInt16:
        put(int16_t(x));
        break;
      case kInt32:
        put(int32_t(x));
        break;
      case kInt64:
        put(int64_t(x));
        break;
    }
    return get(i);
  }
  Real get(int64_t i) const {
    const char* from = data_ + i * bytes_of(type_);
    const auto as = [&](auto number) {
      memcpy(&number, from, sizeof number);
      return number;
    };
    switch (type_) {
      case kDouble:
        return as(double());
      case kFloat:
        return as(float());
      case kBFloat16:
        return decoded(kBFloat16Format, as(uint16_t()));
      case kHalf:
        return decoded(kHalfFormat, as(uint16_t()));
      case kUInt8:
        return as(uint8_t());
      case kInt8:
        return as(int8_t());
      case kInt16:
        return as(int16_t());
      case kInt32:
        return as(int32_t());
      default:
        return as(int64_t());
    }
  }
  void fill(Real x) {
    for (int64_t i = 0; i < size_; ++i) set(i, x);
  }

 private:
  Type type_;
  int64_t size_;
  size_t mapped_;
  char *start_, *data_;
};

// ---- distributions ----
inline Real uniform(std::mt19937_64& random) { return Real(random() >> 11) * 0x1p-53L; }
// Nearly: the sum of three, of variance 1.
inline Real normal(std::mt19937_64& random) {
  return 2 * (uniform(random) + uniform(random) + uniform(random)) - 3;
}

// 0 log 0 = 0.
inline Real times(Real p, Real x) { return p == 0 ? 0 : p * x; }

// What the numbers `x` of one row mean: probabilities, their logarithms, the log-normalizer.
struct Distribution {
  std::vector<Real> p, log;
  Real normalizer = 0;
  Distribution(Kind kind, const std::vector<Real>& x) : p(x), log(x) {
    if (kind == kLogits) {
      Real top = -INFINITY, sum = 0;
      for (const Real v : x) top = std::max(top, v);
      for (const Real v : x) sum += expl(v - top);
      normalizer = top + logl(sum);
    }
    for (size_t c = 0; c < x.size(); ++c) {
      const bool is_log = kind == kLogits || kind == kLogProbs;
      log[c] = is_log ? x[c] - normalizer : x[c] < 0 ? NAN : logl(x[c]);
      if (is_log) p[c] = expl(log[c]);
    }
  }
};

// softmax(logits) * total, stated as `kind`.
inline std::vector<Real> stated(Kind kind, const std::vector<Real>& logits, Real total) {
  if (kind == kLogits) return logits;
  const Distribution d(kLogits, logits);
  std::vector<Real> x(logits.size());
  for (size_t c = 0; c < x.size(); ++c)
    x[c] = kind == kLogProbs ? d.log[c] + logl(total) : d.p[c] * total;
  return x;
}

// ---- the kernels of this machine ----
// Whether the last call left the x87 unit to its caller; an MMX register that it used would turn
// the long doubles of this program, and of any other, into NaN. Puts it in order.
__attribute__((noinline)) inline bool x87_is_free() {
#if defined(__x86_64__)
  uint16_t environment[14];
  asm volatile("fnstenv %0\n\temms" : "=m"(environment));
  const bool is_free = environment[4] == 0xffff;
  asm volatile("fldcw %0" : : "m"(environment[0]));
  return is_free;
#else
  return true;
#endif
}

struct InstructionSet {
  const char* name;
  KernelTable kernels;
};
inline std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets{{"default", kernels_default()}};
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (avx2) sets.push_back({"avx2", kernels_avx2()});
  if (avx512) sets.push_back({"avx512", kernels_avx512()});
  if (!avx2) puts("not run: avx2, which this machine lacks");
  if (!avx512) puts("not run: avx512, which this machine lacks");
#endif
  for (const InstructionSet& set : sets) printf("kernels of %s\n", set.name);
  return sets;
}

}  // namespace
}  // namespace torch_infotheory
