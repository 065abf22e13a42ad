"""The registrations of every op, as torch.library.opcheck sees them, and its schema.

opcheck compares with NaN different from NaN: no sample here has one.
"""

from typing import Any

import pytest
import torch
from ops import BASIC_CASES, CASES, Case
from torch import Tensor
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

# One case for every op; as logits, the other ways to find the classes too.
LAYOUTS = {"no_rows", "several_dims_apart", "broadcast_both", "no_tables", "four_dims"}
SAMPLES = [
    case
    for case in CASES
    if (case in BASIC_CASES and set(case.kinds) != {"log_probs"})
    or (case.name in LAYOUTS and set(case.kinds) == {"logits"})
    if len(set(case.kinds)) <= 1 and case.options.get("reduction", "mean") == "mean"
]

SCHEMAS = """
entropy(Tensor p, int[1] dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
cross_entropy(Tensor p, Tensor q, int[1] dim=-1, *, str kind="probs", str? q_kind=None, float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
kl_divergence(Tensor p, Tensor q, int[1] dim=-1, *, str kind="probs", str? q_kind=None, float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
js_divergence(Tensor p, Tensor q, int[1] dim=-1, *, str kind="probs", str? q_kind=None, float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
joint_entropy(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
conditional_entropy(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
variation_of_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
cross_entropy_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, float label_smoothing=0.0, *, ScalarType? dtype=None) -> Tensor
nll_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, *, ScalarType? dtype=None) -> Tensor
kl_div(Tensor input, Tensor target, int reduction=1, *, bool log_target=False, ScalarType? dtype=None) -> Tensor
"""  # noqa: E501


@pytest.mark.parametrize("schema", SCHEMAS.strip().splitlines(), ids=lambda s: s.split("(")[0])
def test_schema(schema: str) -> None:
    """The published schema, as torch prints it."""
    overload = getattr(torch.ops.torch_infotheory, schema.split("(")[0]).default
    assert overload._schema == torch._C.parse_schema("torch_infotheory::" + schema)


@pytest.mark.parametrize("case", SAMPLES, ids=str)
def test_public_op(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float32, device, requires_grad=True)
    opcheck(case.op.overload, inputs, case.op.dispatcher_options(case.options_like(inputs[0])))


class PrivateCalls(TorchDispatchMode):
    """Notes the calls that arrive below the composites: the row ops and their backwards."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, tuple, dict]] = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        if op.namespace == "torch_infotheory":
            self.seen.append((op, *tree_map_only(Tensor, fresh, (args, kwargs))))
        return op(*args, **kwargs)


def fresh(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_(x.requires_grad)


# Below the composites a kind is a number, which is no business of a registration.
ROW_SAMPLES = [c for c in SAMPLES if c in BASIC_CASES and set(c.kinds) != {"probs"}]


@pytest.mark.parametrize("case", ROW_SAMPLES, ids=str)
def test_row_ops(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float32, device, requires_grad=True)
    with PrivateCalls() as calls:
        case(*inputs).sum().backward()
    assert {op.name().endswith("_backward") for op, *_ in calls.seen} == {False, True}
    for op, args, kwargs in calls.seen:
        opcheck(op, args, kwargs)
