// tables.cpp -- the kernels of joint tables, on every instruction set of this machine, against sums
// in long double: values, numbers kept for backward, gradients.
//
// Tables and the kernels' scratch end at a page which may not be touched; gaps between strides hold
// NaN.
#include "check.h"
#include "core/formulas.h"

namespace torch_infotheory {
namespace {

// Each quantity by its definition: a sum over cells of p times a score in the three logarithms.
struct Quantity {
  std::string name;
  Real (*score)(Real lxy, Real lx, Real ly);
};
const Quantity kQuantities[] = {
    {"joint_entropy", [](Real lxy, Real, Real) { return -lxy; }},
    {"conditional_entropy", [](Real lxy, Real lx, Real) { return lx - lxy; }},
    {"mutual_information", [](Real lxy, Real lx, Real ly) { return lxy - lx - ly; }},
    {"variation_of_information", [](Real lxy, Real lx, Real ly) { return lx + ly - 2 * lxy; }},
};

// Of one table: the value and the derivative by each probability. A marginal moves with its cells,
// so that the derivative by p(x, y) is the score there and what E[d score] gains by all three.
struct Expected {
  Distribution cells;
  Real value = 0, terms = 1, total = 0, total_by_log = 0;
  std::vector<Real> slope;

  Expected(const Quantity& f, Kind kind, const std::vector<Real>& x, int64_t nx, int64_t ny)
      : cells(kind, x), slope(x.size()) {
    std::vector<Real> px(nx), py(ny);
    for (int64_t i = 0; i < nx * ny; ++i) {
      px[i / ny] += cells.p[i];
      py[i % ny] += cells.p[i];
      total += cells.p[i];
    }
    const Real unit = f.score(1, 0, 0) + f.score(0, 1, 0) + f.score(0, 0, 1);
    for (int64_t i = 0; i < nx * ny; ++i) {
      if (cells.p[i] == 0) continue;  // its derivative is 0 by convention
      const Real lx = logl(px[i / ny]), ly = logl(py[i % ny]),
                 score = f.score(cells.log[i], lx, ly);
      value += cells.p[i] * score;
      slope[i] = score + unit;
      terms += cells.p[i] * (fabsl(cells.log[i]) + fabsl(lx) + fabsl(ly));
      total_by_log += cells.p[i] * slope[i];
    }
  }
  Real gradient(int64_t i, Kind kind) const {
    const Real p = cells.p[i];
    return kind == kProbs ? slope[i] : p * (slope[i] - (kind == kLogits ? total_by_log : 0));
  }
};

struct Shape {
  int64_t nx, ny;
};

void test_tables(Checks& check, const Quantity& f, int index, Kind kind, Type type, Shape shape,
                 bool stepped, Real closeness, const std::vector<InstructionSet>& sets) {
  if (leaves_out_this_case()) return;
  // Not as [nx, ny], which clang before 16 does not let a lambda use.
  const int64_t nx = shape.nx, ny = shape.ny;
  const int64_t n = 3, cells = nx * ny, y_stride = stepped ? 2 : 1,
                x_stride = ny * y_stride + stepped;
  const int64_t sizes[] = {n}, strides[] = {nx * x_stride + stepped}, dense[] = {cells},
                ones[] = {1};
  std::mt19937_64 random(cells + kind);

  Array joint(type, (n - 1) * strides[0] + (nx - 1) * x_stride + (ny - 1) * y_stride + 1);
  joint.fill(NAN);
  std::vector<Expected> expected;
  for (int64_t table = 0; table < n; ++table) {
    std::vector<Real> logits(cells), of_x(nx), of_y(ny);
    for (Real& v : of_x) v = normal(random);
    for (Real& v : of_y) v = normal(random);
    for (int64_t i = 0; i < cells; ++i)
      logits[i] = of_x[i / ny] + of_y[i % ny] + closeness * normal(random);
    if (closeness == 1 && cells > 2) logits[cells / 2] = -INFINITY;
    logits = stated(kind, logits, closeness == 1 ? 0.75L : 1);
    for (int64_t i = 0; i < cells; ++i)
      logits[i] = joint.set(table * strides[0] + i / ny * x_stride + i % ny * y_stride, logits[i]);
    expected.emplace_back(f, kind, logits, nx, ny);
  }

  for (const InstructionSet& set : sets) {
    const auto near = [&](const char* part, int64_t table, int64_t i, Real got, Real to,
                          Real bound) {
      check.that(fabsl(got - to) <= bound, [&] {
        return text(
            "%s, %s, kind %d, type %d, %d x %d%s: %s of table %d, cell %d: got %.15Lg, "
            "expected %.15Lg, error %.2Lg > %.2Lg",
            set.name, f.name.c_str(), int(kind), int(type), int(nx), int(ny),
            stepped ? " in steps" : "", part, int(table), int(i), got, to, fabsl(got - to), bound);
      });
    };
    Array value(kDouble, n), g(kFloat, n), gradient(type, n * cells);
    Rows r;
    r.classes = ny;
    r.x_classes = nx;
    Array scratch(kDouble, scratch_of(r));
    const auto run = [&](Rows& r, Kernel kernel) {
      for (int64_t table = 0; table < n; ++table) {
        scratch.fill(NAN);
        kernel(r, table, table + 1, static_cast<double*>(scratch.data()));
        check.that(x87_is_free(), [] { return "the kernel leaves an MMX register in use"; });
      }
    };
    const Kernels& kernels = set.kernels.tables[index];
    std::vector<double> saved(kSavedNumbers * n, NAN), row_values(n, NAN);
    const double scale = 1 / log(2.);
    r.p_x_stride = x_stride;
    r.rows = n;
    r.rank = 1;
    r.sizes = sizes;
    r.p = {joint.data(), kind, type, y_stride, strides};
    r.scale = scale;
    r.saved = saved.data();
    value.fill(NAN);
    r.value = {value.data(), kProbs, kDouble, 0, ones};
    run(r, kernels.forward[type == kDouble]);
    r.row_values = row_values.data();
    run(r, kernels.forward[type == kDouble]);
    r.row_values = nullptr;

    const Real unit = 64 * (type == kDouble ? 0x1p-53L : 0x1p-24L);
    for (int64_t table = 0; table < n; ++table) {
      const Expected& e = expected[table];
      // A mutual information near 0 keeps its digits where the table is normalized.
      const bool small = f.name == "mutual_information" && closeness < 1 && kind == kLogits;
      const Real bound = small ? 1e-9L * e.value + 1e-16L : unit * e.terms;
      near("value", table, 0, value.get(table), e.value * scale, bound * scale);
      near("row value", table, 0, row_values[table], e.value, bound);
      if (small) check.that(row_values[table] >= 0, [&] { return "mutual information below 0"; });
      if (kind == kLogits)
        near("saved z", table, 0, Real(r.saved_at(0, kHigh, table)) + r.saved_at(0, kLogSum, table),
             e.cells.normalizer, unit * (1 + e.terms));
      near("saved total", table, 0, r.saved_at(0, kTotal, table), e.total_by_log,
           unit * 4 * e.terms);
    }

    gradient.fill(NAN);
    for (int64_t table = 0; table < n; ++table) g.set(table, table - 1.5L);
    r.g = {g.data(), kProbs, kFloat, 0, ones};
    r.gradients[kWrtP] = {gradient.data(), kProbs, type, 1, dense};
    run(r, kernels.backward[type == kDouble]);
    for (int64_t table = 0; table < n; ++table)
      for (int64_t i = 0; i < cells; ++i) {
        const Expected& e = expected[table];
        const Real by = scale * g.get(table), d = by * e.gradient(i, kind);
        const Real size = kind == kProbs ? 4 + fabsl(e.slope[i]) + e.terms
                                         : e.cells.p[i] * (4 + fabsl(e.slope[i]) + 4 * e.terms);
        near("gradient", table, i, gradient.get(table * cells + i), d,
             unit * fabsl(by) * size + 1.01L * rounding_of(type) * fabsl(d) + least_of(type));
      }
  }
}

}  // namespace
}  // namespace torch_infotheory

int main() {
  using namespace torch_infotheory;
  const auto sets = instruction_sets();
  const Shape shapes[] = {{1, 1},  {3, 1},   {1, 3},   {2, 3},   {15, 16}, {17, 64},
                          {65, 5}, {2, 511}, {2, 512}, {513, 2}, {1, 1025}};
  Checks check;
  size_t found = 0;
  each(TableFormulas{}, [&](auto formula) {
    using F = typename decltype(formula)::type;
    for (const Quantity& f : kQuantities) {
      if (f.name != F::name) continue;
      ++found;
      for (const Kind kind : {kProbs, kLogProbs, kLogits})
        for (const Type type : {kFloat, kDouble, kBFloat16, kHalf})
          for (const Shape shape : shapes)
            for (const bool stepped : {false, true})
              for (const Real closeness : {1.L, 1e-2L, 1e-4L})
                if (closeness == 1 || (kind == kLogits && type <= kDouble))
                  test_tables(check, f, index_of<F>(TableFormulas{}), kind, type, shape, stepped,
                              closeness, sets);
    }
  });
  check.that(found == std::size(kQuantities),
             [] { return "a quantity of this file has no kernel"; });
  return check.report("tables");
}
