"""Docstrings that explain the arguments which functions share where ``help`` shows them.

The texts stand once, in the section "Shared arguments" of a module's docstring; the functions only
name it.
"""

import inspect
import re
import textwrap
from collections.abc import Iterable
from typing import Any

_ENTRY = r"^ {4}(\w[\w, ]*): (%s.*(?:\n {8}.*)*)"
_SHARED = re.compile(_ENTRY % "Shared arguments?", re.MULTILINE)
_WIDTH = 96  # 100, where a docstring is indented by 4


def explain_arguments(functions: Iterable[Any], *modules: str | None) -> None:
    """Replace the entries "Shared arguments, see ..." of docstrings by those of the modules.

    What follows a semicolon is kept, as a sentence of its own. Of two modules that explain an
    argument, the later one counts.
    """
    texts: dict[str, str] = {}
    for docstring in modules:
        section = inspect.cleandoc(docstring or "").partition("\nShared arguments:\n")[2]
        section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
        for names, text in re.findall(_ENTRY % "", section, re.MULTILINE):
            texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))

    def explained(entry: re.Match[str]) -> str:
        own = " ".join(entry[2].split()).partition("; ")[2]
        names: dict[str, list[str]] = {}
        for name in entry[1].split(", "):
            names.setdefault(texts[name], []).append(name)
        return "\n".join(
            textwrap.fill(
                f"{', '.join(named)}: {text}" + (f" {own[0].upper()}{own[1:]}" if own else ""),
                _WIDTH,
                initial_indent=" " * 4,
                subsequent_indent=" " * 8,
                break_on_hyphens=False,
                break_long_words=False,
            )
            for text, named in names.items()
        )

    for function in functions:
        if function.__doc__ and texts:  # python -OO leaves none
            function.__doc__ = _SHARED.sub(explained, inspect.cleandoc(function.__doc__))
