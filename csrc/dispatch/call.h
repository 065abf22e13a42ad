// call.h -- fills the struct Rows of core/rows.h from tensors, for the kernels of every device.
#pragma once
#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

bool needs_double(const Operands& x) {
  return x.p.scalar_type() == at::kDouble || (x.q && x.q->scalar_type() == at::kDouble);
}

// The derivatives by p and by q; undefined where they are not asked for.
using Gradients = std::array<Tensor, 2>;
inline Gradients only(int64_t wrt, const Tensor& gradient) {
  return wrt == kWrtQ ? Gradients{Tensor(), gradient} : Gradients{gradient, Tensor()};
}

// Owns the memory that `rows` points to.
struct Call {
  Rows rows;
  c10::SmallVector<int64_t, 6> sizes, strides[6];  // of p, q, value, g, d / d p, d / d q
  Tensor weight, saved;
  c10::SmallVector<float, 32> converted_weight;  // instead of `weight`
  bool flat = false;                             // elementwise, all operands contiguous

  // The value is an operand unless the rows are reduced.
  template <class F>
  static Call forward(const Operands& x, const Options& o, const Tensor& value,
                      const Tensor& saved) {
    Call c = make<F>(x, o);
    TORCH_CHECK(c.rows.classes * c.rows.x_classes > 0 || o.has_labels() || o.is_elementwise(),
                F::name, ": expected at least one class, got ", x.full(o).sym_sizes());
    if (!o.is_reduced()) c.rows.value = c.operand<F>(2, value, wrapped_dim(x.full(o), o.dim));
    c.set_saved(saved);
    return c;
  }
  template <class F>
  static Call backward(const Operands& x, const Options& o, const Tensor& g, const Tensor& saved,
                       const Gradients& gradients) {
    Call c = make<F>(x, o);
    const int64_t dim = wrapped_dim(x.full(o), o.dim);
    c.rows.g = c.operand<F>(3, g, dim);
    for (const int64_t by : {kWrtP, kWrtQ})
      if (gradients[by].defined())
        c.rows.gradients[by] = c.operand<F>(4 + int(by), gradients[by], dim);
    const bool by_p = gradients[kWrtP].defined(), by_q = gradients[kWrtQ].defined();
    c.rows.wrt = by_p && by_q ? kWrtBoth : by_q ? kWrtQ : kWrtP;
    c.rows.scale /= o.divisor(by_p ? o.p_kind : o.q_kind);
    c.rows.g_per_class = o.reduction == kTerms;
    c.flat &= g.dim() == 0 || g.is_contiguous();
    c.set_saved(saved.contiguous());
    return c;
  }
  // Coalesces adjacent dimensions where the strides of all operands allow it, and sets the pointers
  // into this object, which must not move afterwards.
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
    if (!converted_weight.empty()) rows.weight = converted_weight.data();
    rows.rank = int(rank);
    rows.sizes = sizes.data();
    Operand* const operands[] = {
        &rows.p, &rows.q, &rows.value, &rows.g, &rows.gradients[0], &rows.gradients[1]};
    for (int i = 0; i < 6; ++i)
      operands[i]->row_strides = strides[i].empty() ? nullptr : strides[i].data();
    return rows;
  }

 private:
  template <class F>
  static Call make(const Operands& x, const Options& o) {
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
    c.rows.p = c.template operand<F>(0, x.p, dim, Kind(o.p_kind));
    if (x.q) c.rows.q = c.template operand<F>(1, *x.q, dim, Kind(o.q_kind));
    c.rows.p.temperature = o.divisor(o.p_kind);
    c.rows.q.temperature = o.divisor(o.q_kind);
    c.rows.p.quotient = c.rows.q.quotient = needs_double(x) ? kDouble : kFloat;
    if (x.weight) c.read_weight(*x.weight, needs_double(x) ? at::kDouble : at::kFloat);
    c.rows.label_smoothing = o.label_smoothing;
    c.rows.ignore_index = o.ignore_index;
    c.rows.scale = o.scale;
    c.rows.parameter = o.parameter;
    c.rows.elementwise = o.is_elementwise();
    c.flat =
        o.is_elementwise() && !x.weight && x.p.is_contiguous() && (!x.q || x.q->is_contiguous());
    return c;
  }
  // Converts to the type used for computation. On the CPU 16-bit weights are converted by hand,
  // because one op of torch takes as long as a small loss.
  void read_weight(const Tensor& t, ScalarType type) {
    const bool half = t.scalar_type() == at::kHalf;
    if (type == at::kFloat && t.device().is_cpu() && (half || t.scalar_type() == at::kBFloat16)) {
      const auto convert = [&](const auto* from) {
        for (int64_t c = 0; c < t.size(0); ++c)
          converted_weight.push_back(float(from[c * t.stride(0)]));
      };
      return half ? convert(t.const_data_ptr<at::Half>())
                  : convert(t.const_data_ptr<at::BFloat16>());
    }
    weight = (t.scalar_type() == type ? t : t.to(type)).contiguous();
    rows.weight = weight.const_data_ptr();
  }
  // Reads the strides of t over the rows. t has all dimensions, only those of the rows, or a single
  // element for all rows.
  template <class F>
  Operand operand(int slot, const Tensor& t, int64_t dim, Kind kind = kProbs) {
    Operand x{.data = t.const_data_ptr(), .kind = kind, .type = type_of(t)};
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
  void set_saved(const Tensor& t) {
    saved = t;
    if (saved.numel()) rows.saved = const_cast<double*>(saved.const_data_ptr<double>());
  }
};

}  // namespace
}  // namespace torch_infotheory
