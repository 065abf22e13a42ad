"""What torch offers to every op: autocast, inference mode, checkpoints, hooks, threads, profiles.

Gradients are compared with those of the op's composition, so that nothing is right by being absent.
"""

import copy
import functools
import pickle
import re
import threading
from collections.abc import Callable

import pytest
import torch
from ops import DTYPES, Case
from test_compile import OF_ROW_OPS, ONE_OF_EACH, Calls
from test_transforms import Inputs, Pair
from torch import Tensor
from torch.utils.checkpoint import checkpoint

OURS = "torch_infotheory"

each_op = pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)


class Differentiated(Pair):
    """A pair with inputs that collect gradients, and the gradients that they should collect."""

    def __init__(self, case: Case, device: str) -> None:
        super().__init__(case, device)
        self.inputs = tuple(x.clone() for x in self.inputs)
        for number in self.numbers:
            self.inputs[number].requires_grad_()
        self.expected = self.gradients(self.theirs)
        assert all(gradient.count_nonzero() for gradient in self.expected)

    @property
    def wanted(self) -> Inputs:
        return tuple(self.inputs[number] for number in self.numbers)

    def loss(self, f: Callable[..., Tensor]) -> Tensor:
        return f(*self.inputs).cos().sum()

    def gradients(self, f: Callable[..., Tensor]) -> Inputs:
        return torch.autograd.grad(self.loss(f), self.wanted)

    def assert_expected(self, gradients: Inputs) -> None:
        torch.testing.assert_close(gradients, self.expected, rtol=1e-9, atol=1e-11)


# Autocast


@pytest.mark.transform("autocast")
@each_op
def test_autocast(case: Case, device: str) -> None:
    """float32, or float64 of float64, without a copy of the inputs."""
    for dtype in DTYPES:
        inputs = case.inputs(dtype, device, requires_grad=True)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        with torch.autocast(device, dtype=torch.bfloat16), Calls() as calls:
            value = case(*inputs)
        assert value.dtype == wide
        assert torch.equal(value, case(*inputs, dtype=wide))
        written = [x for op, outputs in calls.seen if op.namespace != OURS for x in outputs]
        assert case.op.in_float64 or all(x.numel() < inputs[0].numel() for x in written)
        gradients = torch.autograd.grad(value.sum(), inputs)
        assert [gradient.dtype for gradient in gradients] == [dtype] * len(inputs)


@pytest.mark.parametrize("case", [c for c in ONE_OF_EACH if not c.op.kinds], ids=str)
def test_autocast_as_torch(case: Case, device: str) -> None:
    theirs = getattr(torch.nn.functional, case.op.function.__name__)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        inputs = case.inputs(dtype, device)
        with torch.autocast(device, dtype=torch.bfloat16):
            assert case(*inputs).dtype == theirs(*inputs, **case.options_like(inputs[0])).dtype


# Grad mode


@pytest.mark.transform("inference_mode")
@each_op
def test_inference_mode(case: Case, device: str) -> None:
    pair = Differentiated(case, device)
    with torch.inference_mode():
        value = pair.ours(*pair.inputs)
    assert value.is_inference() and not value.requires_grad
    torch.testing.assert_close(value, pair.theirs(*pair.inputs).detach())


@pytest.mark.transform("checkpoint")
@each_op
@pytest.mark.parametrize("use_reentrant", (False, True))
def test_checkpoint(case: Case, device: str, use_reentrant: bool) -> None:
    pair = Differentiated(case, device)

    def checkpointed(*inputs: Tensor) -> Tensor:
        return checkpoint(pair.ours, *inputs, use_reentrant=use_reentrant)

    pair.loss(checkpointed).backward()
    pair.assert_expected(tuple(x.grad for x in pair.wanted))


# What a graph keeps


@pytest.mark.transform("saved_tensors_hooks")
@each_op
def test_saved_tensors_hooks(case: Case, device: str) -> None:
    pair, packed = Differentiated(case, device), []

    def pack(x: Tensor) -> int:
        packed.append(x.detach().clone())
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, packed.__getitem__):
        value = pair.ours(*pair.inputs)
    kept = len(packed)
    pair.assert_expected(torch.autograd.grad(value, pair.wanted, -value.detach().sin()))
    assert kept == len(packed) >= len(pair.inputs)


@pytest.mark.transform("retain_graph")
@each_op
def test_retain_graph(case: Case, device: str) -> None:
    pair = Differentiated(case, device)
    loss = pair.loss(pair.ours)
    for _ in range(2):
        pair.assert_expected(torch.autograd.grad(loss, pair.wanted, retain_graph=True))
    torch.autograd.grad(loss, pair.wanted)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, pair.wanted)


@pytest.mark.transform("in-place edits are noticed")
@pytest.mark.parametrize("case", OF_ROW_OPS, ids=str)  # others save copies of their own
def test_version_check(case: Case, device: str) -> None:
    pair = Differentiated(case, device)
    for edited in range(len(pair.inputs)):
        inputs = [x.clone() for x in pair.inputs]
        value = pair.ours(*inputs)
        with torch.no_grad():
            inputs[edited].mul_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.sum().backward()


@pytest.mark.transform("anomaly mode")
@each_op
def test_anomaly_mode(case: Case, device: str) -> None:
    """It names the node that returns the NaN, and the line that made the node."""
    pair = Differentiated(case, device)
    with torch.autograd.set_detect_anomaly(True):
        pair.assert_expected(pair.gradients(pair.ours))
        value = pair.ours(*pair.inputs)
        node = value.grad_fn.name()
        with (
            pytest.raises(RuntimeError, match=f"'{node}' returned nan values"),
            pytest.warns(UserWarning, match=f"Error detected in {node}"),
        ):
            value.backward(torch.full_like(value, torch.nan))
    function_of_ours = case.op.is_root or case.op.in_float64 or case.op.name == "perplexity"
    assert re.fullmatch("[a-z_]+Backward", node) or function_of_ours


# Threads and profiles


@pytest.mark.transform("threads")
@each_op
def test_threads(case: Case, device: str) -> None:
    """Several threads differentiate one graph, and graphs of their own."""
    pair = Differentiated(case, device)
    shared = pair.loss(pair.ours)
    results: list[Inputs] = []

    def work() -> None:
        for _ in range(5):
            results.append(torch.autograd.grad(shared, pair.wanted, retain_graph=True))
            results.append(pair.gradients(pair.ours))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    for result in results:
        pair.assert_expected(result)


@pytest.mark.transform("profiler names")
@pytest.mark.parametrize("case", OF_ROW_OPS, ids=str)
def test_profiler(case: Case, device: str) -> None:
    pair = Differentiated(case, device)
    value = pair.ours(*pair.inputs)
    with torch.profiler.profile() as profile:
        pair.ours(*pair.inputs)
        value.sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert f"{OURS}::{case.op.name}" in names
    (node,) = {name for name in names if re.fullmatch("[a-z_]+Backward", name)}
    row_op = node.removesuffix("Backward")
    both = "_both" if device == "cpu" and len(pair.numbers) == 2 else ""
    assert {f"{OURS}::_{row_op}", f"{OURS}::_{row_op}_backward{both}"} <= names


# Copies


@pytest.mark.transform("deepcopy, pickle")
@each_op
def test_copies(case: Case, device: str) -> None:
    """Of a result and of the function."""
    pair = Differentiated(case, device)
    value = pair.ours(*pair.inputs).detach()
    for copied in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        assert torch.equal(copied(value), value)
        function = copied(functools.partial(case.op.function, **case.options_like(pair.inputs[0])))
        assert torch.equal(function(*(pair.inputs[i] for i in pair.numbers)), value)
