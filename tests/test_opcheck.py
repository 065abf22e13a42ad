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

# One case for every op, every reduction and every loss; as logits, other layouts too.
LAYOUTS = {"no_rows", "several_dims_apart", "broadcast_both", "no_tables", "four_dims"}
BASIC = [c for c in BASIC_CASES if set(c.kinds) <= {"logits"}]


def is_sample(case: Case) -> bool:
    if not case.op.kinds:
        return case.name in {"mean", "weighted", "soft_smoothed", "log_target"}
    if case in BASIC:
        return True
    is_mean = case.options.get("reduction", "mean") == "mean"
    return is_mean and case.name in LAYOUTS and set(case.kinds) == {"logits"}


SAMPLES = [case for case in CASES if is_sample(case)]

SCHEMAS = """
entropy(Tensor p, int[1] dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None, float temperature=1.0) -> Tensor
cross_entropy(Tensor p, Tensor q, int[1] dim=-1, *, str kind="probs", str? q_kind=None, float? base=None, bool keepdim=False, ScalarType? dtype=None, float temperature=1.0) -> Tensor
kl_divergence(Tensor p, Tensor q, int[1] dim=-1, *, str kind="probs", str? q_kind=None, float? base=None, bool keepdim=False, ScalarType? dtype=None, float temperature=1.0) -> Tensor
js_divergence(Tensor p, Tensor q, int[1] dim=-1, *, str kind="probs", str? q_kind=None, float? base=None, bool keepdim=False, ScalarType? dtype=None, float weight=0.5, float temperature=1.0) -> Tensor
joint_entropy(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
conditional_entropy(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
variation_of_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
conditional_mutual_information(Tensor joint, int[1] x_dim=-3, int[1] y_dim=-2, int[1] z_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
total_correlation(Tensor joint, int[] dims, int[]? lengths=None, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
dual_total_correlation(Tensor joint, int[] dims, int[]? lengths=None, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
co_information(Tensor joint, int[] dims, int[]? lengths=None, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
normalized_mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str average="arithmetic", str kind="probs", bool keepdim=False, ScalarType? dtype=None) -> Tensor
lautum_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, bool keepdim=False, ScalarType? dtype=None) -> Tensor
positive_pointwise_mutual_information(Tensor joint, int[1] x_dim=-2, int[1] y_dim=-1, *, str kind="probs", float? base=None, ScalarType? dtype=None) -> Tensor
binary_entropy(Tensor p, *, str kind="probs", float? base=None, ScalarType? dtype=None) -> Tensor
joint_table(Tensor x, Tensor y, SymInt? num_x=None, SymInt? num_y=None, *, Tensor? weight=None, int dim=-1, ScalarType? dtype=None) -> Tensor
joint_table.columns(Tensor columns, SymInt[] sizes, *, Tensor? weight=None, int dim=-1, ScalarType? dtype=None) -> Tensor
soft_joint_histogram(Tensor x, Tensor y, int bins, float[]? x_range=None, float[]? y_range=None, *, str kernel="cubic", Tensor? mask=None, int dim=-1) -> Tensor
cross_entropy_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, float label_smoothing=0.0, *, ScalarType? dtype=None, float temperature=1.0) -> Tensor
nll_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, *, ScalarType? dtype=None) -> Tensor
kl_div(Tensor input, Tensor target, int reduction=1, *, bool log_target=False, ScalarType? dtype=None) -> Tensor
"""  # noqa: E501


@pytest.mark.parametrize("schema", SCHEMAS.strip().splitlines(), ids=lambda s: s.split("(")[0])
def test_schema(schema: str) -> None:
    """The published schema, as torch prints it."""
    name, _, overload_name = schema.split("(")[0].partition(".")
    overload = getattr(getattr(torch.ops.torch_infotheory, name), overload_name or "default")
    assert overload._schema == torch._C.parse_schema("torch_infotheory::" + schema)


def check(case: Case, inputs: list[Tensor], **options: Any) -> None:
    options = case.op.dispatcher_options(case.options_like(inputs[0]) | options)
    opcheck(case.op.overload, inputs, options)


@pytest.mark.transform("opcheck")
@pytest.mark.parametrize("case", SAMPLES, ids=str)
def test_public_op(case: Case, device: str) -> None:
    check(case, case.inputs(torch.float32, device, requires_grad=True))


@pytest.mark.transform("opcheck")
@pytest.mark.parametrize("case", BASIC, ids=str)
def test_options(case: Case, device: str) -> None:
    """All that the ops have in common, at once, without a gradient and from half precision."""
    options = {"base": 2.0, "keepdim": True, "dtype": torch.float64}
    options = {name: value for name, value in options.items() if case.op.takes(name)}
    check(case, case.inputs(torch.bfloat16, device), **options)


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


# Below the composites a kind is a number, which is no business of a registration; and a loss calls
# the row op of its measure, but for the reduction.
ROW_SAMPLES = [
    case
    for case in SAMPLES
    if not case.op.kinds or (case in BASIC and case.options.get("reduction", "sum") == "sum")
]


@pytest.mark.transform("opcheck of its row ops")
@pytest.mark.parametrize("case", ROW_SAMPLES, ids=str)
def test_row_ops(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float32, device, requires_grad=True)
    with PrivateCalls() as calls:
        case(*inputs).sum().backward()
    passes = {op.name().endswith("_backward") for op, *_ in calls.seen}
    assert passes == {False, True} or (case.op.in_float64 and not passes)
    for op, args, kwargs in calls.seen:
        opcheck(op, args, kwargs)
