"""The documentation site: it builds without a warning, holds together, and finds what it has."""

import functools
import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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

sys.path += [str(ROOT / "docs"), str(ROOT / "tools")]
import formulas  # noqa: E402
import publish_site  # noqa: E402


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


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[str], str]:
    """What a browser has made of the page at an address."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium")

    def opened(url: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
        done = subprocess.run(
            [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return opened


def test_a_search_in_a_browser_lands_on_the_page(site: Path, opened: Callable[[str], str]) -> None:
    found = opened(f"{(site / 'search.html').as_uri()}?q=kl_divergence")
    first = re.search(r'<ul [^>]*class="search">.*?<a href="([^"#?]*)', found, re.DOTALL)
    assert first, found
    page = (site / html.unescape(first[1])).resolve()
    assert page == site / "docs/reference/torch_infotheory.kl_divergence.html"
    assert 'id="torch_infotheory.kl_divergence"' in opened(page.as_uri())


def test_every_page_states_its_version(site: Path, pages: dict[Path, Page]) -> None:
    line = f'<div class="versions"><p>Version {torch_infotheory.__version__}-dev</p></div>'
    moved = site / "index.html"  # which leads to the first page
    assert [path for path in pages if path != moved and line not in path.read_text()] == []


@pytest.mark.skipif("sphinx" in LACKING, reason="Sphinx is not installed")
def test_the_site_of_a_release_states_its_number() -> None:
    from sphinx.config import Config
    from sphinx.util.tags import Tags

    config = Config.read(ROOT / "docs", overrides={}, tags=Tags(["release"]))
    assert config.release == config.version == torch_infotheory.__version__


def test_a_page_from_a_disk_states_its_version(site: Path, opened: Callable[[str], str]) -> None:
    page = opened((site / "docs/conventions.html").as_uri())
    assert f"<p>Version {torch_infotheory.__version__}-dev</p>" in page
    assert "<summary>" not in page[page.index('class="versions"') :]


@pytest.fixture
def published(site: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The site as two versions, of which the release lacks a page, and the address of both."""
    version = torch_infotheory.__version__
    release, folder = tmp_path / "release", tmp_path / "published"
    shutil.copytree(site, release)
    inventory = (site / "objects.inv").read_bytes()
    stated = inventory.replace(
        f"# Version: {version}-dev".encode(), f"# Version: {version}".encode()
    )
    (release / "objects.inv").write_bytes(stated)
    (release / "docs/cuda.html").unlink()
    folder.mkdir()
    publish_site.add(site, folder, "dev")
    publish_site.add(release, folder, version)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# A page with a frame, whose script does there what a reader does.
SWITCH = """\
<!doctype html>
<iframe src="{page}" width="1200" height="800"></iframe>
<pre>waiting</pre>
<script>
  const frame = document.querySelector("iframe");
  const found = (selector) => new Promise((resolve) => {{
    const timer = setInterval(() => {{
      const nodes = [...frame.contentDocument.querySelectorAll(selector)];
      if (nodes.length) {{ clearInterval(timer); resolve(nodes); }}
    }}, 50);
  }});
  frame.onload = async () => {{
    const [summary] = await found(".versions summary");
    summary.click();
    const links = await found(".versions details[open] a");
    const read = links.filter((link) => link.hasAttribute("aria-current"));
    const seen = [summary, ...links, ...read].map((node) => node.textContent);
    frame.onload = () => {{
      if (!frame.contentDocument.querySelector(".versions")) return;  // it leads to the first page
      seen.push(frame.contentWindow.location.href, frame.contentDocument.title);
      document.querySelector("pre").textContent = seen.join("\\n");
    }};
    links.find((link) => link.textContent === "{other}").click();
  }};
</script>
"""


@pytest.mark.parametrize(
    "read, page, other, landed",
    [
        ("dev", "docs/conventions.html", "{}", "{}/docs/conventions.html"),
        ("{}", "README.html#install", "dev", "dev/README.html#install"),
        ("stable", "docs/recipes/lightning.html", "dev", "dev/docs/recipes/lightning.html"),
        ("dev", "docs/cuda.html", "stable ({})", "stable/README.html"),  # it has no such page
    ],
)
def test_choosing_another_version_lands_on_the_same_page(
    published: tuple[Path, str],
    opened: Callable[[str], str],
    read: str,
    page: str,
    other: str,
    landed: str,
) -> None:
    folder, address = published
    version = torch_infotheory.__version__
    read, other, landed = (text.format(version) for text in (read, other, landed))
    (folder / "reader.html").write_text(SWITCH.format(page=f"{read}/{page}", other=other))

    shown = re.search(r"<pre>(.*)</pre>", opened(f"{address}/reader.html"), re.DOTALL)
    assert shown
    summary, *links, current, url, title = html.unescape(shown[1]).split("\n")
    stable = f"stable ({version})"
    assert summary == f"Version {version}-dev" and links == ["dev", stable, version]
    assert current == (stable if read == "stable" else read)
    assert url == f"{address}/{landed}" and "torch_infotheory" in title


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
