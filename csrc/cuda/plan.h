// plan.h -- which kernel takes a call, with which geometry.
//
// Plain C++. Knows layout, types and kinds; must not know CUDA, tensors, or formulas by name. Read
// next: kernels.h.
#pragma once
#include <type_traits>

#include "core/sources.h"
#include "cuda/device_rows.h"

namespace torch_infotheory {

// In place of a Type or a Kind: known when a kernel runs, not when it is compiled. One kernel for
// every type and kind costs a few instructions for each pack; the pairs used most have their own.
constexpr int kAny = -1;

template <class A, int type>
constexpr int kPack = 16 / int(type == kAny ? sizeof(A) : size_of(Type(type)));

struct Plan {
  bool in_double;
  int type;  // of p and q in a kernel compiled for logits or labels of that type; else kAny
  RowShape shape;
  Geometry geometry;
};

namespace {

// The operand that has the class dimension.
inline const Operand& full_operand(const Rows& r) { return r.p.kind == kLabels ? r.q : r.p; }

// Logits, or the label of logits, of one type, without class weights or smoothing of all classes.
template <class F>
int fused_type(const Rows& r) {
  if constexpr (!is_table<F>) {
    const bool plain = r.label_smoothing == 0 && !r.elementwise;
    if (!plain || full_operand(r).kind != kLogits) return kAny;
    if (r.p.kind == kLabels) return F::arity == 2 && F::linear ? r.q.type : kAny;
    const bool alike = F::arity == 1 || (r.q.kind == kLogits && r.q.type == r.p.type);
    if (!r.weight && alike) return r.p.type;
  }
  return kAny;
}

template <class F>
Plan plan_of_operands(const Rows& r) {
  const Operand& x = full_operand(r);
  Plan plan;
  plan.in_double = x.type == kDouble || (F::arity == 2 && r.q.type == kDouble);
  plan.type = fused_type<F>(r);
  const int last = r.rank - 1;
  const bool rows_side_by_side = last >= 0 && x.row_strides && x.row_strides[last] == 1;
  const int64_t size = plan.type != kAny ? size_of(Type(plan.type)) : plan.in_double ? 8 : 4;
  plan.shape = {r.rows, r.classes, int(16 / size), x.class_stride == 1 || !rows_side_by_side};
  return plan;
}
template <class F>
Plan plan_forward(const Rows& r, bool reduced, size_t (*shared_memory)()) {
  Plan plan = plan_of_operands<F>(r);
  if constexpr (!is_table<F>) {
    Geometry& g = plan.geometry;
    const bool is_map = r.elementwise && !reduced;
    g = is_map ? map_geometry(plan.shape) : forward_geometry(plan.shape);
    if (!is_map && !F::linear && plan.type != kAny && g.parts == 1)
      park(g, plan.shape, F::arity, shared_memory());
  }
  return plan;
}
template <class F>
Plan plan_backward(const Rows& r) {
  Plan plan = plan_of_operands<F>(r);
  if constexpr (!is_table<F>) plan.geometry = map_geometry(plan.shape);
  return plan;
}

// visit(A, type): the type computed with, and the one in memory or kAny.
template <class A>
struct Tag {
  using type = A;
};
template <int t>
using Known = std::integral_constant<int, t>;
template <class Visit>
void with_type(const Plan& plan, Visit visit) {
  switch (plan.type) {
    case kFloat:
      return visit(Tag<float>{}, Known<kFloat>{});
    case kDouble:
      return visit(Tag<double>{}, Known<kDouble>{});
    case kBFloat16:
      return visit(Tag<float>{}, Known<kBFloat16>{});
    case kHalf:
      return visit(Tag<float>{}, Known<kHalf>{});
    default:
      if (plan.in_double)
        visit(Tag<double>{}, Known<kAny>{});
      else
        visit(Tag<float>{}, Known<kAny>{});
  }
}

}  // namespace
}  // namespace torch_infotheory
