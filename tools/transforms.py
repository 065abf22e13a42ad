"""Writes docs/transforms.md: which op goes through which transform, by the outcomes of the tests.

A test that is marked ``transform(name)`` stands for a column of the page. The rows are the ops of
the `case` or `cases` that it is given, or that its id names. Marked ``raises=True``, it expects an
error that names op and transform.

    python tools/transforms.py            run the marked tests and write the page
    python tools/transforms.py --check    only collect them, and compare with the page
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "transforms.md"
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))
import ops  # noqa: E402  (the table of all ops)

COLUMNS = 8  # of one table

INTRODUCTION = """\
# Ops and transforms

Printed by `python tools/transforms.py` from the outcomes of the tests; nothing here is written by
hand, and a test fails when the page is out of date.

A tick says that the op went through the transform in every test of that kind, and that the numbers
were those of the same quantity composed of torch's own operations. *error* says that it raises one
that names the op and the transform, which is tested too. An empty field is not tested, mostly
because there is nothing to test.
"""


class Outcomes:
    """A plugin of pytest: keeps the marked tests, and what became of them."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[tuple[str, str], str]] = {}  # by test file, op and column
        self.named = {str(case): case for case in ops.CASES}
        self.skipped = 0

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        marked = [item for item in items if item.get_closest_marker("transform")]
        config.hook.pytest_deselected(items=[item for item in items if item not in marked])
        items[:] = marked
        for item in marked:
            self.note(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.skipped += report.skipped

    def note(self, item: pytest.Item) -> None:
        mark = item.get_closest_marker("transform")
        assert mark is not None
        call = item.callspec  # type: ignore[attr-defined]
        cases = call.params.get("cases") or [call.params.get("case") or self.named[call.id]]
        cells = self.cells.setdefault(heading(item.path), {})
        for case in cases:
            cells[case.op.name, mark.args[0]] = "*error*" if mark.kwargs.get("raises") else "✓"


def heading(path: Path) -> str:
    """The first sentence of a test file."""
    text = " ".join(path.read_text().split('"""')[1].split("\n\n")[0].split())
    return text.removesuffix(".")


def tables(cells: dict[tuple[str, str], str]) -> Iterator[str]:
    columns = list(dict.fromkeys(column for _, column in cells))
    for first in range(0, len(columns), COLUMNS):
        yield "\n".join(table(cells, columns[first : first + COLUMNS])) + "\n"


def table(cells: dict[tuple[str, str], str], columns: Sequence[str]) -> Iterator[str]:
    yield "| op | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for op in dict.fromkeys(op.name for op in ops.OPS):
        fields = [cells.get((op, column), "") for column in columns]
        yield f"| `{op}` | " + " | ".join(fields) + " |"


def page(outcomes: Outcomes) -> str:
    parts = [INTRODUCTION]
    for title, cells in outcomes.cells.items():
        parts += [f"## {title}\n", *tables(cells)]
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    check = "--check" in arguments
    files = [p for p in sorted(TESTS.glob("test_*.py")) if "mark.transform" in p.read_text()]
    outcomes = Outcomes()
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    failed = pytest.main(
        [*options, *(["--collect-only", "-qq"] if check else []), *map(str, files)],
        plugins=[outcomes],
    )
    if failed or outcomes.skipped:
        print(f"{PAGE}: some test failed or was skipped, so this was left alone", file=sys.stderr)
        return 1
    text = page(outcomes)
    if not check:
        PAGE.write_text(text)
    elif text != PAGE.read_text():
        print(f"{PAGE} is out of date: run python tools/transforms.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
