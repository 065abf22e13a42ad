"""The documentation says what is true: examples run, docstrings are whole, links resolve."""

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import pydoc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import torch_infotheory
from torch_infotheory import divergences, estimators, gaussian, measures, multivariate

ROOT = Path(__file__).resolve().parent.parent
RUN = "conventions dropin estimators gaussian language_models linear metrics sharding".split()
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in RUN)]
MODULES = {  # where they are
    "torch_infotheory": measures,
    "torch_infotheory.divergences": divergences,
    "torch_infotheory.gaussian": gaussian,
}
MEASURES = [(path, name) for path, module in MODULES.items() for name in module.__all__]
COMPOSED = {
    "info_nce": torch_infotheory.nn.functional.info_nce,
    "joint_table": torch_infotheory.joint_table,
    "soft_joint_histogram": torch_infotheory.soft_joint_histogram,
    **{name: getattr(estimators, name) for name in estimators.__all__},
    **{name: getattr(multivariate, name) for name in multivariate.__all__},
}
SECTIONS = ["Args", "Returns", "Domain", "Gradient", "Raises", "Example", "Reference", "See also"]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def sections_of(docstring: str) -> dict[str, str]:
    """Split at the headings; the text before the first one is filed under ''."""
    parts = re.split(r"^([A-Z][a-z ]+):$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def arguments_of(section: str) -> dict[str, str]:
    """The description of every argument; arguments that share a line share the description."""
    parts = re.split(r"^    (\w[\w, ]*):", section, flags=re.MULTILINE)
    lines = zip(parts[1::2], parts[2::2], strict=True)
    return {name: text.strip() for names, text in lines for name in names.split(", ")}


@pytest.mark.parametrize("module", MODULES.values())
def test_every_public_function_is_exported(module):
    functions = inspect.getmembers(module, inspect.isfunction)
    public = [name for name, f in functions if f.__module__ == module.__name__ and name[0] != "_"]
    assert sorted(module.__all__) == public


@pytest.mark.parametrize("path, name", MEASURES)
def test_docstring_has_every_section(path, name):
    sections = sections_of(getattr(MODULES[path], name).__doc__)
    assert list(sections) == ["", *SECTIONS]
    assert all(text.strip() for text in sections.values())

    sentence, formula = sections[""].split("\n\n::\n\n")
    assert "\n" not in sentence and sentence.endswith(".")
    assert " = " in formula
    assert ">>> " in sections["Example"]


@pytest.mark.parametrize("path, name", MEASURES)
def test_docstring_explains_every_argument(path, name):
    module = MODULES[path]
    function = getattr(module, name)
    arguments = arguments_of(sections_of(function.__doc__)["Args"])
    assert sorted(arguments) == sorted(inspect.signature(function).parameters)

    # What functions share stands in each docstring, word for word.
    shared_sections = sections_of(module.__doc__)
    if "Shared arguments" not in shared_sections:
        shared_sections = sections_of(measures.__doc__)
    shared = {
        argument: " ".join(text.split("\n\n")[0].split())
        for argument, text in arguments_of(shared_sections["Shared arguments"]).items()
    }
    explained = {argument: " ".join(text.split()) for argument, text in arguments.items()}
    referred = [a for a in {*explained, *shared} if shared.get(a, "?") in explained.get(a, "")]
    assert {"base", "kind", "dtype"} & set(arguments) & set(shared) <= set(referred) != set()
    assert "Shared argument" not in function.__doc__


@pytest.mark.parametrize("name", COMPOSED)
def test_docstring_of_what_has_no_operator(name):
    sections = sections_of(COMPOSED[name].__doc__)
    assert list(sections) == ["", *SECTIONS]
    assert all(text.strip() for text in sections.values())
    assert "::\n\n" in sections[""] and "=" in sections[""] and ">>> " in sections["Example"]
    arguments = arguments_of(sections["Args"])
    assert sorted(arguments) == sorted(inspect.signature(COMPOSED[name]).parameters)
    for target in re.findall(r"`([\w.]+)`", sections["See also"]):
        assert callable(pkgutil.resolve_name(target))


@pytest.mark.parametrize("path, name", MEASURES)
def test_docstring_points_to_what_exists(path, name):
    module = MODULES[path]
    sections = sections_of(getattr(module, name).__doc__)
    works = re.findall(r"(\w+) \((\d{4})\)", sections["Reference"])
    assert works
    for author, year in works:
        assert re.search(rf"\b{author}\b.*\({year}\)", module.__doc__), f"{author} ({year})"

    for target in re.findall(r"`([\w.]+)`", sections["See also"]):
        names = [target] if "." in target else [f"{path}.{target}", f"torch_infotheory.{target}"]
        assert any(callable(resolved(name)) for name in names), target


def resolved(name: str) -> object:
    with contextlib.suppress(AttributeError, ImportError):
        return pkgutil.resolve_name(name)
    return None


def run(page: Path, names: dict[str, object] | None = None, *, shown: bool = True) -> dict:
    """Run the python blocks of a page in order, with the names that they share; return the names.

    A block of prompts is a doctest. A block without prompts is a program, and the text block that
    follows it shows what it prints, unless libraries print what is not `shown`.
    """
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    assert any(block[1] == "python" for block in blocks)
    names = {"__name__": page.stem, **(names or {})}
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        line = text.count("\n", 0, block.start()) + 1
        where = f"{page.name}, line {line}"
        if block[2].startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block[2], {}, where, page.name, line)
            test.globs = names
            report = io.StringIO()
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, out=report.write, clear_globs=False)
            assert runner.failures == 0, report.getvalue()
        else:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block[2], where, "exec"), names)
            text_block = following[2] if following is not None and following[1] == "text" else ""
            assert not shown or printed.getvalue() == text_block, where
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_and_prints_what_it_shows(page):
    run(page)


def examples() -> Iterator[doctest.DocTest]:
    """The examples of everything public, each with an empty set of names: a fresh prompt."""
    seen = set()
    finder = doctest.DocTestFinder(recurse=False)
    for info in pkgutil.walk_packages(torch_infotheory.__path__, "torch_infotheory."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError:
            continue  # torchmetrics is not there
        for name, found in vars(module).items():
            if name[0] == "_" or getattr(found, "__module__", None) != info.name:
                continue
            for test in finder.find(found, f"{info.name}.{name}", globs={}):
                if test.examples and test.name not in seen:
                    seen.add(test.name)
                    yield test


@pytest.mark.parametrize("example", list(examples()), ids=lambda test: test.name)
def test_example_runs_in_a_fresh_prompt(example):
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=report.write)
    assert runner.tries == len(example.examples) and runner.failures == 0, report.getvalue()


def test_help_explains_kind_base_and_dtype():
    text = pydoc.plain(pydoc.render_doc(torch_infotheory.entropy))
    for words in (
        '``"log_probs"``: as',
        "None for nats, 2 for bits",
        "The data type of the result",
    ):
        assert words in " ".join(text.split()), text


def anchors_of(page: Path) -> set[str]:
    """The link targets that GitHub makes of a page's headings."""
    prose = BLOCK.sub("", page.read_text())
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.replace("`", "").lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]),
    ids=lambda page: page.name,
)
def test_links_resolve(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target
