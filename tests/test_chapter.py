"""Runs docs/chapter.md: its Python blocks in order, each shown output compared."""

import doctest
import re
from pathlib import Path

import pytest

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
