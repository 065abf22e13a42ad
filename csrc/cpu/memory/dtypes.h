// dtypes.h -- the functions of blocks.h and panel.h for a dtype and a kind that are known at run
// time only, and single numbers.
#pragma once
#include "cpu/memory/panel.h"

namespace torch_infotheory {
namespace {

// Calls f(std::type_identity<T>) for the floating type T of `type`. Memory in double is computed
// with in double only.
template <class A, class F>
TI_LANE auto with_type(Type type, F f) {
  switch (type) {
    case kBFloat16:
      return f(std::type_identity<BFloat16>{});
    case kHalf:
      return f(std::type_identity<Half>{});
    case kFloat:
      return f(std::type_identity<float>{});
    default:
      return f(std::type_identity<A>{});
  }
}
template <class A>
Read<A> reader(Kind kind) {
  switch (kind) {
    case kLogits:
      return read<A, kLogits>;
    case kLogProbs:
      return read<A, kLogProbs>;
    case kWeights:
      return read<A, kWeights>;
    default:
      return read<A, kProbs>;
  }
}
template <class A>
Convert<A> converter(Type type) {
  if (type == kDouble) return convert<A, double>;  // an incoming gradient may be, whatever A is
  return with_type<A>(
      type, [](auto tag) -> Convert<A> { return convert<A, typename decltype(tag)::type>; });
}
template <class A>
Write<A> writer(Type type) {
  if (type == kDouble) return write<A, double>;  // dtype= may ask for it, whatever A is
  return with_type<A>(type,
                      [](auto tag) -> Write<A> { return write<A, typename decltype(tag)::type>; });
}
template <class A>
CopyPanel<A> panel_loader(Type type) {
  return with_type<A>(
      type, [](auto tag) -> CopyPanel<A> { return load_panel<A, typename decltype(tag)::type>; });
}
template <class A>
CopyPanel<A> panel_storer(Type type) {
  return with_type<A>(
      type, [](auto tag) -> CopyPanel<A> { return store_panel<A, typename decltype(tag)::type>; });
}

// Single numbers, as doubles.
template <class T>
TI_LANE double number_at(const T* x) {
  return double(widen<1>(x)[0]);
}
// Gathers x[places[0]], x[places[1]], ...
template <class T>
TI_LANE Pack<double> load_at(const T* x, Indices places) {
  Pack<double> v;
  for (int k = 0; k < Pack<double>::width; ++k) v.v[k] = number_at(x + places[k]);
  return v;
}
// to[j] = from[place_of(j)] for j < n.
template <class Place>
TI_LANE void load_numbers(const Operand& from, int64_t n, Place place_of, double* to) {
  with_type<double>(from.type, [&](auto tag) __attribute__((always_inline)) {
    const auto* x = static_cast<const typename decltype(tag)::type*>(from.data);
    for (int64_t j = 0; j < n; ++j) to[j] = number_at(x + place_of(j));
  });
}
inline double load_number(const Operand& from, int64_t offset) {
  double number;
  load_numbers(from, 1, [&](int64_t) { return offset; }, &number);
  return number;
}
template <class T>
TI_LANE void store_at(T* to, double number) {
  using Number = decltype(widen<1>(to)[0] + 0);
  narrow<1>(to, Vector<Number, 1>{Number(number)});
}
// Calls visit(j, j * step) for j < n, with a constant step where it is 1.
template <class Visit>
TI_LANE void each_in_line(int64_t n, int64_t step, Visit visit) {
  if (step == 1)
    for (int64_t j = 0; j < n; ++j) visit(j, j);
  else
    for (int64_t j = 0; j < n; ++j) visit(j, j * step);
}
inline void store_numbers(const Operand& to, int64_t offset, int64_t step, const double* numbers,
                          int64_t n) {
  with_type<double>(to.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* x = static_cast<T*>(const_cast<void*>(to.data)) + offset;
    each_in_line(n, step, [&](int64_t j, int64_t place) __attribute__((always_inline)) {
      store_at(x + place, numbers[j]);
    });
  });
}
inline void store_number(const Operand& to, int64_t offset, double number) {
  store_numbers(to, offset, 0, &number, 1);
}

template <class A>
constexpr Type own_type = sizeof(A) == sizeof(double) ? kDouble : kFloat;

}  // namespace
}  // namespace torch_infotheory
