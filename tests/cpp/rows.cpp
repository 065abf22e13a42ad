// rows.cpp -- the row kernels of every formula, on every instruction set of this machine, against
// sums in long double: values, numbers kept for backward, gradients.
//
// Rows are laid out by hand in memory that ends at a page which may not be touched, with NaN in
// the gaps between strides. Results are compared in full: what a kernel did not write is NaN.
#include "check.h"
#include "core/formulas.h"

namespace torch_infotheory {
namespace {

// A class, and a quantity as a sum over classes: its term and its derivatives by p and log q.
struct Class {
  Real p, lp, q, lq;
  Real lm() const { return logl((p + q) / 2); }
};
Real sign(Real x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
struct Quantity {
  std::string name;
  int arity;
  Real (*term)(Class);
  Real (*by_p)(Class);
  Real (*by_lq)(Class);
  double parameter = 0;
  bool finite_at_zero = true;  // the value, where p is 0 and q is not
  // The derivative jumps where p = q, which coarse numbers far from 0 come close to.
  bool jumps = false;
  // Not 0: the value is this sign times the logarithm of the sum of terms divided by that of p.
  Real sign_of_log = 0;
};
const Quantity kQuantities[] = {
    {"entropy", 1,                                     //
     [](Class c) { return -times(c.p, c.lp); },        //
     [](Class c) { return -(c.lp + 1); },              //
     [](Class) { return Real(0); }},                   //
    {"cross_entropy", 2,                               //
     [](Class c) { return -times(c.p, c.lq); },        //
     [](Class c) { return -c.lq; },                    //
     [](Class c) { return -c.p; }},                    //
    {"kl_divergence", 2,                               //
     [](Class c) { return times(c.p, c.lp - c.lq); },  //
     [](Class c) { return c.lp - c.lq + 1; },          //
     [](Class c) { return -c.p; }},                    //
    {"js_divergence", 2,                               //
     [](Class c) { return (times(c.p, c.lp - c.lm()) + times(c.q, c.lq - c.lm())) / 2; },
     [](Class c) { return (c.lp - c.lm()) / 2; },  //
     [](Class c) { return times(c.q, c.lq - c.lm()) / 2; }, 0.5},
    {"alpha_divergence", 2,
     [](Class c) { return (c.p * sqrtl(c.p / c.q) - 1.5L * c.p + 0.5L * c.q) / 0.75L; },
     [](Class c) { return 2 * (sqrtl(c.p / c.q) - 1); },
     [](Class c) { return (c.q - c.p * sqrtl(c.p / c.q)) / 1.5L; }, 1.5},
    {"jeffreys_divergence", 2,  //
     [](Class c) { return (c.p - c.q) * (c.lp - c.lq); },
     [](Class c) { return c.lp - c.lq + 1 - c.q / c.p; },
     [](Class c) { return c.q * (c.lq - c.lp) + c.q - c.p; }, 0, false},
    {"total_variation_distance", 2,                                       //
     [](Class c) { return fabsl(c.p - c.q) / 2; },                        //
     [](Class c) { return sign(c.p - c.q) / 2; },                         //
     [](Class c) { return -c.q * sign(c.p - c.q) / 2; }, 0, true, true},  //
    {"bhattacharyya_coefficient", 2,                                      //
     [](Class c) { return sqrtl(c.p * c.q); },                            //
     [](Class c) { return sqrtl(c.q / c.p) / 2; },                        //
     [](Class c) { return sqrtl(c.p * c.q) / 2; }},                       //
    {"tsallis_entropy", 1,                                                //
     [](Class c) { return 2 * (c.p - c.p * sqrtl(c.p)); },                //
     [](Class c) { return 2 - 3 * sqrtl(c.p); },                          //
     [](Class) { return Real(0); }, 1.5},
    {"renyi_entropy", 1,                         //
     [](Class c) { return c.p * sqrtl(c.p); },   //
     [](Class c) { return 1.5L * sqrtl(c.p); },  //
     [](Class) { return Real(0); }, 1.5, true, false, -1},
    {"renyi_divergence", 2,                            //
     [](Class c) { return c.p * sqrtl(c.p / c.q); },   //
     [](Class c) { return 1.5L * sqrtl(c.p / c.q); },  //
     [](Class c) { return -c.p * sqrtl(c.p / c.q) / 2; }, 1.5, true, false, 1},
};

// An array whose rows and classes lie anywhere.
struct Grid {
  std::vector<int64_t> sizes, strides;  // of the rows
  int64_t classes, class_stride;
  Array numbers;

  Grid(Type type, std::vector<int64_t> row_sizes, std::vector<int64_t> row_strides, int64_t c,
       int64_t stride)
      : sizes(row_sizes),
        strides(row_strides),
        classes(c),
        class_stride(stride),
        numbers(type, extent()) {
    numbers.fill(type >= kUInt8 ? 0 : Real(NAN));
  }
  int64_t rows() const {
    int64_t n = 1;
    for (const int64_t size : sizes) n *= size;
    return n;
  }
  int64_t extent() const {
    int64_t last = (classes - 1) * class_stride;
    for (size_t d = 0; d < sizes.size(); ++d) last += (sizes[d] - 1) * strides[d];
    return last + 1;
  }
  int64_t place(int64_t row, int64_t c) const {
    int64_t at = c * class_stride;
    for (size_t d = sizes.size(); d-- > 0; row /= sizes[d]) at += row % sizes[d] * strides[d];
    return at;
  }
  std::vector<Real> row(int64_t row) const {
    std::vector<Real> x;
    for (int64_t c = 0; c < classes; ++c) x.push_back(numbers.get(place(row, c)));
    return x;
  }
  void set_row(int64_t row, const std::vector<Real>& x) {
    for (int64_t c = 0; c < classes; ++c) numbers.set(place(row, c), x[c]);
  }
  Operand operand(Kind kind = kProbs) const {
    return {numbers.data(), kind, numbers.type(), class_stride,
            sizes.empty() ? nullptr : strides.data()};
  }
};

// Where the rows of p, q, the value and the gradients lie.
struct Layout {
  const char* name;
  std::vector<int64_t> sizes, p, q, value, gradient;  // row strides
  int64_t class_stride, gradient_stride;
  int64_t rows() const {
    int64_t n = 1;
    for (const int64_t size : sizes) n *= size;
    return n;
  }
};
std::vector<Layout> layouts(int64_t rows, int64_t classes) {
  const int64_t n = rows, c = classes;
  return {
      // Up to 64 classes the lanes are rows; of more classes, they are classes.
      {"rows", {n}, {c}, {c}, {1}, {c}, 1, 1},
      // One row in its line: the lanes are classes, however few.
      {"single rows", {2, 1}, {c, c}, {c, c}, {2, 1}, {c, c}, 1, 1},
      {"no dimension of rows", {}, {}, {}, {}, {}, 1, 1},
      // Rows side by side: the lanes are rows, however many classes.
      {"columns", {n}, {1}, {1}, {1}, {1}, n, n},
      {"planes", {2, n}, {n * c, 1}, {n * c, 1}, {n, 1}, {n * c, 1}, n, n},
      // Nothing lies side by side.
      {"steps",
       {2, n},
       {n * (3 * c + 1), 3 * c + 1},
       {n * (3 * c + 1), 3 * c + 1},
       {3, 7},
       {c, 2 * c},
       3,
       1},
      {"q for many p", {2, n}, {n * c, c}, {0, c}, {n, 1}, {n * c, c}, 1, 1},
      {"q for one line", {2, n}, {n * c, c}, {c, 0}, {n, 1}, {n * c, c}, 1, 1},
  };
}

const char* name_of(Kind kind) {
  static const char* const names[] = {"probs", "log_probs", "logits", "labels", "weights"};
  return names[kind];
}
const char* name_of(Type type) {
  static const char* const names[] = {"float", "double", "bfloat16", "half"};
  return type < kUInt8 ? names[type] : "integers";
}

// One row as the reference sees it.
struct Expected {
  const Quantity& quantity;
  std::vector<Class> classes;
  Real value = 0, terms = 0, zp, zq, total_by_lp = 0, total_by_lq = 0, p_sum = 0, term_sum = 0;

  Expected(const Quantity& f, const Distribution& p, const Distribution& q)
      : quantity(f), zp(p.normalizer), zq(q.normalizer) {
    for (size_t c = 0; c < p.p.size(); ++c) {
      classes.push_back({p.p[c], p.log[c], q.p[c], q.log[c]});
      const Class& x = classes.back();
      value += f.term(x);
      terms += times(x.p, fabsl(x.lp) + fabsl(x.lq) + 1) + times(x.q, fabsl(x.lq) + 1);
      terms += fabsl(f.term(x));
      total_by_lp += times(x.p, by_p(x));
      total_by_lq += by_lq(x);
      p_sum += x.p;
    }
    term_sum = value;
    if (f.sign_of_log == 0) return;
    value = f.sign_of_log * logl(term_sum / p_sum);
    total_by_lp = total_by_lq = 0;
    for (const Class& x : classes) total_by_lp += times(x.p, by_p(x)), total_by_lq += by_lq(x);
  }
  Real by_p(const Class& x) const {
    const Real d = quantity.by_p(x), sign = quantity.sign_of_log;
    return sign == 0 ? d : sign * (d / term_sum - 1 / p_sum);
  }
  Real by_lq(const Class& x) const {
    const Real d = quantity.by_lq(x), sign = quantity.sign_of_log;
    return sign == 0 ? d : sign * d / term_sum;
  }
  Real saved_total(int operand) const {
    return quantity.sign_of_log != 0 ? logl(term_sum) : operand ? total_by_lq : total_by_lp;
  }
  // The derivative by what lies in memory, and the size of the terms that make it up.
  std::pair<Real, Real> gradient(size_t c, bool by_q, Kind kind) const {
    const Class& x = classes[c];
    const auto finite = [](Real v) { return isfinite(v) ? v : 0; };
    const Real logs = 1 + fabsl(finite(x.lp)) + fabsl(finite(x.lq));
    const Real total = by_q ? total_by_lq : total_by_lp, own = by_q ? x.q : x.p;
    const Real w = by_q ? by_lq(x) : times(x.p, by_p(x));
    const Real size = (x.p + x.q + fabsl(w)) * logs + own * (fabsl(total) + terms);
    if (kind == kLogits) return {w - own * total, size};
    if (kind == kLogProbs) return {w, size};
    if (by_q)
      return own == 0 ? std::pair<Real, Real>{0, 0} : std::pair<Real, Real>{w / own, size / own};
    return {finite(by_p(x)), logs * (1 + fabsl(finite(by_p(x))))};
  }
};

struct Call {
  Checks& check;
  std::string what;
  const Kernels& kernels;
  Rows rows;
  std::vector<double> saved;
  bool in_double;

  // In two parts, as two threads would take them.
  void run(Kernel kernel) {
    const int64_t middle = rows.rows / 2 / rows.rows_per_sum * rows.rows_per_sum;
    kernel(rows, 0, middle, nullptr);
    kernel(rows, middle, rows.rows, nullptr);
    check.that(x87_is_free(), [&] { return what + ": the kernel leaves an MMX register in use"; });
  }
  void near(const char* part, int64_t row, int64_t c, Real got, Real expected, Real bound) {
    check.that(got == expected || fabsl(got - expected) <= bound, [&] {
      return what +
             text(": %s of row %d, class %d: got %.12Lg, expected %.12Lg, error %.2Lg > %.2Lg",
                  part, int(row), int(c), got, expected, fabsl(got - expected), bound);
    });
  }
};

// What a sum may be off by, relative to its terms: some units of the type computed with, however
// far from 0 the logits lie.
Real error_of(bool in_double) { return 16 * (in_double ? 0x1p-53L : 0x1p-24L); }

// The log-normalizer of an operand, as forward has saved it in two parts.
Real saved_z(const Rows& r, int operand, int64_t row) {
  return Real(r.saved_at(operand, kHigh, row)) + r.saved_at(operand, kLogSum, row);
}

// Logits of a row: some lie far from 0, where a float normalizer is coarse; some have a class
// without probability.
std::vector<Real> random_logits(std::mt19937_64& random, int64_t classes, int64_t row,
                                bool has_zero) {
  std::vector<Real> x(classes);
  for (Real& v : x) v = 1.5L * normal(random) - (row % 4 == 2 ? 1000 : 0);
  if (has_zero && classes > 2) x[random() % classes] = -INFINITY;
  return x;
}

void test_layout(Checks& check, const Quantity& f, int index, const Layout& layout, int64_t classes,
                 Kind p_kind, Type p_type, Kind q_kind, Type q_type,
                 const std::vector<InstructionSet>& sets) {
  if (leaves_out_this_case()) return;
  std::mt19937_64 random(classes + 7 * p_kind + 11 * q_kind);
  Grid p(p_type, layout.sizes, layout.p, classes, layout.class_stride);
  Grid q(q_type, layout.sizes, layout.q, classes, layout.class_stride);
  const int64_t n = layout.rows();
  for (int64_t row = 0; row < n; ++row) {
    const int64_t offset_of = f.jumps ? 0 : row;
    const bool has_zero = f.finite_at_zero && row % 3 == 1;
    p.set_row(row, stated(p_kind, random_logits(random, classes, offset_of, has_zero), 0.75L));
    q.set_row(row, stated(q_kind, random_logits(random, classes, offset_of, false), 0.5L));
  }
  std::vector<Expected> expected;
  for (int64_t row = 0; row < n; ++row) {
    const Distribution of_p(p_kind, p.row(row));
    expected.emplace_back(f, of_p, f.arity == 2 ? Distribution(q_kind, q.row(row)) : of_p);
  }
  const bool in_double = p_type == kDouble || (f.arity == 2 && q_type == kDouble);
  const Real scale = 1 / logl(2);

  for (const InstructionSet& set : sets) {
    Grid value(p_type, layout.sizes, layout.value, 1, 1);
    Call call{
        check,
        text("%s, %s, %s, %s %s, %s %s, %d classes", set.name, f.name.c_str(), layout.name,
             name_of(p_kind), name_of(p_type), name_of(q_kind), name_of(q_type), int(classes)),
        set.kernels.rows[index],
        {},
        std::vector<double>(2 * kSavedNumbers * n, NAN),
        in_double};
    Rows& r = call.rows;
    r.classes = classes;
    r.rows = n;
    r.rank = int(layout.sizes.size());
    r.sizes = layout.sizes.data();
    r.p = p.operand(p_kind);
    if (f.arity == 2) r.q = q.operand(q_kind);
    r.saved = call.saved.data();
    r.parameter = f.parameter;
    r.scale = double(scale);
    r.value = value.operand();
    call.run(call.kernels.forward[in_double]);
    for (int64_t row = 0; row < n; ++row) {
      const Expected& e = expected[row];
      const Real to = e.value * scale,
                 bound = error_of(in_double) * std::max(e.terms, Real(1)) * scale;
      call.near("value", row, 0, value.numbers.get(value.place(row, 0)), to,
                bound + 1.01L * rounding_of(p_type) * fabsl(to) + least_of(p_type));
      // A logarithm of a sum saves the total where nothing is normalized.
      const bool saves_p_sum = f.sign_of_log != 0 && p_kind != kLogits;
      const Real z[] = {saves_p_sum ? logl(e.p_sum) : e.zp, e.zq};
      for (int i = 0; i < f.arity; ++i) {
        const Real error = error_of(in_double) * (1 + e.terms);
        call.near("saved z", row, i, saved_z(r, i, row), z[i], error);
        call.near("saved total", row, i, r.saved_at(i, kTotal, row), e.saved_total(i), error);
      }
    }

    // Unrounded and without the factor, for a reduction over the rows: each, or sums of several.
    for (const int64_t in_sum : {1, 4}) {
      std::vector<double> row_values(n, NAN);
      r.row_values = row_values.data();
      r.rows_per_sum = in_sum;
      call.run(call.kernels.forward[in_double]);
      r.row_values = nullptr;
      r.rows_per_sum = 1;
      for (int64_t first = 0; first < n; first += in_sum) {
        Real sum = 0, bound = 0;
        for (int64_t row = first; row < std::min(first + in_sum, n); ++row) {
          sum += expected[row].value;
          bound += error_of(in_double) * std::max(expected[row].terms, Real(1));
        }
        call.near("sum of row values", first, 0, row_values[first / in_sum], sum, bound);
      }
    }

    Grid g(kFloat, layout.sizes, layout.value, 1, 1);
    std::vector<Real> of_row;
    for (int64_t row = 0; row < n; ++row)
      of_row.push_back(g.numbers.set(g.place(row, 0), Real(row % 5) - 1.25L));
    r.g = g.operand();
    for (const Wrt wrt : {kWrtP, kWrtQ, kWrtBoth}) {
      if (wrt != kWrtP && (f.arity == 1 || (wrt == kWrtBoth && p_kind != q_kind))) continue;
      Grid gradients[] = {{p_type, layout.sizes, layout.gradient, classes, layout.gradient_stride},
                          {q_type, layout.sizes, layout.gradient, classes, layout.gradient_stride}};
      r.wrt = wrt;
      for (int by_q = 0; by_q < 2; ++by_q) r.gradients[by_q] = gradients[by_q].operand();
      call.run(call.kernels.backward[in_double]);
      for (int by_q = wrt == kWrtQ; by_q < (wrt == kWrtP ? 1 : 2); ++by_q) {
        const Type type = by_q ? q_type : p_type;
        const Kind kind = by_q ? q_kind : p_kind;
        const Grid& gradient = gradients[by_q];
        for (int64_t row = 0; row < n; ++row)
          for (int64_t c = 0; c < classes; ++c) {
            auto [d, size] = expected[row].gradient(c, by_q, kind);
            d *= of_row[row] * scale;
            size *= fabsl(of_row[row] * scale);
            call.near(
                by_q ? "gradient by q" : "gradient by p", row, c,
                gradient.numbers.get(gradient.place(row, c)), within_range_of(type, d),
                error_of(in_double) * size + 1.01L * rounding_of(type) * fabsl(d) + least_of(type));
          }
      }
    }
  }
}

constexpr Kind kKinds[] = {kProbs, kLogProbs, kLogits};

void test_formula(Checks& check, const Quantity& f, int index,
                  const std::vector<InstructionSet>& sets) {
  const Type types[] = {kFloat, kDouble, kBFloat16, kHalf};
  int turn = 0;
  for (const int64_t classes : {1, 3, 15, 16, 17, 64, 65, 511, 512, 513, 1025})
    for (const Layout& layout :
         layouts(classes < 100 ? 17 + classes % 2 : 1 + classes % 2, classes))
      for (const Kind p_kind : kKinds)
        for (const Kind q_kind : kKinds) {
          if (f.arity == 1 && q_kind != p_kind) continue;
          ++turn;
          // Every type in its turn, and two types together where the kinds are two.
          const Type p_type = types[turn % 4], q_type = types[(turn + (p_kind != q_kind)) % 4];
          test_layout(check, f, index, layout, classes, p_kind, p_type, q_kind, q_type, sets);
          if (p_kind == q_kind && classes < 100)
            for (const Type type : types)
              if (type != p_type)
                test_layout(check, f, index, layout, classes, p_kind, type, q_kind, type, sets);
        }
}

// Divergences of distributions so close that their terms cancel: three correct digits, never below
// 0.
void test_nearly_equal(Checks& check, const Quantity& f, int index,
                       const std::vector<InstructionSet>& sets) {
  std::mt19937_64 random(5);
  for (const int64_t classes : {3, 17, 65, 513})
    for (const Real step : {1e-2L, 1e-4L, 0.L}) {
      const int64_t n = 19;
      Grid p(kFloat, {n}, {classes}, classes, 1), q(kFloat, {n}, {classes}, classes, 1);
      for (int64_t row = 0; row < n; ++row) {
        const auto x = random_logits(random, classes, 0, false);
        for (int64_t c = 0; c < classes; ++c) {
          p.numbers.set(p.place(row, c), x[c]);
          q.numbers.set(q.place(row, c), x[c] + step * normal(random));
        }
      }
      for (const InstructionSet& set : sets) {
        std::vector<double> saved(2 * kSavedNumbers * n), values(n, NAN);
        Rows r;
        r.classes = classes;
        r.rows = n;
        r.rank = 1;
        r.sizes = p.sizes.data();
        r.p = p.operand(kLogits);
        r.q = q.operand(kLogits);
        r.saved = saved.data();
        r.parameter = f.parameter;
        r.row_values = values.data();
        set.kernels.rows[index].forward[0](r, 0, n, nullptr);
        for (int64_t row = 0; row < n; ++row) {
          const Real exact = Expected(f, {kLogits, p.row(row)}, {kLogits, q.row(row)}).value;
          check.that(values[row] >= 0 && fabsl(values[row] - exact) <= 1e-3L * exact + 1e-17L, [&] {
            return text("%s, %s nearly 0, %d classes: got %.6g, expected %.6Lg", set.name,
                        f.name.c_str(), int(classes), values[row], exact);
          });
        }
      }
    }
}

// A target of a loss: labels or weights, with class weights, smoothing and labels to leave out.
struct TargetOptions {
  bool weighted;
  double smoothing;
  int64_t ignore_index;
};

void test_target(Checks& check, int index, Kind p_kind, Type p_type, Kind q_kind, Type q_type,
                 const Layout& layout, int64_t classes, TargetOptions o,
                 const std::vector<InstructionSet>& sets) {
  if (leaves_out_this_case()) return;
  const Quantity& f = kQuantities[1];
  const bool labels = p_kind == kLabels;
  std::mt19937_64 random(classes);
  const int64_t n = layout.rows();
  const bool in_double = q_type == kDouble;
  Grid p(p_type, layout.sizes, labels ? layout.value : layout.p, labels ? 1 : classes,
         labels ? 0 : layout.class_stride);
  Grid q(q_type, layout.sizes, layout.q, classes, layout.class_stride);
  Array weight(in_double ? kDouble : kFloat, classes);
  for (int64_t c = 0; c < classes; ++c) weight.set(c, c % 4 == 3 ? 0 : 0.5L + uniform(random));
  const auto weight_of = [&](int64_t c) { return o.weighted ? weight.get(c) : Real(1); };

  // A label that is out of range comes last, in the row that ends at the guarded page.
  std::vector<bool> counts(n, true);
  const int64_t bad = !labels ? 0 : o.weighted && p_type != kUInt8 ? -1 : classes;
  for (int64_t row = 0; row < n; ++row) {
    q.set_row(row, stated(q_kind, random_logits(random, classes, row, false), 0.5L));
    if (labels) {
      const int64_t label = row == n - 1 ? bad : int64_t(random() % classes);
      p.numbers.set(p.place(row, 0), label);
      counts[row] = label != o.ignore_index && label != bad;
    } else {
      std::vector<Real> x(classes);
      for (Real& v : x) v = normal(random);  // negative ones too: they are taken literally
      p.set_row(row, x);
    }
  }

  std::vector<Expected> expected;
  for (int64_t row = 0; row < n; ++row) {
    Distribution t(kProbs, std::vector<Real>(classes, 0));
    if (labels && counts[row]) t.p[int64_t(p.numbers.get(p.place(row, 0)))] = 1;
    if (!labels) t.p = p.row(row);
    for (int64_t c = 0; c < classes; ++c) {
      t.p[c] = counts[row]
                   ? weight_of(c) * ((1 - o.smoothing) * t.p[c] + o.smoothing / Real(classes))
                   : 0;
      t.log[c] = 0;  // no formula of a target reads it
    }
    expected.emplace_back(f, t, Distribution(q_kind, q.row(row)));
    Real& terms = expected.back().terms;
    terms = 1;
    for (const Class& x : expected.back().classes) terms += fabsl(x.p) * (1 + fabsl(x.lq)) + x.q;
  }

  for (const InstructionSet& set : sets) {
    Grid value(kDouble, layout.sizes, layout.value, 1, 1);
    Call call{check,
              text("%s, %s %s, %s %s, %s, %d classes, weights %d, smoothing %g, ignore %d",
                   set.name, name_of(p_kind), name_of(p_type), name_of(q_kind), name_of(q_type),
                   layout.name, int(classes), o.weighted, o.smoothing, int(o.ignore_index)),
              set.kernels.rows[index],
              {},
              std::vector<double>(2 * kSavedNumbers * n, NAN),
              in_double};
    Rows& r = call.rows;
    r.classes = classes;
    r.rows = n;
    r.rank = int(layout.sizes.size());
    r.sizes = layout.sizes.data();
    r.p = p.operand(p_kind);
    r.q = q.operand(q_kind);
    r.weight = o.weighted ? weight.data() : nullptr;
    r.label_smoothing = o.smoothing;
    r.ignore_index = o.ignore_index;
    r.saved = call.saved.data();
    r.value = value.operand();
    call.run(call.kernels.forward[in_double]);
    check.that(r.has_bad_label == labels && (!labels || r.bad_label == bad),
               [&] { return call.what + text(": bad label %d", int(r.bad_label)); });
    for (int64_t row = 0; row < n; ++row) {
      const Expected& e = expected[row];
      call.near("value", row, 0, value.numbers.get(value.place(row, 0)), e.value,
                error_of(in_double) * e.terms);
      if (!counts[row] || q_kind != kLogits) continue;  // backward needs them for logits alone
      call.near("saved z", row, 1, saved_z(r, 1, row), e.zq, error_of(in_double) * (1 + e.terms));
      call.near("saved total", row, 1, r.saved_at(1, kTotal, row), e.total_by_lq,
                error_of(in_double) * e.terms);
    }

    Grid g(kDouble, layout.sizes, layout.value, 1, 1);
    g.numbers.fill(-1.25);
    r.g = g.operand();
    for (int by_q = labels; by_q < 2; ++by_q) {
      const Type type = by_q ? q_type : p_type;
      Grid gradient(type, layout.sizes, layout.gradient, classes, layout.gradient_stride);
      r.wrt = Wrt(by_q);
      r.gradients[by_q] = gradient.operand();
      call.run(call.kernels.backward[in_double]);
      for (int64_t row = 0; row < n; ++row)
        for (int64_t c = 0; c < classes; ++c) {
          const Expected& e = expected[row];
          auto [d, size] =
              by_q ? e.gradient(c, true, q_kind)
                   : std::pair<Real, Real>{-weight_of(c) * (1 - o.smoothing) * e.classes[c].lq,
                                           weight_of(c) * (1 + fabsl(e.classes[c].lq))};
          if (!counts[row]) d = 0;
          if (by_q)
            size = fabsl(e.classes[c].p) + (q_kind == kLogits ? e.classes[c].q * e.terms : 0);
          call.near(by_q ? "gradient by q" : "gradient by the target", row, c,
                    gradient.numbers.get(gradient.place(row, c)), -1.25L * d,
                    2 * error_of(in_double) * size + 1.3L * rounding_of(type) * fabsl(d) +
                        least_of(type));
        }
    }
  }
}

void test_targets(Checks& check, int index, const std::vector<InstructionSet>& sets) {
  const TargetOptions all[] = {{false, 0, -100}, {true, 0, 2},     {false, 0, 2},
                               {true, 0, -100},  {false, 0.25, 2}, {true, 0.25, -100}};
  const Type integers[] = {kUInt8, kInt8, kInt16, kInt32, kInt64};
  const Type floats[] = {kFloat, kDouble, kBFloat16};
  int turn = 0;
  for (const int64_t classes : {1, 3, 15, 16, 17, 64, 65, 513})
    for (const Layout& layout : layouts(classes < 100 ? 19 : 2, classes))
      for (const TargetOptions& o : all) {
        const Kind q_kind = turn % 2 ? kLogits : kLogProbs;
        const Type small = integers[turn % 5], q_type = floats[turn++ % 3];
        const Type labels = classes > 100 && small <= kInt8 ? kInt64 : small;
        test_target(check, index, kLabels, labels, q_kind, q_type, layout, classes, o, sets);
        if (o.ignore_index < 0)
          test_target(check, index, kWeights, q_type, q_kind, q_type, layout, classes, o, sets);
      }
}

// Classes that are elements of their own, a value and a cotangent for each.
void test_elements(Checks& check, const Quantity& f, int index,
                   const std::vector<InstructionSet>& sets) {
  std::mt19937_64 random(9);
  for (const int64_t n : {1, 17, 513})
    for (const int64_t stride : {1, 2})
      for (const Type type : {kFloat, kDouble, kBFloat16})
        for (const Kind p_kind : {kProbs, kLogProbs}) {
          Grid p(type, {}, {}, n, stride), q(type, {}, {}, n, stride), g(type, {}, {}, n, stride);
          p.set_row(0, stated(p_kind, random_logits(random, n, 0, true), 3));
          q.set_row(0, stated(kLogProbs, random_logits(random, n, 0, false), 2));
          for (int64_t c = 0; c < n; ++c) g.numbers.set(c * stride, normal(random));
          const Expected e(f, {p_kind, p.row(0)}, {kLogProbs, q.row(0)});
          const bool in_double = type == kDouble;
          for (const InstructionSet& set : sets) {
            Grid value(type, {}, {}, n, stride), gradient(type, {}, {}, n, stride);
            Call call{check,
                      text("%s, elements of %s, %s %s, %d of them", set.name, f.name.c_str(),
                           name_of(p_kind), name_of(type), int(n)),
                      set.kernels.rows[index],
                      {},
                      std::vector<double>(2 * kSavedNumbers, NAN),
                      in_double};
            Rows& r = call.rows;
            r.classes = n;
            r.rows = 1;
            r.elementwise = true;
            r.p = p.operand(p_kind);
            r.q = q.operand(kLogProbs);
            r.saved = call.saved.data();
            r.parameter = f.parameter;
            r.value = value.operand();
            call.kernels.forward[in_double](r, 0, 1, nullptr);
            r.g = g.operand();
            r.g_per_class = true;
            for (int64_t c = 0; c < n; ++c) {
              const Real term = f.term(e.classes[c]), size = e.gradient(c, true, kLogProbs).second;
              call.near("term", 0, c, value.numbers.get(c * stride), term,
                        error_of(in_double) * size + 1.01L * rounding_of(type) * fabsl(term) +
                            least_of(type));
            }
            for (int by_q = 0; by_q < 2; ++by_q) {
              const Kind kind = by_q ? kLogProbs : p_kind;
              r.wrt = Wrt(by_q);
              r.gradients[by_q] = gradient.operand();
              gradient.numbers.fill(NAN);
              call.kernels.backward[in_double](r, 0, 1, nullptr);
              for (int64_t c = 0; c < n; ++c) {
                auto [d, size] = e.gradient(c, by_q, kind);
                d *= g.numbers.get(c * stride);
                call.near("gradient", by_q, c, gradient.numbers.get(c * stride), d,
                          error_of(in_double) * size * 4 + 1.01L * rounding_of(type) * fabsl(d) +
                              least_of(type));
              }
            }
            double sum = NAN;
            r.row_values = &sum;
            call.kernels.forward[in_double](r, 0, 1, nullptr);
            call.near("sum", 0, 0, sum, e.value, error_of(in_double) * std::max(e.terms, Real(1)));
          }
        }
}

}  // namespace
}  // namespace torch_infotheory

int main() {
  using namespace torch_infotheory;
  const auto sets = instruction_sets();
  Checks check;
  size_t found = 0;
  each(RowFormulas{}, [&](auto formula) {
    using F = typename decltype(formula)::type;
    constexpr int index = index_of<F>(RowFormulas{});
    for (const Quantity& f : kQuantities) {
      if (f.name != F::name) continue;
      ++found;
      test_formula(check, f, index, sets);
      if (f.name == "cross_entropy") test_targets(check, index, sets);
      if (f.name == "kl_divergence") test_elements(check, f, index, sets);
      if (F::divergence) test_nearly_equal(check, f, index, sets);
    }
  });
  check.that(found == std::size(kQuantities),
             [] { return "a quantity of this file has no kernel"; });
  return check.report("rows");
}
