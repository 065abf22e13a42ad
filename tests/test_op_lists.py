"""The lists of the public ops agree with the registered schemas: C++ header, bindings, Python.

The schemas are the source. Every list below repeats the names of the ops, their arguments or their
defaults, because it is read by people, compilers or type checkers.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path

import pytest
import torch

import torch_infotheory
from torch_infotheory import _class_shards, _linear_shards, nn, parallel
from torch_infotheory.nn import functional

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "torch_infotheory::"
NO_DEFAULT = "no default"

# The arguments of ops that Python functions take in another form, and what they take instead.
OTHERWISE = {
    "q_kind": "kind",
    "target_kind": "kind",
    "lengths": "dims",
    "x_range": "range",
    "y_range": "range",
    "target_classes": "target",
    "chunk": "options",
}
# The arguments of Python functions that no op has.
VALIDATION = {"validate"}
DEPRECATED = {"size_average", "reduce"}  # of torch.nn.functional
SHARDS = {"group", "classes"}
# Python functions whose names differ from their ops, because torch has them.
CALLED = {"cross_entropy_loss": "cross_entropy"}
# Public names of the modules of ops that are no ops.
NO_OPS = {"LogProbs", "info_nce"}


def registered() -> Iterator[tuple[str, str]]:
    for full_name in torch._C._dispatch_get_all_op_names():
        name, _, overload = full_name.partition(".")
        if name.startswith(LIBRARY):
            yield name.removeprefix(LIBRARY), overload


def schema(name: str, overload: str = "") -> torch._C.FunctionSchema:
    return torch._C._get_schema(LIBRARY + name, overload)


# Overloads that only raise an error begin with "other_".
OPS = {
    (name, overload): schema(name, overload)
    for name, overload in sorted(registered())
    if name[0] != "_" and not overload.startswith("other_")
}
NAMES = {name for name, _ in OPS}
OVERLOADED = {name for name, overload in OPS if overload}
ONCE = sorted(NAMES - OVERLOADED)
IGNORE_INDEX = next(
    x.default_value for x in schema("cross_entropy_loss").arguments if x.name == "ignore_index"
)


def defaults(of: torch._C.FunctionSchema) -> dict[str, object]:
    return {x.name: x.default_value if x.has_default_value() else NO_DEFAULT for x in of.arguments}


def check_names(where: str, found: list[str], expected: set[str]) -> None:
    """Every op is in the list, once, and nothing else is."""
    missing = sorted(expected - set(found))
    unknown = sorted(set(found) - expected)
    twice = sorted({name for name in found if found.count(name) > 1})
    assert not missing, f"{where} lacks {missing}"
    assert not unknown, f"{where} has {unknown}, which the registered ops do not have"
    assert not twice, f"{where} has {twice} twice"


def same_default(a: object, b: object) -> bool:
    """Whether both are one default; -1 and [-1] are, but 1 and True are not."""

    def plain(x: object) -> object:
        return x[0] if isinstance(x, list | tuple) and len(x) == 1 else x

    a, b = plain(a), plain(b)
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def check_defaults(where: str, found: dict[str, object], expected: dict[str, object]) -> None:
    check_names(f"{where}: the list of arguments", list(found), set(expected))
    for argument, default in expected.items():
        assert same_default(found[argument], default), (
            f"{where}: the default of {argument} is {found[argument]!r}, "
            f"but {default!r} in the schema"
        )


# ---- C++: the header and the bindings ----

HEADER = "csrc/include/torch_infotheory"
FUNCTION = re.compile(
    r"^inline (?:Tensor|LogProbs) (?P<name>\w+)\((?P<parameters>[^;]*?)\) \{\n(?P<body>.*?)^\}",
    re.MULTILINE | re.DOTALL,
)
CPP_VALUES: dict[str, object] = {"{}": None, "true": True, "false": False}
CPP_VALUES |= {"at::Reduction::Mean": 1}


def without_comments(path: str | Path) -> str:
    return re.sub(r"//[^\n]*", "", (ROOT / path).read_text())


def headers() -> str:
    """What ops.h includes."""
    names = ("measures.h", "tables.h", "losses.h")
    return "".join(without_comments(f"{HEADER}/{name}") for name in names)


def split(text: str) -> list[str]:
    """The parts of a text between commas that are in no brackets."""
    parts, depth = [""], 0
    for character in " ".join(text.split()):
        depth += (character in "<({") - (character in ">)}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def cpp_default(text: str) -> object:
    return CPP_VALUES[text] if text in CPP_VALUES else ast.literal_eval(text)


class Declared:
    """A function of the header."""

    def __init__(self, found: re.Match[str]) -> None:
        self.name = found["name"]
        self.defaults: dict[str, object] = {}
        # Lists of lists, for which the op has a list and the lengths of its parts.
        self.nested = set()
        for parameter in split(found["parameters"]):
            declaration, _, default = parameter.partition(" = ")
            type_name, _, name = declaration.rpartition(" ")
            self.defaults[name] = cpp_default(default) if default else NO_DEFAULT
            if type_name == "at::ArrayRef<IntArrayRef>":
                self.nested.add(name)
        op = re.search(r'op<[^;]*>\(\s*"torch_infotheory::(\w+)"(?:, "(\w+)")?\)', found["body"])
        call = re.search(r"\bcall\.call\((.*?)\);", found["body"], re.DOTALL)
        assert op is not None and call is not None, f"{HEADER}: {self.name} calls no op"
        self.called, self.overload = op[1], op[2] or ""
        self.given = split(call[1])


@cache
def header() -> list[Declared]:
    return [Declared(found) for found in FUNCTION.finditer(headers())]


def test_header_has_all_ops() -> None:
    inline = re.findall(r"^inline \w+ (\w+)\(", headers(), re.MULTILINE)
    assert inline == [function.name for function in header()]  # no function is left unread
    found = [".".join(filter(None, (x.name, x.overload))) for x in header()]
    check_names(HEADER, found, {".".join(filter(None, key)) for key in OPS})


@pytest.mark.parametrize(("name", "overload"), OPS)
def test_header_agrees_with_the_schema(name: str, overload: str) -> None:
    where = f"{HEADER}: {name}"
    found = [x for x in header() if (x.name, x.overload) == (name, overload)]
    assert len(found) == 1, f"{HEADER} has {len(found)} functions for {name} {overload}"
    function, expected = found[0], defaults(OPS[name, overload])
    assert function.called == name, f"{where} calls the op {function.called}"
    given = list(function.defaults)
    if function.nested:
        del expected["lengths"]
        at = given.index("dims")
        given[at : at + 1] = ["d.all", "d.lengths"]
    check_defaults(where, function.defaults, expected)
    assert list(function.defaults) == list(expected), f"{where}: the arguments are in another order"
    assert function.given == given, f"{where}: the op is called with {function.given}"


# What the bindings convert. The other ops are called through torch.ops alone.
NOT_BOUND = {"Optional[List[int]]", "Optional[List[float]]"}


def test_bindings_have_all_ops() -> None:
    expected = {
        name
        for name in ONCE
        if len(schema(name).returns) == 1
        and not NOT_BOUND & {str(x.real_type) for x in schema(name).arguments}
    }
    found = re.findall(r'bound<&(\w+)>\("(\w+)"\)', without_comments("csrc/module.cpp"))
    for function, name in found:
        assert function == name, f"csrc/module.cpp binds {function} by the name {name}"
    check_names("csrc/module.cpp", [name for name, _ in found], expected)


# ---- Python ----

FUNCTIONS = {
    **{name: getattr(torch_infotheory, name) for name in torch_infotheory.__all__},
    **{f"nn.functional.{name}": getattr(functional, name) for name in functional.__all__},
}


def python_name(op: str) -> str:
    at_the_top = op in torch_infotheory.__all__
    return op if at_the_top else f"nn.functional.{CALLED.get(op, op)}"


def test_all_of_python_has_all_ops() -> None:
    modules = ["", ".measures", ".divergences", ".multivariate", ".language_models"]
    modules += [".histograms", ".tables"]
    ops_of_python = {name for name in FUNCTIONS if "." in name}
    for module in modules[1:]:
        ops_of_python |= set(__import__(f"torch_infotheory{module}", fromlist=["__all__"]).__all__)
    ops_of_python -= {x for x in ops_of_python if x.rpartition(".")[2] in NO_OPS}
    for op in sorted(NAMES):
        name = python_name(op)
        assert name in FUNCTIONS, f"no __all__ has the function of the op {op}"
    check_names("__all__", sorted(ops_of_python), {python_name(op) for op in NAMES})


def check_signature(
    where: str,
    function: Callable[..., object],
    op: torch._C.FunctionSchema,
    only: set[str],
    any_more: bool = False,
) -> None:
    """Compare the arguments of a function with those of its op.

    ``only`` are those that the op does not have; with ``any_more`` the function may have fewer.
    """
    expected = defaults(op)
    parameters = inspect.signature(function).parameters
    found = {
        name: NO_DEFAULT if x.default is inspect.Parameter.empty else x.default
        for name, x in parameters.items()
        if x.kind is not inspect.Parameter.VAR_KEYWORD and name not in only
    }
    for argument, instead in OTHERWISE.items():
        if argument in expected and argument not in found:
            assert instead in found, f"{where} has neither {argument} nor {instead}"
            if instead not in expected:
                expected[instead] = expected[argument]
            del expected[argument]
    if "reduction" in expected:  # a number in the op
        names = {"none": 0, "mean": 1, "sum": 2}
        found["reduction"] = names.get(str(found.get("reduction")), found.get("reduction"))
    if any_more:
        expected = {name: x for name, x in expected.items() if name in found}
    check_defaults(where, found, expected)


@pytest.mark.parametrize("name", ONCE)
def test_signature_of_the_python_function(name: str) -> None:
    where = python_name(name)
    function = FUNCTIONS[where]
    only = set(VALIDATION)
    if where.startswith("nn."):
        only |= DEPRECATED & set(inspect.signature(function).parameters)
    check_signature(where, function, schema(name), only)


@pytest.mark.parametrize("overload", sorted(o for name, o in OPS if name == "joint_table"))
def test_signature_of_joint_table(overload: str) -> None:
    expected = defaults(OPS["joint_table", overload])
    found = inspect.signature(torch_infotheory.joint_table).parameters
    for argument in set(expected) & set(found) - {"x", "y"}:
        assert same_default(found[argument].default, expected[argument]), (
            f"joint_table: the default of {argument} is not that of the schema"
        )


def test_functions_of_class_shards() -> None:
    where = "parallel.__all__"
    defined = {
        name
        for name, x in vars(parallel).items()
        if inspect.isfunction(x) and x.__module__ == parallel.__name__ and name[0] != "_"
    }
    check_names(where, parallel.__all__, defined)
    check_names(where, parallel.__all__, defined & NAMES)
    check_names(
        f"{where}, of the losses from hidden states,",
        [name for name in parallel.__all__ if name.startswith("linear_")],
        {name for name in NAMES if name.startswith("linear_")},
    )


@pytest.mark.parametrize("name", parallel.__all__)
def test_signature_of_class_shards(name: str) -> None:
    function = getattr(parallel, name)
    given = set(inspect.signature(function).parameters)
    where = f"parallel.{name}"
    # Those of **options, and the ones that shards do not have.
    check_signature(where, function, schema(name), SHARDS & given, any_more=True)


MODULES = {
    found[1]: cls
    for cls in (getattr(nn, name) for name in nn.__all__)
    if isinstance(cls, type)
    and issubclass(cls, torch.nn.Module)
    and (found := re.search(r"\bF\.(\w+)\(", inspect.getsource(cls.forward)))
}


def test_modules_have_all_losses() -> None:
    without = {"info_nce", "linear_log_probs"}  # no losses of their arguments alone
    check_names("nn", list(MODULES), set(functional.__all__) - without)


@pytest.mark.parametrize("name", MODULES)
def test_defaults_of_modules(name: str) -> None:
    ours = inspect.signature(MODULES[name].__init__).parameters
    function = inspect.signature(getattr(functional, name)).parameters
    assert set(ours) & set(function)
    for argument in set(ours) & set(function):
        found, expected = ours[argument].default, function[argument].default
        # Parameters of the module, which the function takes as tensors, may be required.
        if argument in ("linear_bias", "linear_weight"):
            continue
        assert same_default(found, expected), (
            f"nn.{MODULES[name].__name__}: the default of {argument} is {found!r}, "
            f"but {expected!r} in the function"
        )


# ---- the options of private ops, and defaults that are stated elsewhere ----


def test_options_of_row_ops() -> None:
    where = "_class_shards.RowOptions"
    names = [x.name for x in schema("_entropy").arguments]
    options = names[names.index("dim") : names.index("dtype")]
    found = [x.name for x in fields(_class_shards.RowOptions)]
    check_names(where, found, {"name", *options})
    assert found == ["name", *options], f"{where} is in another order than the schema"
    stated = dict(re.findall(r"(\w+) =\s+(\w+)[,;]", struct("Options", "signature.h")))
    values = {"kIgnoreIndex": IGNORE_INDEX, "kProbs": _class_shards.PROBS}
    values |= {"kNone": _class_shards.NONE}
    for field in fields(_class_shards.RowOptions):
        if field.default is not MISSING:
            text = stated[field.name]
            expected = values[text] if text in values else float(text)
            assert field.default == expected, f"{where}: the default of {field.name}"


def struct(name: str, file: str) -> str:
    """The text of a struct of csrc/dispatch/."""
    text = without_comments(f"csrc/dispatch/{file}")
    found = re.search(rf"^(?:struct|enum) {name}\b.*?^\}};", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"csrc/dispatch/{file} has no {name}"
    return found[0]


def test_options_of_linear_losses() -> None:
    visited = re.findall(r"\bvisit\((\w+)\)", struct("LinearOptions", "linear.h"))
    found = [x.name for x in fields(_linear_shards.LinearOptions)]
    check_names("_linear_shards.LinearOptions", found, set(visited))
    assert found == visited, "_linear_shards.LinearOptions is in another order than linear.h"
    operands = re.findall(r"\bk\w+", struct("LinearOperand : size_t", "linear.h"))
    assert len(_linear_shards.OPERANDS) == len(operands) - 1, "_linear_shards.OPERANDS"


def test_linear_ops_of_class_shards() -> None:
    """They are the formulas that are expectations of a linear score."""
    formulas = without_comments("csrc/core/formulas.h")
    names = re.findall(
        r': Expectation<\w+> \{\s+static constexpr const char\* name = "(\w+)"', formulas
    )
    check_names("_class_shards.LINEAR", list(_class_shards.LINEAR), set(names))
    row_ops = {name for name, _ in registered() if name[0] == "_"}
    assert {f"_{name}" for name in names} <= row_ops


def defaults_in(tree: ast.AST, name: str) -> Iterator[object]:
    """The literal defaults of an argument or a field."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            pairs = [
                *zip(reversed(positional), reversed(node.defaults), strict=False),
                *zip(node.kwonlyargs, node.kw_defaults, strict=True),
            ]
            values = [value for x, value in pairs if x.arg == name and value is not None]
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", None) == name:
            values = [node.value] if node.value is not None else []
        else:
            continue
        yield from (ast.literal_eval(value) for value in values)


def test_default_of_ignore_index() -> None:
    """It is torch's, wherever it is stated. None stands for it in linear_cross_entropy."""
    read = 0
    for path in sorted((ROOT / "src").rglob("*.py")):
        for default in defaults_in(ast.parse(path.read_text()), "ignore_index"):
            assert default in (IGNORE_INDEX, None), f"{path.relative_to(ROOT)}: {default}"
            read += 1
    for path in sorted((ROOT / "csrc").rglob("*.*")):
        for default in re.findall(r"\bignore_index ?= ?(-?\d+)", path.read_text()):
            assert int(default) == IGNORE_INDEX, f"{path.relative_to(ROOT)}: {default}"
            read += 1
    assert read > 10


def test_schemas_share_one_default_of_ignore_index() -> None:
    stated = {x.name for x in (ROOT / "csrc/dispatch").iterdir() if "-100" in without_comments(x)}
    assert stated == {"signature.h"}
    constant = re.search(
        r"\bkIgnoreIndex = (-?\d+);", without_comments("csrc/dispatch/signature.h")
    )
    assert constant is not None and int(constant[1]) == IGNORE_INDEX
