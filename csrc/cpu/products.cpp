// products.cpp -- products of bfloat16 matrices whose sums and results are float32.
//
// On the CPU torch's own round their result to bfloat16, which is too little for a logit. MKL,
// which torch's builds for x86 contain and export, has the product. Knows tensors; must not know
// rows.
#include <algorithm>
#include <cstring>
#include <memory>

#include "cpu/threads.h"
#include "dispatch/cpu.h"
#include "dispatch/devices.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

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

// Writes the n numbers of x, rounded to bfloat16, over the first half of x, and the rest of each to
// `low`. Infinities have no rest, and neither have numbers that are so small that it may be
// subnormal, because subtractions with such a result take 50 times as long.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void split(float* x, uint16_t* low,
                                                                           int64_t n) {
  using Bits = uint32_t __attribute__((vector_size(64)));
  using HalfBits = uint16_t __attribute__((vector_size(32)));
  constexpr uint32_t exponent = 0x7f800000, least = (127 - 102) << 23;
  auto* const high = reinterpret_cast<uint16_t*>(x);
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 some = n - i < 16 ? (1u << (n - i)) - 1 : 0xffff;
    const __m512 all = _mm512_maskz_loadu_ps(some, x + i);
    const __m256i nearest = (__m256i)_mm512_cvtneps_pbh(all);
    const Bits first = __builtin_convertvector((HalfBits)nearest, Bits) << 16,
               scale = (first & exponent) - least, range = Bits{} + (exponent - least);
    const __mmask16 has_rest = _mm512_cmplt_epu32_mask((__m512i)scale, (__m512i)range);
    const __m512 rest = _mm512_maskz_sub_ps(has_rest, all, (__m512)first);
    _mm256_mask_storeu_epi16(high + i, some, nearest);
    _mm256_mask_storeu_epi16(low + i, some, (__m256i)_mm512_cvtneps_pbh(rest));
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
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24, avx512_bf16 = 1u << 5;
    unsigned a, b, c, d, of_avx;
    return cblas_gemm_bf16bf16f32 && cpu_instruction_set() == "avx512" &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16) && (d & amx_tile) &&
           __get_cpuid_count(7, 1, &of_avx, &b, &c, &a) && (of_avx & avx512_bf16);
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

void split_bfloat16(const Tensor& x) {
  const int64_t n = x.size(1), rows_per_call = std::max<int64_t>((int64_t(1) << 16) / n, 1);
  parallel_for(x.size(0), rows_per_call, [&](int64_t begin, int64_t end) {
    const auto low = std::make_unique_for_overwrite<uint16_t[]>(n);
    for (int64_t i = begin; i < end; ++i) {
      float* row = x.mutable_data_ptr<float>() + i * n;
      split(row, low.get(), n);
      std::memcpy(reinterpret_cast<uint16_t*>(row) + n, low.get(), n * sizeof(uint16_t));
    }
  });
}
#else
bool multiplies_bfloat16() { return false; }
void multiply_bfloat16(const Tensor&, const Tensor&, const Tensor&, double, double) {}
void split_bfloat16(const Tensor&) {}
#endif

}  // namespace torch_infotheory
