// rows.inl -- how a row is reduced on the CPU, forward and backward, for every formula.
//
// forward    Linear formulas read a row once: moments relative to a moving reference, corrected when the reference moves and
//            once more when the normalisers are known. Other formulas read it again for the terms. Where a divergence comes
//            out small, its row is read again in double by the formula's centred term.
// backward   One reading, one writing: the row totals of d / d log were saved by forward.
//
// Compiled once per instruction set. Knows sources and the names score, term, slope_p, d_lq, centred; must not know any
// formula by name, tensors, threads, or torch. Read next: tables.inl.
#pragma once
#include "cpu/blocks.inl"
#include "cpu/cursor.h"

namespace torch_infotheory {
namespace {

// One operand of one row.
template <class A>
struct Source {
  const char* data = nullptr;
  int64_t stride = 0, size = 0;
  Kind kind = kProbs;
  Read<A> read = nullptr;
  Highest<A> highest = nullptr;
  A high = 0, low = 0;

  Source(const Operand& x)
      : stride(x.class_stride), size(size_of(x.type)), kind(x.kind), read(reader<A>(x.kind, x.type)), highest(highest_reader<A>(x.type)) {}

  void move_to(const Operand& x, int64_t offset) {
    data = static_cast<const char*>(x.data) + offset * size;
    high = kind == kLogits ? -Format<A>::largest : A(0);
    low = 0;
  }
  const void* at(int64_t first) const { return data + first * stride * size; }
  void fill(int64_t first, int64_t n, Block<A>& to) const { read(at(first), stride, n, high, low, to); }
  // Takes the block's maximum into the reference; returns old - new, 0 where nothing moved.
  double raise(int64_t first, int64_t n) {
    if (kind != kLogits) return 0;
    const A top = highest(at(first), stride, n), old = high;
    if (!(top > old)) return 0;
    high = top;
    const double moved = double(old) - double(top);
    return moved > -1e300 ? moved : -1e300;
  }
  // From here on, logits are read as log-probabilities. In two parts, for z itself is not exact in A.
  void normalise(double z) {
    if (kind != kLogits) return;
    high = A(z);
    low = A(z - double(high));
  }
};

// A loss target: class weights and label smoothing, applied to the block of p.
template <class A>
struct Target {
  const A* weight;
  Smoothing smoothing;
  bool plain, dense;  // nothing to apply; anything besides the peak of a label

  Target(const Rows& r)
      : weight(static_cast<const A*>(r.weight)),
        smoothing(r.label_smoothing, r.classes),
        plain(!r.weight && r.label_smoothing == 0),
        dense(r.p.kind != kLabels || r.label_smoothing != 0) {}

  double weight_of(int64_t c) const { return weight ? double(weight[c]) : 1; }
  void apply(Block<A>& p, int64_t first, int64_t n) const {
    const Pack<A> kept(smoothing.kept), spread(smoothing.spread);
    const auto smooth = [&](int64_t i, Pack<A> w) { store(p.p + i, w * (kept * load<A>(p.p + i) + spread)); };
    if (plain) return;
    if (weight) each_pack<A>(weight + first, 1, n, smooth);
    else for (int64_t i = 0; i < n; i += Pack<A>::width) smooth(i, Pack<A>(1));
    pad(p, n);
  }
  // d / d t of the adjusted target, onto a block of d / d p.
  void chain(A* d, int64_t first, int64_t n) const {
    const Pack<A> kept(smoothing.kept);
    if (plain) return;
    for (int64_t i = 0; i < n; i += Pack<A>::width) store(d + i, kept * load<A>(d + i));
    if (weight)
      each_pack<A>(weight + first, 1, n, [&](int64_t i, Pack<A> w) { store(d + i, w * load<A>(d + i)); });
  }
  // What a label adds to the background of its class. Only formulas linear in p are given a loss target.
  Prob<double> peak(int64_t c) const { return {weight_of(c) * smoothing.kept, 0}; }
  Prob<double> background(int64_t c) const { return {weight_of(c) * smoothing.spread, 0}; }
};

struct Sums {
  double p = 0, q = 0, value = 0, d_lp = 0, d_lq = 0;
};

// f(i, k) over the packs of a block, k = 0..3 in turn: four sums in flight hide the latency of an addition.
template <class A, class F>
TI_LANE void each_of_block(int64_t n, F f) {
  constexpr int64_t width = Pack<A>::width;
  int64_t i = 0;
  for (; i + 3 * width < n; i += 4 * width) {
    f(i, 0);
    f(i + width, 1);
    f(i + 2 * width, 2);
    f(i + 3 * width, 3);
  }
  for (; i < n; i += width) f(i, 0);
}
template <class A>
struct Accumulator {
  Pack<A> part[4];
  TI_LANE Accumulator() {  // written out: gcc gives an implicit constructor the baseline instruction set
    for (Pack<A>& x : part) x = Pack<A>(0);
  }
  TI_LANE void add(int k, Pack<A> x) { part[k] = part[k] + x; }
  TI_LANE double total() const { return sum((part[0] + part[1]) + (part[2] + part[3])); }
};

// Each block is summed in A and added in double, so that no sum of A is longer than a block.
template <class F, class A>
void fold_moments(const Block<A>& a, const Block<A>& b, int64_t n, Sums& s) {
  Accumulator<A> p, q, value;
  each_of_block<A>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = a.at(i), y = F::arity == 2 ? b.at(i) : x;
    p.add(k, x.p);
    if constexpr (F::arity == 2) q.add(k, y.p);
    if constexpr (F::linear) value.add(k, F::term(x, y));
  });
  s.p += p.total();
  s.q += q.total();
  s.value += value.total();
}
template <class F, class A>
void fold_terms(const Block<A>& a, const Block<A>& b, int64_t n, Sums& s) {
  Accumulator<A> value, by_lp, by_lq;
  each_of_block<A>(n, [&](int64_t i, int k) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = a.at(i), y = b.at(i);
    value.add(k, F::term(x, y));
    by_lp.add(k, d_lp<F>(x, y));
    by_lq.add(k, F::d_lq(x, y));
  });
  s.value += value.total();
  s.d_lp += by_lp.total();
  s.d_lq += by_lq.total();
}
template <class F, class A>
void fold_centred(const Block<A>& a, const Block<A>& b, int64_t n, Sums& s) {
  Accumulator<A> value;
  each_of_block<A>(n, [&](int64_t i, int k) __attribute__((always_inline)) { value.add(k, F::centred(a.at(i), b.at(i))); });
  s.value += value.total();
}

// p and q of one row, block by block.
template <class A>
struct Pair {
  Source<A> p, q;
  Target<A> target;
  int64_t classes;
  double zp = 0, zq = 0;

  Pair(const Rows& r) : p(r.p), q(r.q), target(r), classes(r.classes) {}
  void move_to(const Rows& r, int64_t p_offset, int64_t q_offset) {
    if (p.kind != kLabels) p.move_to(r.p, p_offset);
    q.move_to(r.q, q_offset);
  }
  void normalise() {
    p.normalise(zp);
    q.normalise(zq);
  }
  template <int arity>
  void fill(int64_t first, int64_t n, Block<A>& a, Block<A>& b) const {
    if (p.kind == kLabels) {
      for (int64_t i = 0; i < n; ++i) a.p[i] = 0;
      pad(a, n);
    } else {
      p.fill(first, n, a);
    }
    target.apply(a, first, n);
    if constexpr (arity == 2) q.fill(first, n, b);
  }
  template <int arity, class Fold>
  void each_block(Fold fold) const {
    Block<A> a, b;
    for (int64_t first = 0; first < classes; first += kBlock) {
      const int64_t n = classes - first < kBlock ? classes - first : kBlock;
      fill<arity>(first, n, a, b);
      fold(first, n, a, b);
    }
  }
};

// The row's value and totals; leaves the normalisers in `row`.
template <class F, class A>
Sums reduce(Pair<A>& row) {
  Sums s;
  Block<A> a, b;
  for (int64_t first = 0; first < row.classes; first += kBlock) {
    const int64_t n = row.classes - first < kBlock ? row.classes - first : kBlock;
    const double dp = row.p.raise(first, n), dq = F::arity == 2 ? row.q.raise(first, n) : 0;
    if (dp < 0 || dq < 0) {
      if constexpr (F::linear) s.value = times0(exp(dp), s.value + s.p * F::score(dp, dq));
      s.p *= exp(dp);
      s.q *= exp(dq);
    }
    row.template fill<F::arity>(first, n, a, b);
    fold_moments<F>(a, b, n, s);
  }
  const bool p_known = row.p.kind != kLogits, q_known = row.q.kind != kLogits || F::arity == 1;
  const double log_p = p_known ? 0 : log(s.p), log_q = q_known ? 0 : log(s.q), mass = p_known ? s.p : 1;
  row.zp = double(row.p.high) + log_p;
  row.zq = double(row.q.high) + log_q;
  if constexpr (F::linear) {
    s.value = (s.value + times0(s.p, F::score(-log_p, -log_q))) / (p_known ? 1 : s.p);
    s.d_lp = s.value + mass * F::score(1., 0.);
    s.d_lq = mass * F::score(0., 1.);
  } else {
    row.normalise();
    row.template each_block<F::arity>(
        [&](int64_t, int64_t n, const Block<A>& a, const Block<A>& b) { fold_terms<F>(a, b, n, s); });
  }
  // A NaN must show even where its factor is 0.
  if (s.p + s.q != s.p + s.q) s.value = NAN;
  if (!p_known) s.p = 1;
  if (!q_known) s.q = 1;
  return s;
}

// Below this a divergence has lost digits to cancellation: one reading in float is good to about 1e-6 at logits of scale 1
// and 4e-5 at scale 30.
constexpr double kSmall = 0x1p-4;

template <class F>
double centred_value(Pair<double>& row, const Sums& literal, double rounding) {
  if (!(fabs(literal.p - literal.q) <= rounding * (literal.p > literal.q ? literal.p : literal.q))) return literal.value;
  Sums s;
  row.normalise();
  row.template each_block<2>(
      [&](int64_t, int64_t n, const Block<double>& a, const Block<double>& b) { fold_centred<F>(a, b, n, s); });
  return s.value;
}

// d / d x of a block, and x by its kind.
template <class A>
using Chain = void (*)(const Block<A>& a, const Block<A>& b, int64_t n, A total, A* out);
template <class F, class A, Kind kind, bool by_q>
void chain(const Block<A>& a, const Block<A>& b, int64_t n, A total, A* out) {
  for (int64_t i = 0; i < n; i += Pack<A>::width) {
    const Prob<Pack<A>> x = a.at(i), y = F::arity == 2 ? b.at(i) : x;
    if constexpr (by_q) store(out + i, gradient_by_q<F, kind>(x, y, Pack<A>(total)));
    else store(out + i, gradient_by_p<F, kind>(x, y, Pack<A>(total)));
  }
}
template <class F, class A, bool by_q>
Chain<A> chain_of(Kind kind) {
  switch (kind) {
    case kLogits: return chain<F, A, kLogits, by_q>;
    case kLogProbs: return chain<F, A, kLogProbs, by_q>;
    default: return chain<F, A, kProbs, by_q>;
  }
}

// ---- what a label contributes ----------------------------------------------------------------------------------------
enum class Label { kNone, kCounts, kIgnored, kBad };

inline Label read_label(Rows& r, int64_t offset, int64_t& label) {
  if (r.p.kind != kLabels) return Label::kNone;
  label = label_at(r.p, offset);
  if (label == r.ignore_index) return Label::kIgnored;
  if (label >= 0 && label < r.classes) return Label::kCounts;
  __atomic_store_n(&r.bad_label, label, __ATOMIC_RELAXED);
  __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
  return Label::kBad;
}
inline Prob<double> q_at(const Rows& r, int64_t offset, int64_t c, double zq) {
  const double x = load_number(r.q, offset + c * r.q.class_stride);
  const double lq = r.q.kind == kLogits ? x - zq : r.q.kind == kLogProbs ? x : log(x);
  return {exp(lq), lq};
}

// ---- the two kernels of a formula ------------------------------------------------------------------------------------
template <class F, class A>
Sums row_sums(Rows& r, const Cursor& at, Pair<A>& row, Label kind, int64_t label) {
  Sums s;
  const bool reads = row.target.dense || row.q.kind == kLogits;
  if (reads) s = reduce<F>(row);
  if (kind == Label::kCounts) {
    const Prob<double> q = q_at(r, at.q, label, row.zq), peak = row.target.peak(label);
    s.value += F::term(peak, q);
    s.d_lq += F::d_lq(peak, q);
  }
  if constexpr (F::divergence) {
    if (s.value < kSmall) {
      Pair<double> again(r);
      again.move_to(r, at.p, at.q);
      s = reduce<F>(again);
      const double p = rounding_of_totals(r.p), q = rounding_of_totals(r.q);
      s.value = centred_value<F>(again, s, p > q ? p : q);
      row.zp = again.zp;
      row.zq = again.zq;
    }
  }
  return s;
}

template <class F, class A>
void write_terms(const Rows& r, const Cursor& at, const Pair<A>& row) {
  const Write<A> out = writer<A>(r.value.type);
  char* to = static_cast<char*>(const_cast<void*>(r.value.data)) + at.value * size_of(r.value.type);
  alignas(64) A terms[kBlock];
  row.template each_block<F::arity>([&](int64_t first, int64_t n, const Block<A>& a, const Block<A>& b) {
    for (int64_t i = 0; i < n; i += Pack<A>::width) store(terms + i, F::term(a.at(i), b.at(i)) * Pack<A>(r.scale));
    out(terms, to + first * r.value.class_stride * size_of(r.value.type), r.value.class_stride, n);
  });
}

template <class F, class A>
void forward(Rows& r, int64_t begin, int64_t end, double*) {
  Pair<A> row(r);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    int64_t label = 0;
    const Label kind = read_label(r, at.p, label);
    Sums s;
    row.zp = row.zq = 0;
    if (kind == Label::kNone || kind == Label::kCounts) {
      row.move_to(r, at.p, at.q);
      if (r.pointwise) write_terms<F>(r, at, row);
      else s = row_sums<F>(r, at, row, kind, label);
    }
    double* saved = r.saved + at.row;
    const double kept[] = {row.zp, s.d_lp, row.zq, s.d_lq};
    for (int i = 0; i < 2 * F::arity; ++i) saved[i * r.rows] = kept[i];
    if (r.pointwise) continue;
    if (r.row_values) r.row_values[at.row] = s.value;
    else store_number(r.value, at.value, s.value * r.scale);
  }
}

template <class F, class A, bool by_q>
void write_gradient(Rows& r, int64_t begin, int64_t end) {
  const Operand& x = by_q ? r.q : r.p;
  const Chain<A> chain = chain_of<F, A, by_q>(x.kind);
  const Write<A> out = writer<A>(r.gradient.type);
  const Read<A> read_g = reader<A>(kLogProbs, r.g.type);
  const int64_t size = size_of(r.gradient.type), g_size = size_of(r.g.type);
  alignas(64) A d[kBlock];
  Block<A> g;
  Pair<A> row(r);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    char* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) + at.gradient * size;
    int64_t label = 0;
    const Label kind = read_label(r, at.p, label);
    const double* saved = r.saved + at.row;
    const double total = saved[(by_q ? 3 : 1) * r.rows], scale = r.pointwise ? r.scale : r.scale * load_number(r.g, at.g);
    row.move_to(r, at.p, at.q);
    row.zp = saved[0];
    row.zq = F::arity == 2 ? saved[2 * r.rows] : 0;
    row.normalise();
    const bool zero = kind == Label::kIgnored || kind == Label::kBad, reads = row.target.dense || row.q.kind == kLogits;
    const auto write_block = [&](int64_t first, int64_t n) {
      out(d, to + first * r.gradient.class_stride * size, r.gradient.class_stride, n);
    };
    if (zero || !reads) {
      for (int64_t i = 0; i < kBlock; ++i) d[i] = 0;
      for (int64_t first = 0; first < r.classes; first += kBlock)
        write_block(first, r.classes - first < kBlock ? r.classes - first : kBlock);
    } else {
      row.template each_block<F::arity>([&](int64_t first, int64_t n, const Block<A>& a, const Block<A>& b) {
        chain(a, b, n, A(total), d);
        for (int64_t i = 0; i < n; i += Pack<A>::width) store(d + i, load<A>(d + i) * Pack<A>(scale));
        if (!by_q) row.target.chain(d, first, n);
        if (r.pointwise) {
          read_g(static_cast<const char*>(r.g.data) + (at.g + first * r.g.class_stride) * g_size, r.g.class_stride, n, 0, 0, g);
          for (int64_t i = 0; i < n; i += Pack<A>::width) store(d + i, load<A>(d + i) * load<A>(g.log + i));
        }
        write_block(first, n);
      });
    }
    if (by_q && kind == Label::kCounts) {
      const Prob<double> q = q_at(r, at.q, label, row.zq), peak = row.target.peak(label), ground = row.target.background(label);
      const Prob<double> full{peak.p + ground.p, 0};
      const double w = r.q.kind == kLogits ? gradient_by_q<F, kLogits>(full, q, total) : gradient_by_q<F, kLogProbs>(full, q, total);
      store_number(r.gradient, at.gradient + label * r.gradient.class_stride, scale * w);
    }
  }
}
template <class F, class A>
void backward(Rows& r, int64_t begin, int64_t end, double*) {
  if constexpr (F::arity == 2) {
    if (r.by_q) return write_gradient<F, A, true>(r, begin, end);
  }
  write_gradient<F, A, false>(r, begin, end);
}

template <class... F>
const RowKernels* row_kernels(List<F...>) {
  static constexpr RowKernels table[] = {{{forward<F, float>, forward<F, double>}, {backward<F, float>, backward<F, double>}}...};
  return table;
}

}  // namespace
}  // namespace torch_infotheory
