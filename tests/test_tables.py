"""Joint tables of labels, beside counting one by one."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import torch_infotheory as ti

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def counted(columns: Tensor, sizes: tuple[int, ...], weight: Tensor | None = None) -> np.ndarray:
    """(V, N) labels, one after the other."""
    table = np.zeros(sizes)
    for n, cell in enumerate(columns.T.tolist()):
        if min(cell) >= 0:
            table[tuple(int(label) for label in cell)] += 1 if weight is None else weight[n].item()
    return table


def labels(*shape: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_dtype(dtype):
    x, y = labels(50, classes=2).to(dtype), labels(50, classes=2, seed=1).to(dtype)
    table = ti.joint_table(x, y)
    assert table.dtype == torch.int64
    np.testing.assert_array_equal(table, counted(torch.stack([x, y]), (2, 2)))


def test_two_dtypes_and_sizes_that_are_given():
    x, y = labels(50, classes=3), labels(50, classes=4, seed=1).to(torch.int16)
    expected = counted(torch.stack([x, y]), (5, 4))
    np.testing.assert_array_equal(ti.joint_table(x, y, 5), expected)
    np.testing.assert_array_equal(ti.joint_table(x, y, num_x=5, num_y=4), expected)


def test_labels_below_0_are_left_out():
    x, y = labels(100, classes=5) - 2, labels(100, classes=5, seed=1) - 1
    expected = counted(torch.stack([x, y]), (3, 4))
    assert 0 < expected.sum() < 100
    np.testing.assert_array_equal(ti.joint_table(x, y), expected)


@pytest.mark.parametrize("dim", (-1, 0, 1))
def test_batch(dim):
    x, y = labels(4, 3, 20, classes=3), labels(3, 20, classes=4, seed=1)
    columns = torch.stack(torch.broadcast_tensors(x, y), 2)  # (4, 3, V, N)
    expected = [[counted(pair, (3, 4)) for pair in row] for row in columns]
    table = ti.joint_table(x.movedim(-1, dim), y.expand(4, 3, 20).movedim(-1, dim), 3, 4, dim=dim)
    np.testing.assert_array_equal(table, expected)
    if dim == -1:
        np.testing.assert_array_equal(ti.joint_table(x, y, 3, 4), expected)
        np.testing.assert_array_equal(ti.joint_table(columns, (3, 4)), expected)


def test_columns_of_three_variables():
    columns = torch.stack([labels(200, classes=n, seed=n) for n in (2, 3, 4)])
    np.testing.assert_array_equal(ti.joint_table(columns, (2, 3, 4)), counted(columns, (2, 3, 4)))
    np.testing.assert_array_equal(
        ti.joint_table(columns.T, [2, 3, 4], dim=0), counted(columns, (2, 3, 4))
    )


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32, torch.float64))
def test_weights_have_their_dtype_and_are_added_wide(dtype):
    x, y = labels(5000, classes=2), labels(5000, classes=3, seed=1)
    weight = torch.rand(5000, generator=torch.Generator().manual_seed(2)).to(dtype)
    table = ti.joint_table(x, y, weight=weight)
    assert table.dtype == dtype
    expected = counted(torch.stack([x, y]), (2, 3), weight.double())
    error = {torch.float16: 1e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-5)
    np.testing.assert_allclose(table.double(), expected, rtol=error)
    assert ti.joint_table(x, y, weight=weight, dtype=torch.float64).dtype == torch.float64


def test_dtype_of_counts():
    x = labels(10, classes=2)
    assert ti.joint_table(x, x, dtype=torch.float32).dtype == torch.float32


def test_weights_of_a_batch_of_labels():
    x, y = labels(3, 20, classes=2), labels(3, 20, classes=2, seed=1)
    weight = torch.rand(20, dtype=torch.float64)
    expected = [counted(torch.stack(pair), (2, 2), weight) for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(ti.joint_table(x, y, weight=weight), expected, rtol=1e-12)
    one = ti.joint_table(x[0], y[0], weight=weight.expand(4, 20))
    np.testing.assert_allclose(one, [expected[0]] * 4, rtol=1e-12)


def test_gradient_by_weight():
    x, y = labels(2, 10, classes=3) - 1, labels(2, 10, classes=2, seed=1)
    weight = torch.rand(2, 10, dtype=torch.float64, requires_grad=True)

    def table(weight: Tensor) -> Tensor:
        return ti.joint_table(x, y, 2, 2, weight=weight)

    assert gradcheck(table, weight, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(table, weight)
    information = ti.mutual_information(table(weight) / table(weight).sum((1, 2), keepdim=True))
    (gradient,) = torch.autograd.grad(information.sum(), weight)
    assert torch.equal(gradient == 0, x < 0)
    batch = torch.rand(5, 2, 10)
    assert torch.equal(torch.func.vmap(table)(batch), torch.stack([table(w) for w in batch]))


def test_repeats_bit_for_bit_on_any_number_of_threads(threads):
    x, y = labels(100_000, classes=7), labels(100_000, classes=5, seed=1)
    weight = torch.randn(100_000)
    torch.set_num_threads(1)
    first = ti.joint_table(x, y, weight=weight)
    torch.set_num_threads(4)
    assert torch.equal(ti.joint_table(x, y, weight=weight), first)


def test_nothing_to_count():
    none = torch.empty(0, dtype=torch.int64)
    assert torch.equal(ti.joint_table(none, none, 2, 3), torch.zeros(2, 3, dtype=torch.int64))
    assert ti.joint_table(none, none).shape == (0, 0)
    assert ti.joint_table(labels(0, 5, classes=2), labels(0, 5, classes=2), 2, 2).shape == (0, 2, 2)
    assert torch.equal(
        ti.joint_table(torch.tensor([-1]), torch.tensor([0]), 1, 1), none.new_zeros(1, 1)
    )


def test_entropies_of_a_table_that_was_counted():
    x, y = labels(1000, classes=4), labels(1000, classes=4, seed=1)
    both = ti.joint_table(x, y) / 1000
    np.testing.assert_array_equal(both.sum(1), torch.bincount(x) / 1000)
    # Whatever the order of the samples.
    order = torch.randperm(1000)
    assert torch.equal(ti.joint_table(x[order], y[order]), ti.joint_table(x, y))


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("weighted", (False, True))
def test_compile(weighted: bool, dynamic: bool):
    """In one graph: with sizes, and of pairs without."""
    torch._dynamo.reset()
    x, y = labels(2, 50, classes=3) - 1, labels(2, 50, classes=4, seed=1)
    w = torch.rand(2, 50) if weighted else None

    def every(x: Tensor, y: Tensor, w: Tensor | None) -> tuple[Tensor, ...]:
        columns = torch.stack([x, y, x], -2)
        pairs = ti.joint_table(x, y, 2, 4, weight=w)
        more = ti.joint_table(columns, (2, 4, 2), weight=w)
        return (pairs, more, pairs if weighted else ti.joint_table(x, y))

    compiled = torch.compile(every, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for n in (40, 50):
        given = x[:, :n], y[:, :n], w if w is None else w[:, :n]
        for found, expected in zip(compiled(*given), every(*given), strict=True):
            torch.testing.assert_close(found, expected)


def test_vmap_by_labels():
    x, y = labels(3, 20, classes=3) - 1, labels(3, 20, classes=4, seed=1)
    w = torch.rand(3, 20)
    table = torch.func.vmap(lambda x, y, w: ti.joint_table(x, y, 2, 4, weight=w))(x, y, w)
    torch.testing.assert_close(table, ti.joint_table(x, y, 2, 4, weight=w))


def test_opcheck_and_meta():
    ops = torch.ops.torch_infotheory
    x, y = labels(3, 20, classes=3) - 1, labels(3, 20, classes=4, seed=1)
    w = torch.rand(3, 20, requires_grad=True)
    torch.library.opcheck(ops.joint_table.default, (x, y, 2, 4), {"weight": w})
    torch.library.opcheck(ops.joint_table.columns, (torch.stack([x, y, x], -2), (2, 4, 2)))
    on_meta = [v.to("meta") for v in (x, y, w)]
    assert ti.joint_table(*on_meta[:2], 2, 4).dtype == torch.int64
    weighted = ti.joint_table(*on_meta[:2], 2, 4, weight=on_meta[2])
    assert weighted.shape == (3, 2, 4) and weighted.dtype == torch.float32


BAD = [
    ((torch.tensor([0, 3]), torch.tensor([0, 1]), 3), {}, IndexError, "label 3 .* 3 classes"),
    ((torch.tensor([0, 3]), torch.tensor([0, 1]), 4, 1), {}, IndexError, "label 1 .* 1 classes"),
    ((torch.tensor([0.5]), torch.tensor([0])), {}, TypeError, "x to have labels .*Float"),
    ((torch.tensor([0]), torch.tensor([0j])), {}, TypeError, "y to have labels .*ComplexFloat"),
    (([0], torch.tensor([0])), {}, TypeError, "x to be a tensor, got .*list"),
    ((torch.tensor([0]), 3), {}, TypeError, "y to be a tensor of labels, or the number"),
    ((torch.zeros(2, 3).int(), torch.zeros(4, 3).int()), {}, RuntimeError, "do not broadcast"),
    ((torch.tensor([0]), torch.tensor([0])), {"dtype": "int64"}, TypeError, "a torch.dtype"),
    ((torch.tensor([0]), torch.tensor([0, 1])), {}, RuntimeError, r"\[1\] and \[2\]"),
    ((torch.tensor(0), torch.tensor(0)), {}, RuntimeError, "samples along a dimension"),
    ((torch.tensor([0]), torch.tensor([0]), -1), {}, ValueError, "-1"),
    ((torch.tensor([[0], [1]]), (2, 2, 2)), {}, RuntimeError, "3 sizes"),
    ((torch.tensor([[0], [1]]), (2, 2.0)), {}, TypeError, "sizes"),
    ((torch.tensor([[0], [1]]), (2, 2), 2), {}, TypeError, "num_x"),
    (
        (torch.tensor([0]), torch.tensor([0])),
        {"weight": torch.tensor([1])},
        TypeError,
        "weight to be .*Long",
    ),
    (
        (torch.tensor([0]), torch.tensor([0])),
        {"weight": [1.0]},
        TypeError,
        "weight to be a tensor, got .*list",
    ),
    (
        (torch.tensor([0]), torch.tensor([0])),
        {"weight": torch.rand(3)},
        RuntimeError,
        r"as many samples along dim -1, got \[1\] and \[1\] and \[3\]",
    ),
    ((torch.tensor([0]), torch.tensor([0])), {"dim": 1}, IndexError, "out of range"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ti.joint_table(*arguments, **options)


def test_all_cells_of_a_product_are_counted_once():
    cells = torch.tensor(list(itertools.product(range(3), range(2), range(4)))).T
    assert torch.equal(ti.joint_table(cells, (3, 2, 4)), torch.ones(3, 2, 4, dtype=torch.int64))
