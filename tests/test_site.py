"""The documentation site: it builds without a warning, holds together, and finds what it has."""

import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

import torch_infotheory

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("sphinx", "myst_parser", "furo", "latex2mathml", "sphinx_copybutton")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
COMMAND = "-m sphinx --quiet --fail-on-warning --keep-going -b html -c docs".split()
SOURCES = {"script": "src", "link": "href", "img": "src", "iframe": "src"}

sys.path.append(str(ROOT / "docs"))
import formulas  # noqa: E402


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := attributes.get(name))}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"] or "")
        if SOURCES.get(tag) in attributes:
            self.loaded.append(attributes[SOURCES[tag]] or "")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The site, built once for all processes of the run."""
    if LACKING:
        pytest.skip(f"the docs group of pyproject.toml is not installed: no {', '.join(LACKING)}")
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    built, log = folder / "site", folder / "site.log"
    with FileLock(folder / "site.lock"):
        if not log.exists():
            done = subprocess.run(
                [sys.executable, *COMMAND, "-d", str(folder / "doctrees"), ".", str(built)],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            log.write_text(done.stdout if done.stdout or done.returncode == 0 else "failed")
    assert log.read_text() == ""
    return built


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_link_and_picture_is_there(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for target in {*page.links, *page.loaded}:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchored = file.suffix == ".html" and url.fragment
            if not file.is_file() or (
                anchored and unquote(url.fragment) not in pages[file].anchors
            ):
                broken.append((str(path.relative_to(site)), target))
    assert len(pages) > 100 and broken == []


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {(path.name, url) for path, page in pages.items() for url in page.loaded}
    assert [item for item in loaded if urlsplit(item[1]).netloc] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", style.read_text()), style


def test_a_function_has_a_page_with_its_formula_and_source(site: Path) -> None:
    page = (site / "docs/reference/torch_infotheory.kl_divergence.html").read_text()
    formula = page[page.index("<math") : page.index("</math>")]
    text = html.unescape(re.sub(r"<[^>]*>", "", formula))
    assert text == "D(p∥q)=∑xp(x)log(p(x)q(x))" and formula.count("<mfrac>") == 1
    source = re.search(r'href="([^"#]*)#[^"]*"><span class="viewcode-link"', page)
    assert source and (site / "docs/reference" / source[1]).is_file()
    for name in torch_infotheory.__all__:
        if callable(getattr(torch_infotheory, name)):
            assert (site / f"docs/reference/torch_infotheory.{name}.html").is_file(), name


def test_the_search_index_has_it(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    assert '"docs/reference/torch_infotheory.kl_divergence"' in index
    assert re.search(r'"kl_diverg\w*":', index)


def test_a_search_in_a_browser_lands_on_the_page(site: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium")

    def opened(url: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
        done = subprocess.run(
            [browser, *options, f"--user-data-dir={tmp_path}", "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = opened(f"{(site / 'search.html').as_uri()}?q=kl_divergence")
    first = re.search(r'<ul [^>]*class="search">.*?<a href="([^"#?]*)', found, re.DOTALL)
    assert first, found
    page = (site / html.unescape(first[1])).resolve()
    assert page == site / "docs/reference/torch_infotheory.kl_divergence.html"
    assert 'id="torch_infotheory.kl_divergence"' in opened(page.as_uri())


@pytest.mark.parametrize(
    "text, latex",
    [
        ("H(p) = -sum_x p(x) log p(x)", r"H(p) = -\sum_{x}\, p(x)\, \log\, p(x)"),
        ("log(p(x) / q(x))", r"\log\left(\frac{p(x)}{q(x)}\right)"),
        ("PMI / -log p", r"\frac{\mathrm{PMI}}{-\log\, p}"),
        ("a / b + c", "a / b + c"),
        ("a / b c", r"a / b\, c"),
        ("(a - b)^2 / 2", r"\frac{(a - b)^{2}}{2}"),
        ("X_{i-1} + y_hat", r"X_{i-1} + \hat{y}"),
        ("sqrt p(x)", r"\sqrt{p(x)}"),
        ("S_q^-1 d^T", r"S_{q}^{-1}\, d^{\top}"),
        ("x = linear_bias    forward", r"x = \mathtt{linear\_bias} \quad \text{forward}"),
    ],
)
def test_formulas_in_latex(text: str, latex: str) -> None:
    assert formulas.latex_of(text) == [latex]


def test_what_is_no_formula_stays_as_it_is() -> None:
    assert formulas.latex_of("h = vasicek, with other factors at the end") is None
