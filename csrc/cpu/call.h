// call.h -- from tensors to the border struct of core/rows.h, and over threads.
//
// Knows layout and threads; must not know formulas by name or how a row is reduced. Read next:
// cpu.cpp.
#pragma once
#include <vector>

#include "cpu/parallel.h"
#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

Type type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return kFloat;
    case at::kDouble:
      return kDouble;
    case at::kBFloat16:
      return kBFloat16;
    case at::kHalf:
      return kHalf;
    case at::kByte:
      return kUInt8;
    case at::kChar:
      return kInt8;
    case at::kShort:
      return kInt16;
    case at::kInt:
      return kInt32;
    case at::kLong:
      return kInt64;
    default:
      TORCH_CHECK_TYPE(false, "torch_infotheory: no kernel for ", t.scalar_type());
  }
}
bool needs_double(const Operands& x) {
  return x.p.scalar_type() == at::kDouble || (x.q && x.q->scalar_type() == at::kDouble);
}

constexpr int64_t kSegment = 8192;
int64_t segments_of(int64_t elements) { return (elements + kSegment - 1) / kSegment; }

// Rows, with the memory that it points into.
struct Call {
  Rows rows;
  std::vector<int64_t> sizes, strides[5];
  Tensor weight;

  template <class F>
  static Call of(const Operands& x, const Options& o) {
    Call c;
    const Tensor& full = x.full(o);
    const int64_t dim = wrapped_dim(full, o.dim);
    for (const int64_t n : row_shape<F, int64_t>(full, dim)) c.sizes.push_back(n);
    c.rows.rows = 1;
    for (const int64_t n : c.sizes) c.rows.rows *= n;
    c.rows.classes = full.dim() == 0 ? 1 : is_table<F> ? full.size(-1) : full.size(dim);
    if (is_table<F>) {
      c.rows.x_classes = full.size(-2);
      c.rows.p_x_stride = full.stride(-2);
    }
    c.rows.p = c.template operand<F>(0, x.p, dim, o.p_kind());
    if (x.q) c.rows.q = c.template operand<F>(1, *x.q, dim, o.q_kind());
    if (x.weight) {
      c.weight = x.weight->to(needs_double(x) ? at::kDouble : at::kFloat).contiguous();
      c.rows.weight = c.weight.const_data_ptr();
    }
    c.rows.label_smoothing = o.label_smoothing;
    c.rows.ignore_index = o.ignore_index;
    c.rows.scale = o.scale;
    return c;
  }
  // The strides of t over the rows; t has either all dimensions or those of the rows alone, or one
  // element for all rows.
  template <class F>
  Operand operand(int slot, const Tensor& t, int64_t dim, Kind kind) {
    Operand x{t.const_data_ptr(), kind, type_of(t), 0, nullptr};
    const bool rows_only = t.dim() == int64_t(sizes.size());
    if (t.dim() == 0 && !sizes.empty()) {
      strides[slot].assign(sizes.size(), 0);
      return x;
    }
    for (int64_t d = 0; d < t.dim(); ++d)
      if (rows_only || !is_class_dim<F>(d, dim, t.dim())) strides[slot].push_back(t.stride(d));
    if (!rows_only) x.class_stride = is_table<F> ? t.stride(-1) : t.stride(dim);
    return x;
  }
  // Neighbouring dimensions that every operand walks as one become one; then the pointers are
  // final.
  Rows& finish() {
    size_t rank = 0;
    for (size_t d = 0; d < sizes.size(); ++d) {
      bool joins = rank > 0;
      for (const auto& s : strides)
        if (joins && !s.empty()) joins = s[rank - 1] == s[d] * sizes[d];
      if (!joins) ++rank;
      sizes[rank - 1] = joins ? sizes[rank - 1] * sizes[d] : sizes[d];
      for (auto& s : strides)
        if (!s.empty()) s[rank - 1] = s[d];
    }
    rows.rank = int(rank);
    rows.sizes = sizes.data();
    Operand* const operands[] = {&rows.p, &rows.q, &rows.value, &rows.g, &rows.gradient};
    for (int i = 0; i < 5; ++i)
      operands[i]->row_strides = strides[i].empty() ? nullptr : strides[i].data();
    return rows;
  }
  void run(Kernel kernel, bool is_table) {
    const int64_t per_row = rows.classes * rows.x_classes;
    const int64_t grain = std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, per_row));
    parallel_for(rows.rows, grain, [&](int64_t begin, int64_t end) {
      std::vector<double> scratch(is_table ? rows.x_classes + rows.classes + kScratchSpare : 0);
      kernel(rows, begin, end, scratch.data());
    });
    TORCH_CHECK_INDEX(!rows.has_bad_label, "Target ", rows.bad_label, " is out of bounds.");
  }
  // Elements without rows: contiguous memory in segments that do not depend on the number of
  // threads.
  void run_flat(Kernel kernel, int64_t elements) {
    parallel_for(segments_of(elements), kElementsPerThread / kSegment,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t s = begin; s < end; ++s) {
                     double unused[4] = {};
                     Rows part = rows;
                     const int64_t first = s * kSegment;
                     for (Operand* x : {&part.p, &part.q, &part.value, &part.gradient, &part.g}) {
                       x->row_strides = nullptr;
                       if (!x->data || (x == &part.g && !part.g_per_class)) continue;
                       x->class_stride = 1;
                       x->data = static_cast<const char*>(x->data) + first * size_of(x->type);
                     }
                     part.rank = 0;
                     part.rows = 1;
                     part.classes = std::min(kSegment, elements - first);
                     part.saved = unused;
                     if (part.row_values) part.row_values += s;
                     kernel(part, 0, 1, nullptr);
                   }
                 });
  }
  static constexpr int64_t kElementsPerThread = 32768;  // a thread is not worth waking for less
};

}  // namespace
}  // namespace torch_infotheory
