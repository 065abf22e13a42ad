"""Results repeat bit for bit and do not depend on the number of threads."""

import pytest
import torch
from ops import OPS, Case, Layout, Op, loss_case, measure_case, random, state

# Each has more numbers than one thread keeps for itself, and no number of rows that 2 or 4 divides.
ROWS = (
    Layout("long_rows", (131, 1025)),
    Layout("short_rows", (19997, 7)),
    Layout("inside", (3, 97, 515), {"dim": 1}),
    Layout("two_rows", (2, 100_003)),
    Layout("one_row", (200_003,)),
    Layout("long_inside", (2, 30_011, 3), {"dim": 1}),
)
TABLES = (Layout("tables", (41, 50, 70)), Layout("one_table", (401, 399)))
LABELLED = {
    "long_rows": (131, 1025),
    "short_rows": (19997, 7),
    "two_rows": (2, 100_003),
    "images": (5, 97, 515),
    "long_inside": (2, 30_011, 3),
}


def large_cases(op: Op) -> list[Case]:
    if op.kinds:
        layouts = TABLES if "x_dim" in op.dims else ROWS
        same = [kinds for kinds in op.kinds if len(set(kinds)) == 1]
        return [measure_case(op, same[-1], layout) for layout in layouts] + [
            measure_case(op, kinds, layouts[0]) for kinds in same[:-1]
        ]
    cases = []
    for name, shape in LABELLED.items():
        input = state(random(*shape), 1, "log_probs")
        target = torch.arange(input.numel() // shape[1]).view(shape[:1] + shape[2:]) % shape[1]
        second = (state(random(*shape, seed=1), 1, "probs"),) if op.name == "kl_div" else ()
        options = {} if second else {"target": target}
        cases.append(loss_case(op, name, input, *second, **options))
        if op.name == "cross_entropy_loss":
            weight = random(shape[1], seed=2).exp()
            smooth = {"weight": weight, "label_smoothing": 0.1}
            cases.append(loss_case(op, f"{name}_smoothed", input, target=target, **smooth))
            soft = state(random(*shape, seed=1), 1, "probs")
            cases.append(loss_case(op, f"{name}_soft", input, soft))
    return cases


# Operations of torch divide a long row among the threads.
LARGE_CASES = [case for op in OPS if not op.in_float64 for case in large_cases(op)]


@pytest.mark.parametrize("case", LARGE_CASES, ids=str)
def test_repeats_with_any_number_of_threads(case: Case, device: str, threads: None) -> None:
    results = []
    for number in (1, 2, 4, 2):
        torch.set_num_threads(number)
        inputs = case.inputs(torch.float32, device, requires_grad=True)
        value = case(*inputs)
        results.append((value, *torch.autograd.grad(value.sum(), inputs)))
    assert results[0][0].isfinite().all() and results[0][1].abs().max() > 0
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
