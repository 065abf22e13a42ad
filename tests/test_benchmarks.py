"""The benchmarks compare what is equal, measure what they say, and report what was measured."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import bench  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import walkthrough  # noqa: E402
from cases import DIVERGENCES, MEASURES, TABLES, Case, Size  # noqa: E402
from data import DATA, PAIRS, Data  # noqa: E402
from options import OPTIONS, Options  # noqa: E402
from targets import target  # noqa: E402

ROWS = (Size((6, 5)), Size((2, 5, 3), 1))


def assert_all_the_same(case: Case | Options, size: Size) -> set[str]:
    """Every contender but torch.compile gives what ours gives. Returns who was compared."""
    work = case.work(size, torch.float32, "cpu")
    values = {
        name: np.asarray(call(*work.inputs, *work.others))
        for name, call in work.calls.items()
        if name != "compile"
    }
    for value in values.values():
        np.testing.assert_allclose(value, values["ours"], rtol=2e-5, atol=1e-6)
    assert np.abs(values["ours"]).max() > 1e-4
    return set(values)


@pytest.mark.parametrize("size", ROWS, ids=str)
@pytest.mark.parametrize("case", MEASURES + DIVERGENCES, ids=lambda case: case.name)
def test_peers_of_the_measures(case: Case, size: Size, threads: None) -> None:
    torch.set_num_threads(1)
    assert {"ours", "eager"} <= assert_all_the_same(case, size)


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case.name)
def test_peers_of_the_tables(case: Case, threads: None) -> None:
    torch.set_num_threads(1)
    assert "scipy" in assert_all_the_same(case, Size((3, 4, 5)))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.name)
def test_options_of_the_losses(options: Options) -> None:
    for size in ROWS:
        assert_all_the_same(options, size)


@pytest.mark.parametrize("case", DATA, ids=lambda case: case.name)
def test_peers_of_the_functions_of_data(case: Data) -> None:
    size = Size(
        (500, 6, 5) if case.size == PAIRS else (20, 30) if len(case.size.shape) > 1 else (500,)
    )
    work = case.work(size, getattr(torch, case.dtype), "cpu")
    ours, theirs = (np.asarray(work.calls[name](*work.inputs)) for name in ("ours", case.peer))
    assert np.abs(ours).max() > 1e-2
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)


class SteppingClock:
    """Each call takes the next of its seconds, and the last of them from then on."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.left = {name: list(values) for name, values in seconds.items()}
        self.now: str | None = None

    def call(self, name: str) -> Callable[[], None]:
        def call() -> None:
            self.now = name

        return call

    def seconds(self, call: Callable[[], None], repeat: int) -> float:
        call()
        assert self.now is not None
        left = self.left[self.now]
        return left.pop(0) if len(left) > 1 else left[0]


def measured(seconds: dict[str, list[float]], budget: float) -> dict[str, dict]:
    clock = SteppingClock(seconds)
    calls = {name: clock.call(name) for name in seconds}
    return {record["contender"]: record for record in measure.times(calls, budget, clock)}


def test_least_and_median() -> None:
    records = measured({"one": [0.9, 0.3, 0.5], "other": [0.1]}, budget=1.5)
    assert records["one"] == {
        "contender": "one",
        "least": 0.3,
        "median": 0.5,
        "runs": [0.9, 0.3, 0.5],
        "samples": 3,
    }
    assert records["other"]["least"] == records["other"]["median"] == 0.1
    assert records["other"]["samples"] >= 15


def test_slow_calls_are_made_twice() -> None:
    assert measured({"slow": [7.0]}, budget=0.1)["slow"]["samples"] == 2
    assert measured({"quick": [1.0]}, budget=0.1)["quick"]["samples"] == 3


def test_an_error_is_a_result() -> None:
    def fails() -> None:
        raise NotImplementedError("no such kernel\nand more")

    records = measure.times({"fails": fails, "works": lambda: None}, 0.001, measure.CpuClock())
    by_name = {record["contender"]: record for record in records}
    assert by_name["fails"]["error"] == "NotImplementedError: no such kernel"
    assert by_name["works"]["least"] > 0


def test_peak_of_memory() -> None:
    """In a process of its own: what the pool of a long one holds free, a call takes unseen."""
    size = 1 << 26
    code = (
        "import measure, torch\n"
        f"call = lambda: torch.ones({size // 4}).sum()\n"
        "call()\n"
        "print(measure.CpuClock().peak(call))\n"
    )
    environment = os.environ | bench.NO_POOL | {"PYTHONPATH": str(Path(bench.__file__).parent)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert 0.9 * size < int(run.stdout) < 1.2 * size  # the system counts in batches of pages


def test_the_clock_of_a_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a device: what it asks of CUDA is played by the test."""
    done: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.place = -1

        def record(self) -> None:
            self.place = len(done)
            done.append("event")

        def elapsed_time(self, end: "Event") -> float:
            return float(done[self.place : end.place].count("call"))

    cache = SimpleNamespace(L2_cache_size=1 << 10)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: cache)
    clock = measure.CudaClock("cpu")
    clock.flush = SimpleNamespace(zero_=lambda: done.append("flush"))
    assert clock.seconds(lambda: done.append("call"), 3) == pytest.approx(1e-3)
    assert done == ["flush", "event", "call", "event"] * 3


def test_parts() -> None:
    for full in (False, True):
        parts = list(bench.parts(full, "cpu"))
        assert len({str(part) for part in parts}) == len(parts)
        assert all(part.cases(full) for part in parts if part.section != "walkthrough")
    assert all(part.threads == 1 for part in bench.parts(True, "cuda"))


def test_a_run_and_its_continuation(
    tmp_path: Path, threads: None, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page" / "performance.md"
    monkeypatch.setattr(bench, "LIBRARY", Path(bench.__file__))
    given = ["--parts", str(tmp_path / "parts"), "--page", str(page), "--seconds", "0.0001"]
    given += ["--contenders", "ours", "eager", "--only", "rows-64x10-float32-1"]
    bench.main(given)
    assert "0 of 1 parts are left" in capsys.readouterr().out
    (part,) = (tmp_path / "parts").iterdir()
    records = json.loads(part.read_text())["records"]
    assert len(records) == len(MEASURES) * 2 * 4  # forward and both; read, copy, ours, eager
    assert all(0 < record["least"] <= record["median"] for record in records)
    first = page.read_text()
    assert "## Forward, float32, one thread" in first
    assert page.with_suffix(".png").stat().st_size > 10_000
    assert len(report.load(page.with_suffix(".json.gz"))) == 1

    monkeypatch.setattr(bench, "measure", lambda *_: [])
    bench.main(given)  # nothing is left to measure
    assert page.read_text() == first
    monkeypatch.setattr(bench, "LIBRARY", tmp_path)
    os.utime(tmp_path, (2**31, 2**31))  # built again since
    bench.main(given)
    assert page.read_text() != first


def part_of(size: Size, contenders: dict[str, tuple[float, float]], step: str = "forward") -> dict:
    """A part as bench.py writes it: least and median seconds of an entropy by each contender."""
    records = [
        {"case": "entropy", "step": step, "elements": size.elements, "bytes": 4 * size.elements}
        | {"contender": name, "least": least, "median": median, "samples": 3}
        for name, (least, median) in contenders.items()
    ]
    where = {"section": "rows", "size": {"shape": size.shape, "dim": size.dim}}
    return {
        "name": "rows",
        "part": where | {"dtype": "float32", "threads": 1, "memory": False},
        "device": "cpu",
        "date": "2026-01-31 12:00 UTC",
        "load": 0.1,
        "machine": {"processor": "a processor"},
        "versions": {"torch": "0"},
        "seconds": 1.0,
        "records": records,
    }


def test_the_report_says_what_was_measured() -> None:
    size = Size((8192, 1000))
    assert target("entropy", size, "forward") == (20, 3.5)
    times = {"ours": (1e-3, 1.1e-3), "eager": (30e-3, 40e-3), "compile": (3e-3, 3e-3)}
    times |= {"read": (0.5e-3, 0.5e-3), "copy": (1.0, 1.0)}
    found = report.results([part_of(size, times)], ("rows",))
    verdicts = report.targets(found)
    assert verdicts.startswith("1 of 2 targets are met.")
    assert "| 20x | 30x ~ | met | 3.5x | 3.00x | **86%** |" in verdicts
    row = report.speed(found, "forward").splitlines()[-1]
    assert row == (
        "| entropy | 8192 x 1000 | 1 ms (1.1 ms) | 0.122 | 32.8 | 2.00x | 30x ~ | 3.00x |"
    )


def test_the_report_tells_how_far_a_ratio_may_be_trusted() -> None:
    assert measure.least_of_runs([3.0, 1.0, 2.0, 5.0, 4.0, 7.0, 6.0]) == [1.0, 2.0, 4.0]
    assert measure.least_of_runs([3.0, 1.0]) == [3.0, 1.0]
    contenders = {
        "ours": {"least": 1.0, "median": 1.0, "runs": [1.0, 1.25, 1.0]},
        "eager": {"least": 2.0, "median": 2.0, "runs": [2.0, 2.0, 2.2]},
        "compile": {"least": 3.0, "median": 3.0, "runs": [3.0, 3.0]},  # two slow calls
        "scipy": {"least": 3.0, "median": 3.0},
    }
    assert report.spread(contenders, "eager") == pytest.approx(0.2)
    assert report.times_ours(contenders, "eager") == "2.00x ±20%"
    assert report.times_ours(contenders, "compile") == "3.00x ±20%"
    assert report.spread(contenders, "scipy") is None
    assert report.times_ours(contenders, "scipy") == "3.00x"


def test_the_report_tells_noise_and_failures() -> None:
    part = part_of(Size((64, 10)), {"ours": (1e-5, 2e-5), "eager": (1e-5, 1e-5)})
    error = {"case": "entropy", "step": "forward", "contender": "compile", "error": "X: why"}
    part["records"].append(error | {"elements": 640, "bytes": 2560})
    assert "| 50% ~ |" in report.noise([part])
    assert report.failures([part]) == "- entropy, compile, rows: X: why"
    assert "failed" in report.speed(report.results([part], ("rows",)), "forward")
    quiet = part_of(Size((64, 10)), {"ours": (1e-5, 1.1e-5)})
    assert "~" not in report.noise([quiet])


def test_a_page_keeps_what_is_not_measured_again(tmp_path: Path) -> None:
    def measured(name: str, date: str) -> dict:
        times = {"ours": (1e-5, 1e-5), "eager": (2e-5, 2e-5)}
        return part_of(Size((64, 10)), times) | {"name": name, "date": date}

    parts, page = tmp_path / "parts", tmp_path / "performance.md"
    parts.mkdir()
    before = [measured(name, "2026-01-02") for name in ("kept", "older", "newer", "gone")]
    report.write_records(page.with_suffix(".json.gz"), map(report.dumps, before))
    for name, date in (("older", "2026-01-01"), ("newer", "2026-01-03"), ("added", "2026-01-03")):
        (parts / f"{name}.json").write_text(report.dumps(measured(name, date)))
    report.write(parts, page, names=("kept", "older", "newer", "added"))
    dates = {part["name"]: part["date"] for part in report.load(page.with_suffix(".json.gz"))}
    assert dates == {
        "kept": "2026-01-02",
        "older": "2026-01-02",
        "newer": "2026-01-03",
        "added": "2026-01-03",
    }
    with pytest.raises(SystemExit, match="no parts"):
        report.write(tmp_path / "missing", page)


def test_the_page_and_the_table_of_the_readme_are_those_of_the_records(tmp_path: Path) -> None:
    docs = report.README.parent / "docs"
    parts = report.load(docs / "performance.json.gz")
    assert (docs / "performance.md").read_text() == report.page(
        parts, "performance.png", "performance.json.gz"
    )
    text = report.README.read_text()
    assert report.headlines(parts).count("\n") == 2 + len(report.HEADLINES)
    assert report.headlines(parts) in text
    readme = tmp_path / "README.md"
    readme.write_text(text)
    report.write_headlines([part_of(Size((8192, 1000)), {}, "both")], readme)
    assert "entropy of logits" not in readme.read_text()  # neither times nor peaks
    report.write_headlines(parts, readme)
    assert readme.read_text() == text


def test_the_report_has_the_functions_of_data() -> None:
    part = part_of(Size((50000,)), {"ours": (1e-3, 1e-3), "scipy": (4e-3, 4e-3)})
    part["part"]["section"] = "data"
    *_, row = report.data([part]).splitlines()
    assert row == "| entropy | 50000 | scipy | 1 ms (1 ms) | 4 ms (4 ms) | 4.00x |"


def test_seconds() -> None:
    assert [report.seconds(x) for x in (2.5e-7, 1.234e-5, 0.0456, 12.0)] == [
        "0.25 µs",
        "12.3 µs",
        "45.6 ms",
        "12 s",
    ]


def test_the_walk_through_still_fits_the_tree(tmp_path: Path) -> None:
    walkthrough.copy(tmp_path)
    walkthrough.edit(tmp_path)
    edited = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    changed = [
        str(path.relative_to(tmp_path))
        for path, content in edited.items()
        if content != (walkthrough.ROOT / path.relative_to(tmp_path)).read_bytes()
    ]
    assert sorted(changed) == [
        "csrc/core/formulas.h",
        "csrc/core/orders.h",
        "csrc/dispatch/measures.cpp",
        "csrc/include/torch_infotheory/measures.h",
        "csrc/module.cpp",
        "src/torch_infotheory/divergences.py",
        "tests/ops.py",
        "tests/reference.py",
    ]
    assert "BetaDivergence, RenyiDivergence>;" in (tmp_path / "csrc/core/formulas.h").read_text()
    assert "struct BetaDivergence" in (tmp_path / "csrc/core/orders.h").read_text()
    for name in ("src/torch_infotheory/divergences.py", "tests/ops.py"):
        compile((tmp_path / name).read_text(), name, "exec")
    names: dict = {}
    exec((tmp_path / "tests/reference.py").read_text(), names)
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    np.testing.assert_allclose(names[walkthrough.QUANTITY](p, q, (0,), 1), [0.125])

    walkthrough.edit(tmp_path)  # once is enough
    assert edited == {path: path.read_bytes() for path in edited}
