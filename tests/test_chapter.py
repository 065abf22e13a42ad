"""Runs docs/chapter.md: its Python blocks in order, each shown output compared.

The values of densities are integrated and sampled here as well, with neither torch nor the package.
"""

import doctest
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

PAGE = Path(__file__).parent.parent / "docs" / "chapter.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?")


class SameNumbers(doctest.OutputChecker):
    """Texts are equal but for the last digits of a float32 that is shown in full.

    Those depend on the processor's instruction set; the page shows most numbers with four decimals,
    far coarser than the tolerance.
    """

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        wanted, shown = ([float(n) for n in NUMBER.findall(text)] for text in (want, got))
        return NUMBER.sub("#", want) == NUMBER.sub("#", got) and shown == pytest.approx(
            wanted, rel=1e-6, abs=0
        )


def blocks() -> list[tuple[str, int]]:
    """Return the source of every Python block of the page and the line it starts on."""
    page = PAGE.read_text(encoding="utf-8")
    return [(m[1], page.count("\n", 0, m.start(1))) for m in BLOCK.finditer(page)]


def test_every_block_shows_what_it_prints() -> None:
    runner = doctest.DocTestRunner(checker=SameNumbers(), verbose=False)
    report: list[str] = []
    namespace: dict[str, object] = {}
    for source, line in blocks():
        test = doctest.DocTestParser().get_doctest(source, namespace, PAGE.name, str(PAGE), line)
        runner.run(test, out=report.append, clear_globs=False)
        namespace = test.globs
    assert not runner.failures, "".join(report)
    assert runner.tries == sum(source.count(">>> ") for source, _ in blocks())


def test_every_fence_is_run() -> None:
    fences = PAGE.read_text(encoding="utf-8").count("```")
    assert fences == 2 * len(blocks())
    assert all(">>> " in source for source, _ in blocks())


def test_numbers_of_the_table_are_shown_by_the_blocks() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line.split("|")[2:4] for line in page.splitlines() if line.startswith("| ")]
    numbers = {n for row in rows for cell in row for n in NUMBER.findall(cell)}
    shown = set(NUMBER.findall("".join(source for source, _ in blocks())))
    assert len(numbers) > 10
    assert numbers <= shown


def normal(mean: float, deviation: float) -> scipy.stats.rv_continuous:
    return scipy.stats.norm(mean, deviation)


RHO = 0.6
PAIR = scipy.stats.multivariate_normal([0, 0], [[1, RHO], [RHO, 1]])
STANDARD = normal(0, 1)


def of_y_given_x(points: np.ndarray) -> np.ndarray:
    return STANDARD.logpdf((points[..., 1] - RHO * points[..., 0]) / 0.8) - math.log(0.8)


def information(points: np.ndarray) -> np.ndarray:
    return PAIR.logpdf(points) - STANDARD.logpdf(points).sum(-1)


Score = Callable[[np.ndarray], np.ndarray]


def surprise(f: scipy.stats.rv_continuous) -> Score:
    return lambda x: -f.logpdf(x)


def log_ratio(p: scipy.stats.rv_continuous, q: scipy.stats.rv_continuous) -> Score:
    return lambda x: p.logpdf(x) - q.logpdf(x)


BIT, NAT = math.log(2), 1.0
BETAS = {numbers: scipy.stats.beta(*numbers) for numbers in [(1, 2), (2, 2), (5, 2)]}
WIDE = scipy.stats.uniform(0, math.sqrt(12))
# What the page shows: the mean of a score over a density, in a unit.
MEANS = [
    ("2.0471", STANDARD, surprise(STANDARD), BIT),
    ("3.0471", normal(0, 2), surprise(normal(0, 2)), BIT),
    ("-0.9529", normal(0, 1 / 8), surprise(normal(0, 1 / 8)), BIT),
    ("-0.2787", BETAS[1, 2], surprise(BETAS[1, 2]), BIT),
    ("-0.1805", BETAS[2, 2], surprise(BETAS[2, 2]), BIT),
    ("-0.6990", BETAS[5, 2], surprise(BETAS[5, 2]), BIT),
    ("1.7925", WIDE, surprise(WIDE), BIT),
    ("3.7723", PAIR, surprise(PAIR), BIT),
    ("1.7252", PAIR, lambda points: -of_y_given_x(points), BIT),
    ("0.3219", PAIR, information, BIT),
    ("0.7213", STANDARD, log_ratio(STANDARD, normal(-1, 1)), BIT),
    ("0.7213", STANDARD, log_ratio(STANDARD, normal(1, 1)), BIT),
    ("0.7213", normal(1, 1), log_ratio(normal(1, 1), STANDARD), BIT),
    ("0.4431", STANDARD, log_ratio(STANDARD, normal(1, 2)), NAT),
    ("1.3069", normal(1, 2), log_ratio(normal(1, 2), STANDARD), NAT),
]


@pytest.mark.parametrize("shown, density, score, unit", MEANS)
def test_means_over_densities_are_the_integrals(
    shown: str, density: scipy.stats.rv_continuous, score: Score, unit: float
) -> None:
    assert shown in NUMBER.findall("".join(source for source, _ in blocks()))
    if density is PAIR:
        # For a function that fades out at both ends, no rule is better than the plain one.
        x = np.linspace(-9, 9, 361)
        points = np.stack(np.meshgrid(x, x, indexing="ij"), -1)
        rows = scipy.integrate.trapezoid(PAIR.pdf(points) * score(points), x)
        integral, error = scipy.integrate.trapezoid(rows, x), 0.0
    else:
        ends = np.clip(density.support(), density.mean() - 40, density.mean() + 40)
        integral, error = scipy.integrate.quad(
            lambda x: density.pdf(x) * score(x) if density.pdf(x) > 0 else 0.0,
            *ends,
            points=[density.mean()],
        )
    assert error < 1e-5
    assert float(shown) == pytest.approx(integral / unit, abs=5.1e-5)


@pytest.mark.parametrize("shown, density, score, unit", MEANS)
def test_means_over_densities_are_those_of_samples(
    shown: str, density: scipy.stats.rv_continuous, score: Score, unit: float
) -> None:
    scores = score(density.rvs(size=100_000, random_state=np.random.default_rng(1))) / unit
    standard_error = scores.std() / math.sqrt(len(scores))
    assert standard_error < 0.02
    assert abs(scores.mean() - float(shown)) < 4 * standard_error + 5.1e-5


@pytest.mark.parametrize(
    ("want", "got", "same"),
    [
        ("tensor(1.6855)\n", "tensor(1.6855)\n", True),
        ("tensor(1.6855)\n", "tensor(1.6856)\n", False),
        ("tensor(0.0074)\n", "tensor(nan)\n", False),
        ("(8582.0341796875, 1)\n", "(8582.03515625, 1)\n", True),
        ("[3451]\n", "[3452]\n", False),
        ("1.0\n", "1.0 bits\n", False),
    ],
)
def test_comparison_of_outputs(want: str, got: str, same: bool) -> None:
    assert SameNumbers().check_output(want, got, 0) is same
