// histogram.h -- the private ops of soft histograms, their signatures and checks.
//
// `_soft_histogram` (S) accumulates samples into a table, `_soft_histogram_gather` (G) interpolates
// a table at the samples. In row r
//
//     S_ij(x, y, w)[r, a, b] = sum_n w_n k_a^(i)(x_n) k_b^(j)(y_n)
//     G_ij(x, y, h)[r, n] = sum_ab h_ab k_a^(i)(x_n) k_b^(j)(y_n)
//
// with the derivatives of order i and j of the windows k. Every derivative of S and of G is again
// an S or a G of other orders, so two ops are enough for gradients of any order.
#pragma once
#include "core/histogram.h"
#include "dispatch/signature.h"

namespace torch_infotheory {

using SoftHistogramFn = Tensor(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
                               const optional<Tensor>& mask, const Tensor& range, int64_t bins,
                               int64_t window, int64_t order_x, int64_t order_y);
using SoftHistogramGatherFn = Tensor(const Tensor& x, const Tensor& y, const optional<Tensor>& mask,
                                     const Tensor& range, const Tensor& table, int64_t window,
                                     int64_t order_x, int64_t order_y, ScalarType dtype);
constexpr const char* kSoftHistogram = "_soft_histogram";
constexpr const char* kSoftHistogramGather = "_soft_histogram_gather";
inline const auto& soft_histogram_op() {
  static const auto op = find_op<SoftHistogramFn>(kSoftHistogram);
  return op;
}
inline const auto& soft_histogram_gather_op() {
  static const auto op = find_op<SoftHistogramGatherFn>(kSoftHistogramGather);
  return op;
}

// The type of a table, and of gathered values that are multiplied afterwards.
inline ScalarType exact_type(const Tensor& x, const Tensor& y, const optional<Tensor>& weight) {
  const auto is_double = [](const Tensor& t) { return t.scalar_type() == at::kDouble; };
  return is_double(x) || is_double(y) || (weight && is_double(*weight)) ? at::kDouble : at::kFloat;
}

// Checks rows of samples, all of one shape. Kernels rely on these checks.
inline void check_histogram(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
                            const optional<Tensor>& mask, const Tensor& range, int64_t window,
                            int64_t order_x, int64_t order_y) {
  TORCH_CHECK(window >= 0 && window < kWindows, "soft histogram: no window ", window);
  TORCH_CHECK(order_x >= 0 && order_y >= 0, "soft histogram: no negative derivatives");
  TORCH_CHECK_NOT_IMPLEMENTED(
      window != kGaussianWindow || std::max(order_x, order_y) <= kMaxOrder,
      "soft_joint_histogram: the Gaussian window has derivatives up to order ", kMaxOrder);
  const auto rows = x.sym_sizes();
  TORCH_CHECK(x.dim() == 2 && y.sym_sizes().equals(rows) &&
                  (!weight || weight->sym_sizes().equals(rows)) &&
                  (!mask || mask->sym_sizes().equals(rows)),
              "soft histogram: expected rows of samples of one shape");
  const auto is_beside_x = [&](const Tensor& t) { return t.device() == x.device(); };
  TORCH_CHECK(is_beside_x(y) && is_beside_x(range) && (!weight || is_beside_x(*weight)) &&
                  (!mask || is_beside_x(*mask)),
              "soft histogram: expected tensors of one device");
  TORCH_CHECK(!mask || mask->scalar_type() == at::kBool,
              "soft histogram: expected a mask of booleans");
  TORCH_CHECK(range.dim() == 2 && range.sym_size(0) == rows[0] && range.sym_size(1) == 4,
              "soft histogram: expected four limits for each row, got ", range.sym_sizes());
}
inline void check_table(const Tensor& x, const Tensor& table, int64_t window) {
  TORCH_CHECK(table.device() == x.device(), "soft histogram: expected tensors of one device");
  TORCH_CHECK(table.dim() == 3 && table.sym_size(0) == x.sym_size(0) &&
                  table.sym_size(1) == table.sym_size(2) && table.sym_size(2) >= support_of(window),
              "soft histogram: expected a square table for each row, got ", table.sym_sizes());
}
inline void check_bins(int64_t bins, int64_t window) {
  TORCH_CHECK(bins >= support_of(window), "soft histogram: expected at least ", support_of(window),
              " bins, got ", bins);
}

}  // namespace torch_infotheory
