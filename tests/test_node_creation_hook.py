"""`torch.autograd.graph.node_creation_hook` of torch 2.14 sees the nodes of every op, once each."""

import re
from collections.abc import Iterable

import pytest
import torch
from ops import BASIC_CASES, Case
from torch import Tensor
from torch.autograd.graph import Node

if not hasattr(torch.autograd.graph, "node_creation_hook"):
    pytest.skip(
        f"torch {torch.__version__} has no node_creation_hook, which came with 2.14",
        allow_module_level=True,
    )


def nodes_behind(outputs: Iterable[Tensor]) -> set[Node]:
    """The graph of the outputs, found by walking it."""
    found: set[Node] = set()
    ahead = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead += [parent for parent, _ in node.next_functions if parent is not None]
    return found


def names(nodes: Iterable[Node]) -> list[str]:
    return sorted(node.name() for node in nodes)


@pytest.mark.parametrize("case", BASIC_CASES, ids=str)
def test_hook_sees_forward_and_backward_nodes(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float64, device, requires_grad=True)
    created: list[Node] = []
    with torch.autograd.graph.node_creation_hook(created.append):
        value = case(*inputs)
        forward = nodes_behind([value])
        made = list(created)
        gradients = torch.autograd.grad(value.sum(), inputs, create_graph=True)
    if case.op.name.startswith("renyi_"):  # a composition, some of whose results are not used
        assert forward <= set(made)
    else:
        assert names(made) == names(forward)
        # torch's own nodes end in a digit.
        assert any(re.fullmatch("[a-z_]+Backward", name) for name in names(forward))

    # Some nodes of the second graph, such as those of intermediate results, are behind no gradient.
    unseen = nodes_behind(gradients) - set(created)
    assert not unseen, names(unseen)
    assert len(set(created)) == len(created)


def test_a_hook_of_the_node_runs_in_backward(device: str) -> None:
    logits = torch.randn(3, 5, device=device, requires_grad=True)
    ran: list[str] = []

    def register(node: Node) -> None:
        node.register_prehook(lambda _: ran.append(node.name()))

    with torch.autograd.graph.node_creation_hook(register):
        loss = torch.ops.torch_infotheory.entropy_loss(logits)
    assert ran == []
    loss.backward()
    assert ran[0] == "entropyBackward"
