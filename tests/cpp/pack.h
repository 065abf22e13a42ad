// pack.h -- tests of cpu/simd and the arithmetic of core/arithmetic.h, for one register width.
//
// Included by pack_*.cpp, which set the width and the instruction set. Every number that a pack
// gives is compared with long double, or with the conversions of check.h, one lane at a time.
#include "cpu/simd/transpose.h"
#include "cpu/simd/wide.h"

namespace torch_infotheory {
namespace {

template <class A>
using Bits = std::make_unsigned_t<typename Format<A>::Int>;
template <class A>
A from_bits(Bits<A> bits) {
  A x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// How far `got` is from `exact`, in units of the last place of `exact`.
template <class A>
Real error_in_ulp(A got, Real exact) {
  const int exponent = std::max(ilogbl(exact), 1 - Format<A>::bias);
  return fabsl(got - exact) / ldexpl(1, exponent - Format<A>::mantissa);
}

// Both functions on numbers from all over the format, and on those where they are used.
template <class A>
std::vector<A> numbers() {
  std::vector<A> x;
  std::mt19937_64 random(1);
  const Real range = Format<A>::most - 1;
  for (int i = 0; i < (1 << 20) / every(); ++i) x.push_back(from_bits<A>(Bits<A>(random())));
  for (int i = 0; i < (1 << 20) / every(); ++i) x.push_back(A((2 * uniform(random) - 1) * range));
  for (int i = 0; i < (1 << 18) / every(); ++i) x.push_back(A(2 * uniform(random)));
  for (int i = 0; i < 1 << 12; ++i)
    x.push_back(1 + A(i - 2048) * A(ldexp(1, -Format<A>::mantissa)));
  while (x.size() % Pack<A>::width) x.push_back(1);
  return x;
}

// The worst error of f(x) against exact(x), in units of `allowed(x)` ulp, where that is not 0.
template <class A, class F, class Exact, class Allowed>
Real worst_error(const std::vector<A>& x, F f, Exact exact, Allowed allowed) {
  Real worst = 0;
  for (size_t i = 0; i < x.size(); i += Pack<A>::width) {
    A y[Pack<A>::width];
    store(y, f(load<A>(x.data() + i)));
    for (int j = 0; j < Pack<A>::width; ++j) {
      const Real unit = allowed(x[i + j]);
      if (unit == 0) continue;
      const Real error = error_in_ulp(y[j], exact(Real(x[i + j]))) / unit;
      if (!(error <= worst)) worst = error;  // a NaN is worst of all
    }
  }
  return worst;
}

template <class A>
struct Edge {
  A x, exp, log;
};

// The mean error of f(x) relative to e^x, in epsilons, over logarithms of small probabilities.
template <class A, class F>
Real bias_of_exp(F f) {
  constexpr int n = 1 << 16;
  std::mt19937_64 random(3);
  Real sum = 0;
  for (int i = 0; i < n; i += Pack<A>::width) {
    A x[Pack<A>::width], y[Pack<A>::width];
    for (A& v : x) v = A(-8 - 8 * uniform(random));
    store(y, f(load<A>(x)));
    for (int j = 0; j < Pack<A>::width; ++j) sum += y[j] / expl(x[j]) - 1;
  }
  return ldexpl(sum / n, Format<A>::mantissa);
}

template <class A>
void test_functions(Checks& check, const char* type) {
  using F = Format<A>;
  const auto x = numbers<A>();
  const bool fast = TI_PACK_BYTES == 64 && sizeof(A) == sizeof(float);
  // Without fused multiply-add the reduction of x and each step of the series round once more.
  const Real exp_bound = fast ? 2 : TI_PACK_BYTES > 16 ? 1 : 1.25;
  const auto exp_error_of = [&](auto f, Real far) {  // as the comments on them say
    return worst_error(
        x, f, [](Real v) { return expl(v); },
        [&](A v) -> Real {
          if (!(v >= F::least && v < (F::bias + Real(0.5)) * logl(2))) return 0;
          return exp_bound + (fast ? far * fabsl(v) : 0);
        });
  };
  const Real exp_error = exp_error_of([](Pack<A> v) { return exp(v); }, 1.25L);
  const Real unbiased_error = exp_error_of([](Pack<A> v) { return unbiased_exp(v); }, 1);
  const Real log_error = worst_error(
      x, [](Pack<A> v) { return log(v); }, [](Real v) { return logl(v); },
      [&](A v) -> Real { return v > 0 && v < A(F::largest / 2) && v != 1 ? (fast ? 1.5 : 1) : 0; });
  printf("%s: exp to %.3Lf (unbiased %.3Lf), log to %.3Lf of what they are allowed\n", type,
         exp_error, unbiased_error, log_error);
  check.that(exp_error <= 1, [&] { return text("exp of %s: %Lg", type, exp_error); });
  check.that(unbiased_error <= 1,
             [&] { return text("unbiased_exp: %s %Lg", type, unbiased_error); });
  check.that(log_error <= 1, [&] { return text("log of %s: %Lg", type, log_error); });

  const Real bias = bias_of_exp<A>([](Pack<A> v) { return unbiased_exp(v); });
  check.that(fabsl(bias) <= 0.125, [&] { return text("bias of %s: %Lg", type, bias); });

  const A infinity(INFINITY), nan(NAN), denormal = from_bits<A>(1);
  const A below = std::nextafter(F::least, -infinity);
  const Edge<A> edges[] = {
      {infinity, infinity, infinity},
      {-infinity, 0, nan},
      {nan, nan, nan},
      {-nan, nan, nan},
      {0, 1, -infinity},
      {-A(0), 1, -infinity},
      {1, A(expl(1)), 0},
      {-1, A(expl(-1)), nan},
      {denormal, 1, A(logl(denormal))},
      {-denormal, 1, nan},
      {F::smallest_normal, 1, A(logl(F::smallest_normal))},
      {F::largest, infinity, A(logl(F::largest))},
      {-F::largest, 0, nan},
      {F::most, infinity, A(logl(F::most))},
      {F::least, A(expl(F::least)), nan},
      {below, fast ? A(expl(below)) : 0, nan},
  };
  const auto near = [](A got, A expected, Real ulp = 2) {
    if (expected != expected) return got != got;
    if (expected == 0 || std::isinf(expected)) return got == expected;
    return error_in_ulp(got, expected) <= ulp;  // `expected` is rounded too
  };
  for (const Edge<A>& e : edges)
    // Each edge in each lane, with ordinary numbers around it.
    for (int lane = 0; lane < Pack<A>::width; ++lane) {
      A in[Pack<A>::width], to_exp[Pack<A>::width], to_log[Pack<A>::width];
      A unbiased[Pack<A>::width];
      for (A& v : in) v = 2;
      in[lane] = e.x;
      store(to_exp, exp(load<A>(in)));
      store(unbiased, unbiased_exp(load<A>(in)));
      store(to_log, log(load<A>(in)));
      check.that(near(to_exp[lane], e.exp, 2 + (fast ? 1.25L * fabsl(e.x) : 0)), [&] {
        return text("exp of %s %a: got %a, expected %a", type, double(e.x), double(to_exp[lane]),
                    double(e.exp));
      });
      check.that(near(unbiased[lane], e.exp, 2 + (fast ? fabsl(e.x) : 0)), [&] {
        return text("unbiased_exp of %s %a: got %a, expected %a", type, double(e.x),
                    double(unbiased[lane]), double(e.exp));
      });
      check.that(near(to_log[lane], e.log), [&] {
        return text("log of %s %a: got %a, expected %a", type, double(e.x), double(to_log[lane]),
                    double(e.log));
      });
      const int other = (lane + 1) % Pack<A>::width;
      check.that(near(to_exp[other], A(expl(2))) && near(to_log[other], A(logl(2))),
                 [&] { return text("%s: lane %d spoils lane %d", type, lane, other); });
    }
}

// All 65536 patterns of T, read into lanes of A.
template <class A, class T>
void test_loads(Checks& check, Format16 format, const char* name) {
  constexpr int width = Pack<A>::width;
  for (int first = 0; first < 1 << 16; first += width) {
    T memory[width];
    A lanes[width];
    for (int j = 0; j < width; ++j) memory[j].bits = uint16_t(first + j);
    store(lanes, load<A>(memory));
    for (int j = 0; j < width; ++j) {
      const A expected = A(decoded(format, uint16_t(first + j)));
      const bool same = expected == expected ? lanes[j] == expected &&
                                                   std::signbit(lanes[j]) == std::signbit(expected)
                                             : lanes[j] != lanes[j];
      check.that(same, [&] {
        return text("load of %s %#x: got %a, expected %a", name, first + j, double(lanes[j]),
                    double(expected));
      });
    }
  }
}

template <class A, class T>
void test_stores(Checks& check, Format16 format, const char* name) {
  constexpr int width = Pack<A>::width;
  std::vector<float> x;
  // Every number of the format, every tie between neighbors, and the floats next to each of them.
  for (int bits = 0; bits < 1 << 16; ++bits) {
    const float here = float(decoded(format, uint16_t(bits)));
    const int exponent = std::max(here == 0 ? -200 : ilogb(here), 1 - format.bias);
    const float half_step = float(ldexp(0.5, exponent - format.mantissa));
    for (const float y : {here, here + half_step})
      for (const float to : {-INFINITY, y, INFINITY}) x.push_back(std::nextafter(y, to));
  }
  std::mt19937_64 random(2);
  for (int i = 0; i < (1 << 20) / every(); ++i) x.push_back(from_bits<float>(uint32_t(random())));
  while (x.size() % width) x.push_back(0);
  for (size_t i = 0; i < x.size(); i += width) {
    T memory[width];
    store(memory, load<A>(x.data() + i));
    for (int j = 0; j < width; ++j) {
      const uint16_t got = memory[j].bits, expected = encoded(format, double(x[i + j]));
      const bool nan = x[i + j] != x[i + j];
      const double back = decoded(format, got);
      check.that(nan ? back != back : got == expected, [&] {
        return text("store of %a as %s: got %#x, expected %#x", double(x[i + j]), name, got,
                    expected);
      });
    }
  }
}

// Some lanes of a pack, side by side in memory or apart: no other number is read, or written.
template <class A, class T>
void test_some_lanes(Checks& check, Format16 format, const char* name) {
  constexpr int width = Pack<A>::width, most = 3 * width;
  const uint16_t one = encoded(format, 1), two = encoded(format, 2), nan = encoded(format, NAN);
  for (const int stride : {1, 2})
    for (int lanes = 1; lanes <= width; ++lanes) {
      T memory[most];
      for (int i = 0; i < most; ++i) memory[i].bits = nan;
      for (int j = 0; j < lanes; ++j) memory[j * stride].bits = two;
      const Pack<A> got = load_lanes<A>(memory, stride, lanes, A(7));
      store_lanes(memory, stride, lanes, Pack<A>(1));
      for (int j = 0; j < width; ++j)
        check.that(got.v[j] == (j < lanes ? 2 : 7), [&] {
          return text("lane %d of %d of %s: got %g", j, lanes, name, double(got.v[j]));
        });
      for (int i = 0; i < most; ++i) {
        const bool written = i % stride == 0 && i / stride < lanes;
        check.that(memory[i].bits == (written ? one : nan), [&] {
          return text("%s %d after %d lanes: %#x", name, i, lanes, memory[i].bits);
        });
      }
    }
}

template <class A>
void test_transpose(Checks& check, const char* type) {
  constexpr int width = Pack<A>::width;
  Pack<A> square[width];
  for (int i = 0; i < width; ++i)
    for (int j = 0; j < width; ++j) square[i].v[j] = A(100 * i + j);
  transpose(square);
  for (int i = 0; i < width; ++i)
    for (int j = 0; j < width; ++j)
      check.that(square[i].v[j] == A(100 * j + i), [&] {
        return text("transpose of %s at (%d, %d): got %g", type, i, j, double(square[i].v[j]));
      });
}

template <class A>
void test_lanes(Checks& check, const char* type) {
  constexpr int width = Pack<A>::width;
  const auto same = [&](const char* what, Real got, Real expected) {
    check.that(got == expected || (got != got && expected != expected),
               [&] { return text("%s of %s: got %Lg, expected %Lg", what, type, got, expected); });
  };
  A a[width], b[width];
  Real total = 0;
  for (int j = 0; j < width; ++j) {
    a[j] = A(3 - j);
    b[j] = A(j % 2 ? NAN : 2);
    total += a[j];
  }
  const Pack<A> x = load<A>(a), y = load<A>(b);
  same("sum", sum(x), total);
  same("highest", highest(x), 3);
  same("highest of the reverse", highest(-x), width - 4);
  for (int j = 0; j < width; ++j) {
    same("max passes over NaN", max(x, y).v[j], j % 2 ? a[j] : std::max(a[j], A(2)));
    same("select", select(x > y, x, y).v[j], a[j] > b[j] ? a[j] : b[j]);
    A one[width] = {};
    one[j] = 1;
    const Pack<A> p = load<A>(one);
    same("any", any(p == Pack<A>(1), p), 1);
  }
  same("any of none", any(x == Pack<A>(100), x), 0);

  const InDouble<A> wide(x);
  same("total", wide.total(), total);
  for (int j = 0; j < width; ++j) {
    same("lane of InDouble", wide[j], a[j]);
    same("narrowed", wide.narrowed().v[j], a[j]);
  }

  // The zero rules of arithmetic.h.
  const auto lane = [](Pack<A> v) { return Real(v.v[width - 1]); };
  const Pack<A> zero(0), one(1), infinity(INFINITY), nan(NAN);
  same("times0(0, inf)", lane(times0(zero, infinity)), 0);
  same("times0(0, nan)", lane(times0(zero, nan)), 0);
  same("times0(nan, 0)", lane(times0(nan, zero)), NAN);
  same("times0(1, -inf)", lane(times0(one, -infinity)), -INFINITY);
  same("over0(0, 0)", lane(over0(zero, zero)), 0);
  same("over0(1, 0)", lane(over0(one, zero)), INFINITY);
  same("over0(0, nan)", lane(over0(zero, nan)), NAN);
  same("over0(1, 2)", lane(over0(one, Pack<A>(2))), 0.5);
  same("finite_at0(0, -inf)", lane(finite_at0(zero, -infinity)), 0);
  same("finite_at0(0, nan)", lane(finite_at0(zero, nan)), 0);
  same("finite_at0(0, 1)", lane(finite_at0(zero, one)), 1);
  same("finite_at0(1, -inf)", lane(finite_at0(one, -infinity)), -INFINITY);
  for (int k = -64; k <= 64; ++k) {
    const Real d = k / Real(128), t = k / Real(256);
    const Real remainder = expm1l(-d) + d;
    const Real gap = ((1 + t) * log1pl(t) + (1 - t) * log1pl(-t)) / 2;
    // The long double sides cancel too, by 64 bits of what they subtract.
    const auto near = [&](const char* what, Real got, Real expected, Real terms) {
      check.that(
          fabsl(got - expected) <=
              4 * rounding_of(sizeof(A) == 8 ? kDouble : kFloat) * expected + ldexpl(terms, -62),
          [&] { return text("%s(%Lg): got %La, expected %La", what, d, got, expected); });
    };
    near("exp_remainder", lane(exp_remainder(Pack<A>(double(d)))), remainder, fabsl(d));
    near("entropy_gap", lane(entropy_gap(Pack<A>(double(t)))), gap, fabsl(t));
  }
}

int test_pack(const char* instruction_set) {
  Checks check;
  test_functions<float>(check, "float");
  test_functions<double>(check, "double");
  test_loads<float, BFloat16>(check, kBFloat16Format, "bfloat16");
  test_loads<float, Half>(check, kHalfFormat, "half");
  test_loads<double, BFloat16>(check, kBFloat16Format, "bfloat16 into double");
  test_loads<double, Half>(check, kHalfFormat, "half into double");
  test_stores<float, BFloat16>(check, kBFloat16Format, "bfloat16");
  test_stores<float, Half>(check, kHalfFormat, "half");
  test_stores<double, BFloat16>(check, kBFloat16Format, "bfloat16");
  test_stores<double, Half>(check, kHalfFormat, "half");
  test_some_lanes<float, BFloat16>(check, kBFloat16Format, "bfloat16");
  test_some_lanes<float, Half>(check, kHalfFormat, "half");
  test_some_lanes<double, BFloat16>(check, kBFloat16Format, "bfloat16");
  test_transpose<float>(check, "float");
  test_transpose<double>(check, "double");
  test_lanes<float>(check, "float");
  test_lanes<double>(check, "double");
  return check.report(instruction_set);
}

}  // namespace
}  // namespace torch_infotheory
