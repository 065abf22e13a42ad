"""The formulas of docstrings, which are plain text to be read in a terminal, as LaTeX for the site.

It knows the notation of the docstrings and nothing of Sphinx. A block that holds more than formulas
is left as it is.
"""

import re

OPERATORS = {
    "sum": r"\sum",
    "prod": r"\prod",
    "log": r"\log",
    "log2": r"\log_2",
    "exp": r"\exp",
    "max": r"\max",
    "min": r"\min",
    "det": r"\det",
    "tanh": r"\tanh",
    "sqrt": r"\sqrt",
    "pi": r"\pi",
    "rho": r"\rho",
    "chi": r"\chi",
    "in": r"\in",
    "and": r"\;\text{and}\;",
}
SYMBOLS = {
    "||": r"\parallel ",
    "<=": r"\le ",
    ">=": r"\ge ",
    "!=": r"\ne ",
    "...": r"\ldots ",
    "..": r"\ldots ",
    "~": r"\approx ",
    ".": r"\cdot ",
    "@": r"\,",
    "[": "[",
    "]": "]",
    "{": r"\{",
    "}": r"\}",
    "<": r"\langle ",
    ">": r"\rangle ",
    ",": r",\;",
    ";": r";\,",
}
NAME = r"[^\W\d_]+(?=_[{(])|[^\W\d_]\w*"
TOKEN = re.compile(rf"\s+|\.T\b|{NAME}|\d+(?:\.\d+)?|\|\||<=|>=|!=|\.{{2,3}}|_\{{|_\(|\S")
CLOSING = {"(": ")", "[": "]", "{": "}", "_{": "}", "_(": ")"}


class NotAFormula(Exception):
    pass


def latex_of(block: str) -> list[str] | None:
    """The lines of a block in LaTeX, or None if it holds anything but formulas."""
    try:
        return [_line(line) for line in block.splitlines() if line.strip()]
    except NotAFormula:
        return None


def _line(line: str) -> str:
    """The parts of a line, which two spaces or more divide; one of words alone is its label."""
    parts = re.split(r"\s{2,}", line.strip())
    return r" \quad ".join(
        rf"\text{{{part}}}" if re.fullmatch(r"[a-z]{2,}(,? [a-z]+)*", part) else _relation(part)
        for part in parts
    )


def _relation(text: str) -> str:
    return _sides(TOKEN.findall(text))


def _sides(tokens: list[str]) -> str:
    """What stands between commas and relations is a quotient or a sum of terms of its own."""
    sides, separators = [[]], []
    for token in _groups(tokens):
        if token in ("=", ",", ";", "<=", ">=", "!=", "~", "||"):
            separators.append(token)
            sides.append([])
        else:
            sides[-1].append(token)
    separators.append("")
    return " ".join(
        f"{_quotient(side)} {SYMBOLS.get(separator, separator)}"
        for side, separator in zip(sides, separators, strict=True)
    ).strip()


def _groups(tokens: list[str]) -> list:
    """Brackets and what they hold as one token: a list."""
    groups: list = []
    stack = [groups]
    closing: list[str] = []
    for token in tokens:
        if closing and token == closing[-1]:
            closing.pop()
            stack.pop()
        elif token in CLOSING:
            group: list = [token]
            stack[-1].append(group)
            stack.append(group)
            closing.append(CLOSING[token])
        else:
            stack[-1].append(token)
    if closing:
        raise NotAFormula
    return groups


def _flat(group: list) -> list[str]:
    tokens = []
    for token in group:
        tokens += [*_flat(token), CLOSING[token[0]]] if isinstance(token, list) else [token]
    return tokens


def _quotient(side: list) -> str:
    """One slash without a sum around it is a fraction; any others stay slashes."""
    trimmed = _trimmed(side)
    inner = trimmed[1:]  # a sign before the first term belongs to the numerator
    if trimmed.count("/") == 1 and "+" not in inner and "-" not in inner[: inner.index("/")]:
        at = trimmed.index("/")
        over, under = _trimmed(trimmed[:at]), _trimmed(trimmed[at + 1 :])
        if over and under and _is_whole(under):
            sign = "-" if over[0] == "-" and len(over) > 1 else ""
            over = _trimmed(over[1:]) if sign else over
            return rf"{sign}\frac{{{_bare(over)}}}{{{_bare(under)}}}"
    return _terms(side)


def _is_whole(under: list) -> bool:
    """Whether all of what follows a slash is the denominator: one factor, or one of an operator."""
    first = under[1] if under[0] == "-" and len(under) > 1 else under[0]
    if isinstance(first, str) and first.partition("_")[0] in OPERATORS:
        return "-" not in under[1:]
    return " " not in under and "-" not in under


def _trimmed(tokens: list) -> list:
    while tokens and tokens[0] == " ":
        tokens = tokens[1:]
    while tokens and tokens[-1] == " ":
        tokens = tokens[:-1]
    return tokens


def _bare(tokens: list) -> str:
    """A numerator or denominator needs no brackets around all of it."""
    if len(tokens) == 1 and isinstance(tokens[0], list) and tokens[0][0] == "(":
        return _sides(_flat(tokens[0][1:]))
    return _terms(tokens)


def _terms(tokens: list) -> str:
    written: list[str] = []
    words = 0  # unknown words that stand side by side: a sentence
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if isinstance(token, list):
            written.append(_bracket(token))
            words = 0
        elif token.isspace():
            before = tokens[i - 1] if i else ""
            after = tokens[i + 1] if i + 1 < len(tokens) else ""
            written.append(r"\, " if _is_factor(before) and _is_factor(after) else " ")
        elif token == "^":
            i, exponent = _exponent(tokens, i + 1)
            written.append(f"^{{{exponent}}}")
        elif token == "|":
            spaced = 0 < i < len(tokens) - 1 and tokens[i - 1] == tokens[i + 1] == " "
            written.append(r"\mid" if spaced else "|")
        elif token == ".T":
            written.append(r"^{\top}")
        elif token == "sqrt":
            i, root = _root(tokens, i + 1)
            written.append(rf"\sqrt{{{root}}}")
        elif token[0].isalpha():
            name, is_word = _name(token)
            words = words + 1 if is_word else 0
            if words == 2 and written[-1].strip() in ("", r"\,"):
                raise NotAFormula
            written.append(name)
        else:
            words = 0
            written.append(SYMBOLS.get(token, token))
        i += 1
    return "".join(written).strip()


def _is_factor(token: object) -> bool:
    return isinstance(token, list) or (isinstance(token, str) and token[:1].isalnum())


def _bracket(group: list) -> str:
    inside = _sides(_flat(group[1:]))
    if group[0] in ("_{", "_("):
        return f"_{{{inside}}}"
    if group[0] == "{":
        return rf"\{{{inside}\}}"
    if r"\frac" in inside:
        return rf"\left{group[0]}{inside}\right{CLOSING[group[0]]}"
    return f"{group[0]}{inside}{CLOSING[group[0]]}"


def _exponent(tokens: list, i: int) -> tuple[int, str]:
    sign = ""
    if tokens[i] == "-":
        sign, i = "-", i + 1
    if isinstance(tokens[i], list):
        return i, sign + _sides(_flat(tokens[i][1:]))
    if tokens[i] == "|":  # of |T|
        return i + 2, f"|{tokens[i + 1]}|"
    return i, sign + (r"\top" if tokens[i] == "T" else _name(tokens[i])[0])


def _root(tokens: list, i: int) -> tuple[int, str]:
    """The argument of a root: a bracket, or a name with the bracket that belongs to it."""
    if isinstance(tokens[i], list):
        return i, _sides(_flat(tokens[i][1:]))
    i += 1
    end = i + 1 if i + 1 < len(tokens) and isinstance(tokens[i + 1], list) else i
    return end, _terms(tokens[i : end + 1])


def _name(token: str) -> tuple[str, bool]:
    """A name in LaTeX, and whether it is a word that the notation does not know."""
    if token.isdigit():
        return token, False
    base, _, index = token.partition("_")
    if index == "hat":
        return rf"\hat{{{base}}}", False
    if index and len(index) > 2:
        return rf"\mathtt{{{token}}}".replace("_", r"\_"), False
    known = OPERATORS.get(base)
    name = known or (base if len(base) == 1 else rf"\mathrm{{{base}}}")
    return name + (f"_{{{index}}}" if index else ""), known is None and len(base) > 1 and not index
