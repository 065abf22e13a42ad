"""The documentation site: `make site`. The pages are those of the repository, read where they are.

The folder of the sources is the root of the repository, so that the links of README.md and of the
pages hold on the site as they do in the repository. The pages of the reference are written here,
one for each public name, so that a new name needs no page to be made.
"""

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import formulas  # noqa: E402

import torch_infotheory  # noqa: E402

project = "torch_infotheory"
author = "the torch_infotheory authors"
# Trees before and after a release have its number too, so `make site RELEASE=1` says which it is.
is_release = tags.has("release")  # noqa: F821  (a name that Sphinx defines)
version = release = torch_infotheory.__version__ + ("" if is_release else "-dev")
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/recipes/*.md", "docs/reference/*.rst"]
exclude_patterns = [".venv*", "build", "csrc", "src", "tests", "tools", "benchmarks", "examples"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # fragments of C++ and output
highlight_language = "text"  # formulas that stay as they are

default_role = "obj"
autodoc_typehints = "none"  # the signatures stay short; Args has the shapes
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Domain", "Gradient", "Errors", ("Shared arguments", "params_style")]
napoleon_custom_sections += [("Reference", "References")]
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = f"{project} {version}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("versions.js", {"defer": "defer"})]
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_theme_options = {"navigation_with_keys": True}

GUIDES = {
    "Guides": "conventions dropin linear language_models estimators gaussian metrics transforms "
    "sharding cpp cuda",
    "Recipes": "recipes/*",
    "Background": "chapter design performance accuracy",
}
# Where the reference finds names: its heading, the module whose docstring begins the page, and the
# module by which users call what it lists.
MODULES = [
    ("Measures", "measures", ""),
    ("Divergences, and measures with an order", "divergences", ""),
    ("More than two variables, and other forms", "multivariate", ""),
    ("Joint tables", "tables", ""),
    ("Soft histograms", "histograms", ""),
    ("For language models", "language_models", ""),
    ("Losses as functions", "nn.functional", "nn.functional"),
    ("Losses as modules", "nn", "nn"),
    ("Estimators", "estimators", "estimators"),
    ("Normal distributions", "gaussian", "gaussian"),
    ("Metrics", "metrics", "metrics"),
    ("Shards of the classes", "parallel", "parallel"),
    ("The textbook's functions", "d2l", "d2l"),
]


def public_names(module: ModuleType) -> list[str]:
    """The functions and classes of the package that a module offers, in its order."""
    listed = getattr(module, "__all__", None) or sorted(vars(module))
    return [
        name
        for name in listed
        if not name.startswith("_")
        and (inspect.isfunction(f := vars(module)[name]) or inspect.isclass(f))
        and f.__module__.startswith("torch_infotheory")
    ]


def reference() -> dict[str, str]:
    """The pages of the reference by the names of their files."""
    pages = {}
    for heading, path, shown in MODULES:
        module = importlib.import_module(f"torch_infotheory.{path}")
        target = ".".join(["torch_infotheory", *([shown] if shown else [])])
        names = public_names(module)
        for name in names:
            is_class = inspect.isclass(vars(module)[name])
            directive = "autoclass" if is_class else "autofunction"
            title = f"{shown}.{name}" if shown else name
            pages[f"{target}.{name}"] = page(title, f".. {directive}:: {target}.{name}\n")
        pages[f"torch_infotheory.{path}"] = page(
            heading,
            f".. automodule:: torch_infotheory.{path}\n",
            f".. currentmodule:: {target}\n",
            ".. autosummary::\n   :nosignatures:\n",
            *(f"   {name}\n" for name in names),
            "\n.. toctree::\n   :hidden:\n",
            *(f"   {target}.{name}\n" for name in names),
        )
    own = ["set_validation", "show_config"]
    for name in own:
        pages[f"torch_infotheory.{name}"] = page(name, f".. autofunction:: torch_infotheory.{name}")
    listed = [f"torch_infotheory.{path}" for _, path, _ in MODULES]
    listed += [f"torch_infotheory.{name}" for name in own]
    pages["index"] = page(
        "Reference",
        ".. automodule:: torch_infotheory\n",
        ".. toctree::\n   :maxdepth: 1\n",
        *(f"   {name}\n" for name in listed),
    )
    return pages


def page(heading: str, *parts: str) -> str:
    title = f"{heading}\n{'=' * len(heading)}\n"
    return re.sub(r"\n{3,}", "\n\n", "\n".join([title, *parts])) + "\n"


def write_reference(app: Sphinx, config: object) -> None:
    """Write the pages that have changed, so that Sphinx reads no others again."""
    folder = DOCS / "reference"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{name}.rst": text for name, text in reference().items()}
    for path in set(folder.iterdir()) - set(pages):
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """README.md is the first page; what lies beside it is listed here, not in the file itself."""
    if docname != root_doc:
        return
    trees = {
        caption: [f"docs/{name}" for name in names.split()] for caption, names in GUIDES.items()
    }
    trees["Reference"] = ["docs/reference/index"]
    trees["Project"] = ["CONTRIBUTING", "CHANGELOG", "SECURITY"]
    for caption, names in trees.items():
        lines = [":hidden:", ":glob:", f":caption: {caption}", "", *names]
        source[0] += "\n".join(["\n```{toctree}", *lines, "```\n"])


def render_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Formulas as mathematics, and the errors that every function raises as prose."""
    text = "\n".join(lines)
    block = re.compile(r"^(.*::)\n\n((?: {4}.*\n|\n)+)", re.MULTILINE)
    head, *rest = re.split(r"^(?=[A-Z][a-z ]+:$)", text, flags=re.MULTILINE)

    def rendered(match: re.Match[str]) -> str:
        latex = formulas.latex_of(match[2])
        if match[1] != "::" or latex is None:
            return match[0]
        return "\n".join(f".. math::\n\n    {line}\n" for line in latex) + "\n"

    sections = [block.sub(rendered, head + "\n"), *(_section(part, what) for part in rest)]
    lines[:] = "".join(sections).splitlines()


def _section(text: str, what: str) -> str:
    """A section as napoleon wants it."""
    heading, _, body = text.partition("\n")
    if heading == "Raises:" and (what == "module" or not re.match(r" +[\w.]+(, .*)?: ", body)):
        heading = "Errors:"  # not a list of the exceptions of one function
    if what == "module" and heading in ("Domain:", "Errors:", "Reference:"):
        body = re.sub(r"^ {4}(?=\S)", "    * ", body, flags=re.MULTILINE)
        body = re.sub(r"^ {8}(?=\S)", "      ", body, flags=re.MULTILINE)
    return f"{heading}\n{body}"


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.connect("config-inited", write_reference)
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", render_docstring, priority=400)  # before napoleon
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
