// readers.inl -- the functions of blocks.inl and tiles.inl for a type and a kind that are known at
// run time only, and single numbers.
//
// Knows sources and packs; must not know any formula by name, tensors, or torch. Read next:
// lanes.inl.
#pragma once
#include "cpu/tiles.inl"

namespace torch_infotheory {
namespace {

template <class T>
struct Tag {
  using type = T;
};
// f(Tag<T>) for the floating type that `type` names. Double memory is read in double only.
template <class A, class F>
TI_LANE auto with_type(Type type, F f) {
  switch (type) {
    case kBFloat16:
      return f(Tag<BFloat16>{});
    case kHalf:
      return f(Tag<Half>{});
    case kFloat:
      return f(Tag<float>{});
    default:
      return f(Tag<A>{});
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
  if (type == kDouble) return convert<A, double>;  // a gradient may be, whatever A is
  return with_type<A>(
      type, [](auto tag) -> Convert<A> { return convert<A, typename decltype(tag)::type>; });
}
template <class A>
Write<A> writer(Type type) {
  if (type == kDouble) return write<A, double>;  // asked for, whatever the operands are
  return with_type<A>(type,
                      [](auto tag) -> Write<A> { return write<A, typename decltype(tag)::type>; });
}
template <class A>
Turn<A> tile_reader(Type type) {
  return with_type<A>(type,
                      [](auto tag) -> Turn<A> { return to_tile<A, typename decltype(tag)::type>; });
}
template <class A>
Turn<A> tile_writer(Type type) {
  return with_type<A>(
      type, [](auto tag) -> Turn<A> { return from_tile<A, typename decltype(tag)::type>; });
}

// Numbers that lie anywhere: read into double, written from it.
template <class T>
TI_LANE double number_at(const T* x) {
  return double(widen<1>(x)[0]);
}
// x[places[0]], x[places[1]], ...
template <class T>
TI_LANE Pack<double> load_at(const T* x, Indices places) {
  Pack<double> v;
  for (int k = 0; k < Pack<double>::width; ++k) v.v[k] = number_at(x + places[k]);
  return v;
}
// to[j] = the number at place_of(j), for n of them.
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
TI_LANE void put_number(T* to, double number) {
  using Number = decltype(widen<1>(to)[0] + 0);
  narrow<1>(to, Vector<Number, 1>{Number(number)});
}
// visit(j, j * step) for n of them; with a step that the compiler knows where they lie side by
// side.
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
      put_number(x + place, numbers[j]);
    });
  });
}
inline void store_number(const Operand& to, int64_t offset, double number) {
  store_numbers(to, offset, 0, &number, 1);
}

}  // namespace
}  // namespace torch_infotheory
