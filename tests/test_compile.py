"""torch.compile, torch.export, AOTInductor and compiled autograd: sizes stay open, and what is
compiled makes the calls that eager mode makes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from ops import BASIC_CASES, CASES, Case, random
from test_transforms import SAMPLES, Inputs, Pair
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torch_infotheory
from torch_infotheory.nn import functional

# As logits: how an input states its distribution is a number to every compiler. Other layouts than
# the first of each op come with the arity, not with the formula.
COMPILED = [
    case
    for case in SAMPLES
    if set(case.kinds) <= {"logits"} and case.shape != ()
    if not case.op.kinds
    or case in BASIC_CASES
    or case.op.name in {"entropy", "kl_divergence", "mutual_information", "self_information"}
]
_first = {str(case.op): case for case in reversed(COMPILED)}.values()
ONE_OF_EACH = [c for c in COMPILED if c in _first or c.name in {"soft_smoothed", "weighted"}]
# One for each way that an op takes: a kernel of rows or tables, maps, a composition, losses.
_names = ["entropy-", "renyi_entropy_0.5-", "mutual_", "pointwise_mutual_information-"]
_names += ["js_div_mean-", "cross_entropy_loss-soft"]
IN_A_PACKAGE = [case for case in ONE_OF_EACH if str(case).startswith(tuple(_names))]
OF_ROW_OPS = [c for c in ONE_OF_EACH if not c.op.in_float64]


@pytest.fixture(autouse=True)
def compile_anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def enlarged(x: Tensor, times: int) -> Tensor:
    """`x`, repeated along every dimension that does not broadcast."""
    return x.repeat([times if size > 1 else 1 for size in x.shape]).detach()


def open_dims(x: Tensor) -> list[int]:
    return [dim for dim, size in enumerate(x.shape) if size > 1]


def inputs_of_sizes(
    pair: Pair, requires_grad: bool = True, marked: bool = True
) -> Iterator[Inputs]:
    """The inputs in three sizes. What is marked has to be left open, or torch raises an error."""
    for times in (1, 2, 3):
        inputs = tuple(enlarged(x, times) for x in pair.inputs)
        for number, x in enumerate(inputs):
            x.requires_grad_(requires_grad and number in pair.numbers)
            if marked:
                torch._dynamo.mark_dynamic(x, open_dims(x))
        yield inputs


def cotangent(value: Tensor) -> Tensor:
    numbers = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype, device=value.device)
    return numbers.view(value.shape)


def gradients(value: Tensor, inputs: Inputs, by_value: Tensor) -> Inputs:
    return torch.autograd.grad(value, [x for x in inputs if x.requires_grad], by_value)


def value_and_gradients(f: Callable[..., Tensor], inputs: Inputs) -> list[Tensor]:
    value = f(*inputs)
    return [value, *gradients(value, inputs, cotangent(value))]


# torch.compile


class Graphs:
    """A backend that keeps what it is given, and runs it as it is."""

    def __init__(self) -> None:
        self.seen: list[GraphModule] = []
        self.backend = aot_autograd(fw_compiler=self.keep, bw_compiler=self.keep)

    def keep(self, graph: GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.seen.append(graph)
        return make_boxed_func(graph.forward)

    def calls(self) -> Iterator[tuple[Any, list[Tensor]]]:
        for graph in self.seen:
            for node in graph.graph.nodes:
                if isinstance(node.target, torch._ops.OpOverload):
                    yield node.target, tree_leaves(node.meta["val"])


class Calls(TorchDispatchMode):
    """What eager mode calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, list[Tensor]]] = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        out = op(*args, **kwargs or {})
        self.seen.append((op, tree_leaves(out)))
        return out


def number(size: int | torch.SymInt) -> int:
    """What an open size was when it was traced."""
    return size if isinstance(size, int) else size.node.hint


def passes(calls: Iterable[tuple[Any, list[Tensor]]], size: int) -> Counter[str]:
    """The calls of ours, and all others that write at least `size` numbers."""

    def is_pass(op: Any, outputs: list[Tensor]) -> bool:
        if op.namespace == "torch_infotheory":
            return True
        return not op.is_view and any(number(x.numel()) >= size for x in outputs)

    return Counter(str(op) for op, outputs in calls if is_pass(op, outputs))


@pytest.mark.transform("compile, aot_eager")
@pytest.mark.parametrize("case", COMPILED, ids=str)
def test_one_graph_for_all_sizes(case: Case, device: str) -> None:
    pair, graphs, calls = Pair(case, device), Graphs(), Calls()
    compiled = torch.compile(pair.ours, backend=graphs.backend, fullgraph=True)
    for inputs in inputs_of_sizes(pair):
        expected = value_and_gradients(pair.theirs, inputs)
        torch.testing.assert_close(value_and_gradients(compiled, inputs), expected)
        assert expected[-1].count_nonzero()
    assert len(graphs.seen) == 2  # forward and backward

    inputs = next(inputs_of_sizes(pair))
    by_value = cotangent(pair.theirs(*inputs))
    with calls:
        gradients(pair.ours(*inputs), inputs, by_value)
    size = max(x.numel() for x in pair.inputs)
    assert passes(graphs.calls(), size) == passes(calls.seen, size)
    row_ops = sum("torch_infotheory" in name for name in passes(calls.seen, size))
    assert row_ops == 2 or case.op.in_float64


IN_INDUCTOR = [
    case
    for case in ONE_OF_EACH
    if case.op.name in {"entropy", "kl_divergence", "mutual_information", "self_information"}
    or "weight" in case.options
    or case.op.name.endswith(("_loss", "_div"))
]


@pytest.mark.transform("compile, inductor")
@pytest.mark.parametrize("case", IN_INDUCTOR, ids=str)
def test_inductor(case: Case, device: str) -> None:
    pair, counter = Pair(case, device), CompileCounterWithBackend("inductor")
    compiled = torch.compile(pair.ours, backend=counter, fullgraph=True)
    for inputs in inputs_of_sizes(pair):
        expected = value_and_gradients(pair.theirs, inputs)
        torch.testing.assert_close(value_and_gradients(compiled, inputs), expected)
    assert counter.frame_count == 1


@pytest.mark.parametrize("autocast", (False, True))
def test_half_precision_as_in_eager_mode(device: str, autocast: bool) -> None:
    """No row is rounded, and no count, before the mean is taken.

    Results of float32 may differ in the last place, because a sum is stored before it is divided by
    a batch size that is a symbol.
    """
    x = random(1001, 7).to(device, torch.bfloat16)
    labels = torch.arange(1001, device=device) % 7
    calls: list[Callable[[Tensor], Tensor]] = [
        lambda x: functional.cross_entropy(x, labels, label_smoothing=0.1),
        lambda x: functional.js_div(x, -x),
        lambda x: functional.kl_div(x, x.exp(), reduction="batchmean"),
    ]
    for call in calls:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            expected = call(x)
            compiled = torch.compile(call, backend="aot_eager", fullgraph=True, dynamic=True)
            actual = compiled(x)
        assert expected.dtype == (torch.float32 if autocast else torch.bfloat16)
        torch.testing.assert_close(actual, expected, rtol=2**-23 if autocast else 0, atol=0)


def trained(loss: Callable[..., Tensor], wrap: Callable[..., Any], device: str) -> list[float]:
    """The losses of some steps of training; `wrap` is given the model and its loss in one."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))
    model = model.double().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    step = wrap(lambda x, labels: loss(model(x), labels, label_smoothing=0.1))
    losses = []
    for rows in (32, 7, 32, 19):
        x, labels = random(rows, 6).to(device), torch.arange(rows, device=device) % 5
        for tensor in (x, labels):
            torch._dynamo.mark_dynamic(tensor, 0)
        optimizer.zero_grad()
        value = step(x, labels)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def test_training_step(device: str) -> None:
    counter = CompileCounterWithBackend("inductor")

    def compiled(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return torch.compile(step, backend=counter, fullgraph=True)

    expected = trained(torch.nn.functional.cross_entropy, lambda step: step, device)
    assert trained(functional.cross_entropy, compiled, device) == pytest.approx(expected, rel=1e-9)
    assert counter.frame_count == 1


@pytest.mark.transform("compile, unbacked sizes")
@pytest.mark.parametrize("case", OF_ROW_OPS, ids=str)
def test_sizes_known_at_run_time_only(case: Case, device: str) -> None:
    """Rows chosen inside the compiled function. Torch's logsumexp asks for the number of rows."""
    pair = Pair(case, device)
    rows = pair.inputs[0].shape[0]

    def choosing(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(mask: Tensor, *inputs: Tensor) -> Tensor:
            chosen = mask.nonzero().squeeze(1)
            return f(*(x[chosen] if x.shape[0] == rows else x for x in inputs))

        return call

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(choosing(pair.ours), backend="aot_eager", fullgraph=True)
        for mask in (torch.arange(rows) > 0, torch.arange(rows) % 2 == 0):
            mask = mask.to(device)
            inputs = tuple(x.clone().detach() for x in pair.inputs)
            for number in pair.numbers:
                inputs[number].requires_grad_()
            expected = value_and_gradients(choosing(pair.theirs), (mask, *inputs))
            torch.testing.assert_close(value_and_gradients(compiled, (mask, *inputs)), expected)


# torch.export


class Module(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def exported(function: Callable[..., Any], inputs: Inputs) -> torch.export.ExportedProgram:
    shapes = [{dim: torch.export.Dim.DYNAMIC for dim in open_dims(x)} for x in inputs]
    return torch.export.export(Module(function), inputs, dynamic_shapes=(tuple(shapes),))


def calls_of_ours(program: torch.export.ExportedProgram) -> list[str]:
    targets = [str(node.target) for node in program.graph.nodes]
    return [target for target in targets if target.startswith("torch_infotheory.")]


@pytest.mark.transform("export")
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_export(case: Case, device: str) -> None:
    """The public op, and after decomposition torch's operators alone."""
    pair = Pair(case, device)
    program = exported(pair.ours, pair.inputs)
    assert calls_of_ours(program) == [str(case.op.overload)]
    decomposed = program.run_decompositions()
    assert not calls_of_ours(decomposed)
    for inputs in inputs_of_sizes(pair, requires_grad=False):
        expected = pair.theirs(*inputs)
        torch.testing.assert_close(program.module()(*inputs), expected)
        torch.testing.assert_close(decomposed.module()(*inputs), expected)


# What is made of several row ops, or of none.
X, W, NAMED = random(3, 6).float(), random(5, 6, seed=1).float(), torch.tensor([1, -100, 4])
OTHERS: dict[str, tuple[Callable[..., Any], Inputs]] = {
    "log_probs": (torch_infotheory.log_probs, (X, NAMED)),
    "linear_cross_entropy": (functional.linear_cross_entropy, (X, W, NAMED)),
    "linear_entropy": (functional.linear_entropy, (X, W)),
    "soft_joint_histogram": (
        lambda x, y: torch_infotheory.soft_joint_histogram(x, y, 8, ((-3.0, 3.0), (-3.0, 3.0))),
        (X, X.flip(0)),
    ),
    "joint_table": (lambda x: torch_infotheory.joint_table(x, x, 5, 5), (NAMED,)),
    "counts": (lambda x: torch_infotheory.entropy(x, kind="counts"), (W.abs(),)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_decompositions_of_other_functions(name: str) -> None:
    function, inputs = OTHERS[name]
    program = torch.export.export(Module(function), inputs).run_decompositions()
    assert not calls_of_ours(program)
    expected = function(*inputs)
    torch.testing.assert_close(program.module()(*inputs), expected)
    assert all(x.abs().sum() > 0 for x in tree_leaves(expected))


@pytest.mark.transform("AOTInductor")
@pytest.mark.parametrize("cases", [IN_A_PACKAGE], ids=["some"])
def test_aot_inductor(cases: list[Case], device: str, tmp_path: Path) -> None:
    """One package of several ops, because it takes long to compile one."""
    pairs = [Pair(case, device) for case in cases]

    def apart(functions: list[Callable[..., Tensor]]) -> Callable[..., list[Tensor]]:
        def call(*inputs: Tensor) -> list[Tensor]:
            ahead = iter(inputs)
            return [
                f(*islice(ahead, len(pair.inputs)))
                for f, pair in zip(functions, pairs, strict=True)
            ]

        return call

    ours, theirs = apart([pair.ours for pair in pairs]), apart([pair.theirs for pair in pairs])
    program = exported(ours, tuple(x for pair in pairs for x in pair.inputs))
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "all.pt2"))
    package = torch._inductor.aoti_load_package(path)
    for sizes in zip(*(inputs_of_sizes(pair, requires_grad=False) for pair in pairs), strict=True):
        inputs = [x for some in sizes for x in some]
        torch.testing.assert_close(package(*inputs), theirs(*inputs))


# Compiled autograd


@pytest.mark.transform("compiled autograd")
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_compiled_autograd(case: Case, device: str) -> None:
    pair = Pair(case, device)
    compiler = torch.compile(backend="eager", fullgraph=True, dynamic=True)
    counters.clear()
    for inputs in inputs_of_sizes(pair, marked=False):  # compiled autograd opens sizes by itself
        wanted = [inputs[number] for number in pair.numbers]
        expected = torch.autograd.grad(pair.theirs(*inputs).cos().sum(), wanted)
        value = pair.ours(*inputs).cos().sum()
        with torch._dynamo.compiled_autograd._enable(compiler):
            value.backward()
        torch.testing.assert_close([x.grad for x in wanted], list(expected))
    assert counters["compiled_autograd"]["captures"] > 0


@pytest.mark.transform("compiled autograd, second order", raises=True)
@pytest.mark.parametrize("case", OF_ROW_OPS, ids=str)
def test_compiled_autograd_of_second_order(case: Case, device: str) -> None:
    pair = Pair(case, device)
    inputs = [x.clone().requires_grad_(i in pair.numbers) for i, x in enumerate(pair.inputs)]
    wanted = [inputs[number] for number in pair.numbers]
    gradients = torch.autograd.grad(pair.ours(*inputs).pow(2).sum(), wanted, create_graph=True)
    value = torch.stack([g.pow(2).sum() for g in gradients]).sum()
    with (
        torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")),
        pytest.raises(NotImplementedError, match="[a-z]BackwardBackward: compiled autograd"),
    ):
        value.backward()


# Tensors without memory


def described(case: Case, inputs: Iterable[Tensor]) -> list[tuple[Any, ...]]:
    """The result and the gradients, all but their numbers."""
    inputs = list(inputs)
    value = case(*inputs)
    results = value, *torch.autograd.grad(value, inputs, torch.ones_like(value))
    return [(x.shape, x.stride(), x.dtype, x.requires_grad) for x in results]


def on_meta(x: Tensor) -> Tensor:
    like = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
    return like.requires_grad_(x.requires_grad)


@pytest.mark.transform("meta, FakeTensor")
@pytest.mark.parametrize("case", [c for c in CASES if set(c.kinds) <= {"logits"}], ids=str)
def test_tensors_without_memory(case: Case, device: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        inputs = case.inputs(dtype, device, requires_grad=True)
        expected = described(case, inputs)
        assert described(case, map(on_meta, inputs)) == expected
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert described(case, map(mode.from_tensor, inputs)) == expected
