// products.cpp -- products of bfloat16 matrices whose sums and results are float32.
//
// On the CPU torch's own round their result to bfloat16, which is too little for a logit. MKL,
// which torch's builds for x86 contain and export, has the product. Knows tensors; must not know
// rows.
#include <algorithm>

#include "cpu/threads.h"
#include "dispatch/cpu.h"
#include "dispatch/devices.h"

#if defined(__x86_64__)
#include <cpuid.h>

// As mkl_cblas.h declares it, with the enumerations as numbers; null in a torch without MKL.
extern "C" __attribute__((weak)) void cblas_gemm_bf16bf16f32(int layout, int transposes_a,
                                                             int transposes_b, int m, int n, int k,
                                                             float alpha, const uint16_t* a,
                                                             int lda, const uint16_t* b, int ldb,
                                                             float beta, float* c, int ldc);
#endif

namespace torch_infotheory {

#if defined(__x86_64__)
namespace {

__attribute__((target("avx512f,avx512bw,avx512vl"))) void split(const float* x, uint16_t* high,
                                                                uint16_t* low, int64_t n) {
  const auto bits = [](float number) __attribute__((always_inline)) {
    return __builtin_bit_cast(uint32_t, number);
  };
  const auto number = [](uint32_t bits) __attribute__((always_inline)) {
    return __builtin_bit_cast(float, bits);
  };
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t all = bits(x[i]), exponent = all & 0x7f800000u;
    const float rest = x[i] - number(all & 0xffff0000u);
    high[i] = x[i] == x[i] ? uint16_t(all >> 16) : 0x7fc0;
    // The rest has at most 16 bits, of which 8 stay. Infinities have none.
    low[i] = exponent == 0x7f800000u ? 0 : uint16_t((bits(rest) + 0x8000u) >> 16);
  }
}

constexpr int kRowMajor = 101, kAsItIs = 111, kTransposed = 112;

// A matrix whose rows or columns are contiguous.
struct Factor {
  Tensor matrix;
  int transposes = kAsItIs, leading;
  explicit Factor(const Tensor& x) : matrix(x) {
    const auto lies = [&](int64_t row, int64_t column) {
      return matrix.stride(column) == 1 && matrix.stride(row) >= matrix.size(column);
    };
    if (!lies(0, 1) && lies(1, 0))
      transposes = kTransposed;
    else if (!lies(0, 1))
      matrix = matrix.contiguous();
    leading = int(std::max<int64_t>(matrix.stride(transposes == kTransposed), 1));
  }
  const uint16_t* data() const {
    return reinterpret_cast<const uint16_t*>(matrix.const_data_ptr<at::BFloat16>());
  }
};

}  // namespace

// AMX alone: MKL's product is 1.6 to 5 times as fast as that of float32 with it (32,000 classes of
// 256 features), and has not been measured on processors of other kinds.
bool multiplies_bfloat16() {
  static const bool does = [] {
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    unsigned a, b, c, d;
    return cblas_gemm_bf16bf16f32 && cpu_instruction_set() == "avx512" &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16) && (d & amx_tile);
  }();
  return does;
}

void multiply_bfloat16(const Tensor& out, const Tensor& a, const Tensor& b, double beta,
                       double alpha) {
  if (out.numel() == 0) return;
  if (a.size(1) == 0) {
    if (beta == 0)
      out.zero_();
    else
      out.mul_(beta);
    return;
  }
  const Factor x(a), y(b);
  cblas_gemm_bf16bf16f32(kRowMajor, x.transposes, y.transposes, int(out.size(0)), int(out.size(1)),
                         int(a.size(1)), float(alpha), x.data(), x.leading, y.data(), y.leading,
                         float(beta), out.mutable_data_ptr<float>(),
                         int(std::max(out.stride(0), out.size(1))));
}

void split_bfloat16(const Tensor& x, const Tensor& high, const Tensor& low) {
  const auto data = [](const Tensor& t) {
    return reinterpret_cast<uint16_t*>(t.mutable_data_ptr<at::BFloat16>());
  };
  parallel_for(x.numel(), int64_t(1) << 16, [&](int64_t begin, int64_t end) {
    split(x.const_data_ptr<float>() + begin, data(high) + begin, data(low) + begin, end - begin);
  });
}
#else
bool multiplies_bfloat16() { return false; }
void multiply_bfloat16(const Tensor&, const Tensor&, const Tensor&, double, double) {}
void split_bfloat16(const Tensor&, const Tensor&, const Tensor&) {}
#endif

}  // namespace torch_infotheory
