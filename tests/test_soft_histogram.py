"""Soft joint histograms, beside the dense formula of a Parzen window: every sample, every cell."""

import itertools
import math

import numpy as np
import pytest
import torch
from ops import moved
from scipy.interpolate import BSpline
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import torch_infotheory as ti
from torch_infotheory import nn

KERNELS = ("linear", "cubic", "gaussian")
INSIDE = {"linear": 0, "cubic": 1, "gaussian": 2}  # how far the ends of the range lie inside
FALLBACK = torch._C.DispatchKey.CompositeExplicitAutograd


def window(distance: Tensor, kernel: str) -> Tensor:
    d = distance.abs()
    if kernel == "linear":
        return (1 - d).clamp(min=0)
    if kernel == "cubic":
        near = 2 / 3 - d**2 + d**3 / 2
        return torch.where(d < 1, near, (2 - d).clamp(min=0) ** 3 / 6)
    density = torch.where(d <= 3, torch.exp(-(d**2) / 2), 0.0)
    return density / density.sum(-1, keepdim=True)


def dense(x, y, bins, range=None, kernel="cubic", mask=None) -> Tensor:
    """(..., N) samples, in float64."""
    weights = []
    for i, v in enumerate((x, y)):
        v = v.double()
        if range is None:
            kept = v.detach() if mask is None else v.detach()[mask].view(*v.shape[:-1], -1)
            low, high = kept.amin(-1, True), kept.amax(-1, True)
        else:
            low, high = range[i]
        inside = torch.where(v < low, low, torch.where(v > high, high, v))
        unit = (inside - low) / (high - low)
        place = INSIDE[kernel] + unit * (bins - 1 - 2 * INSIDE[kernel])
        weights.append(window(place.unsqueeze(-1) - torch.arange(bins), kernel))
    a, b = weights
    count = x.shape[-1]
    if mask is not None:
        a = torch.where(mask.unsqueeze(-1), a, 0.0)
        count = mask.sum(-1).view(*mask.shape[:-1], 1, 1)
    return a.transpose(-1, -2) @ torch.nan_to_num(b) / count


def without_kinks(gradient: Tensor, x: Tensor, kernel: str, ends: tuple[float, float]) -> Tensor:
    """The linear window has a kink at the ends, where autograd of the dense formula takes 0."""
    at_end = (x.detach() == ends[0]) | (x.detach() == ends[1])
    return gradient.double().masked_fill(at_end, 0) if kernel == "linear" else gradient.double()


def samples(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    y = 0.7 * x + 0.7 * torch.randn(shape, dtype=torch.float64, generator=generator)
    return x.to(dtype), y.to(dtype)


def test_windows_are_what_others_compute():
    places = torch.linspace(-3, 3, 61, dtype=torch.float64)
    spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)(places.numpy())
    np.testing.assert_allclose(window(places, "cubic"), np.nan_to_num(spline), atol=1e-15)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bins, n", [(6, 1), (7, 50), (32, 3000), (33, 70_000)])
def test_values(kernel: str, bins: int, n: int):
    x, y = samples(n)
    range = ((-3.0, 4.0), (-2.0, 3.0)) if n == 1 else None
    table = ti.soft_joint_histogram(x, y, bins, range, kernel=kernel)
    assert table.dtype == torch.float64
    assert_close(table, dense(x, y, bins, range, kernel), rtol=1e-11, atol=1e-15)
    assert_close(table.sum(), torch.tensor(1.0).double())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
def test_dtypes(kernel: str, dtype: torch.dtype):
    x, y = samples(5000, dtype=dtype)
    x.requires_grad_()
    table = ti.soft_joint_histogram(x, y, 20, kernel=kernel)
    assert table.dtype == torch.float32
    assert_close(table.double(), dense(x, y, 20, None, kernel), rtol=1e-6, atol=1e-9)
    ti.mutual_information(table).backward()
    assert x.grad.dtype == dtype
    other = x.detach().double().requires_grad_()
    ti.mutual_information(dense(other, y, 20, None, kernel)).backward()
    digits = {torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-4)
    size = other.grad.abs().max().item()
    assert size > 1e-5
    # The least of float16 is 6e-8, and the gradient of one sample is small.
    pair = (without_kinks(g, x, kernel, x.detach().aminmax()) for g in (x.grad, other.grad))
    assert_close(*pair, rtol=digits, atol=1e-7 + 1e-5 * size)


def test_two_dtypes():
    x, y = samples(100)
    table = ti.soft_joint_histogram(x.float(), y, 10)
    assert table.dtype == torch.float64
    assert_close(table, dense(x.float(), y, 10))


@pytest.mark.parametrize("kernel", KERNELS)
def test_batch_mask_and_ranges(kernel: str):
    x, y = samples(2, 3, 40)
    mask = torch.rand(40, generator=torch.Generator().manual_seed(1)) < 0.7
    mask = mask.expand(2, 3, 40)
    for range in (None, ((-1.0, 1.5), (-0.5, 0.75))):
        expected = dense(x, y, 9, range, kernel, mask)
        table = ti.soft_joint_histogram(x, y, 9, range, kernel=kernel, mask=mask[0])
        assert_close(table, expected)
        left_out = torch.where(mask, x, math.nan)
        with_nan = ti.soft_joint_histogram(left_out, y, 9, range, kernel=kernel, mask=mask)
        assert torch.equal(with_nan, table)
        x0, y0, mask0 = (v.movedim(-1, 0) for v in (x, y, mask))
        turned = ti.soft_joint_histogram(x0, y0, 9, range, kernel=kernel, mask=mask0, dim=0)
        assert torch.equal(turned, table)
    assert_close(
        ti.soft_joint_histogram(x, y, 9, (-1, 1.5), kernel=kernel),
        dense(x, y, 9, ((-1.0, 1.5),) * 2, kernel),
    )
    of_y = ti.soft_joint_histogram(x[0, 0], y[0, 0], 9, (None, (-0.5, 0.75)), kernel=kernel)
    low, high = x[0, 0].min().item(), x[0, 0].max().item()
    assert_close(of_y, dense(x[0, 0], y[0, 0], 9, ((low, high), (-0.5, 0.75)), kernel))


def test_strided_and_broadcast():
    x, y = samples(4, 3, 50)
    one = y[:1, :1].expand(4, 3, 50)
    expected = dense(x, one, 8)
    assert_close(ti.soft_joint_histogram(x, y[0, 0], 8), expected)
    wide = torch.empty(4, 50, 6, dtype=torch.float64)[..., ::2].permute(0, 2, 1)
    wide.copy_(x)
    assert_close(ti.soft_joint_histogram(wide, one, 8), expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("masked", (False, True))
def test_gradients_of_any_order(kernel: str, masked: bool):
    x, y = (v.requires_grad_() for v in samples(2, 7))
    mask = torch.tensor([True] * 5 + [False] * 2) if masked else None
    # Beyond the ends, where a sample does not move the table.
    range = ((-0.9, 1.21), (-1.3, 1.17))

    def table(x: Tensor, y: Tensor) -> Tensor:
        return ti.soft_joint_histogram(x, y, 7, range, kernel=kernel, mask=mask)

    def reference(x: Tensor, y: Tensor) -> Tensor:
        return dense(x, y, 7, range, kernel, mask if mask is None else mask.expand(2, 7))

    assert gradcheck(table, (x, y), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(table, (x, y), check_fwd_over_rev=True, check_rev_over_rev=True)
    assert_close(table(x, y), reference(x, y))
    if kernel == "linear":
        return  # its first derivative is constant

    def third(f) -> Tensor:
        value = (f(x, y) ** 2).sum()
        for _ in (0, 1, 2):
            (value,) = torch.autograd.grad((value * (1 + value)).sum(), x, create_graph=True)
        return value

    expected = third(reference)
    assert expected.abs().max() > 1e-3
    assert_close(third(table), expected)


def test_gradient_by_the_ends_is_not_taken():
    x, y = (v.requires_grad_() for v in samples(20))
    weight = torch.randn(10, 10, dtype=torch.float64)
    grads = torch.autograd.grad((ti.soft_joint_histogram(x, y, 10) * weight).sum(), (x, y))
    expected = torch.autograd.grad((dense(x, y, 10) * weight).sum(), (x, y))
    assert_close(grads, expected)


def test_gaussian_has_derivatives_up_to_order_8():
    x, y = samples(5)
    range = torch.tensor([[-4.0, 4.0, -4.0, 4.0]]).double()
    op = torch.ops.torch_infotheory._soft_histogram
    gather = torch.ops.torch_infotheory._soft_histogram_gather
    h = torch.randn(1, 8, 8, dtype=torch.float64)
    x = x.view(1, 5).requires_grad_()
    y = y.view(1, 5)
    # An order more is the derivative of the one before.
    for order in np.arange(8).tolist():
        below = gather(x, y, None, range, h, 2, order, 0, torch.float64)
        (slope,) = torch.autograd.grad(below.sum(), x)
        step = 1e-5
        beside = [
            gather(x.detach() + s, y, None, range, h, 2, order, 0, torch.float64)
            for s in (step, -step)
        ]
        assert_close(slope, (beside[0] - beside[1]) / (2 * step), rtol=1e-6, atol=1e-6)
    with pytest.raises(NotImplementedError, match="up to order 8"):
        op(x, y, None, None, range, 8, 2, 9, 0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_repeats_bit_for_bit_on_any_number_of_threads(kernel: str, threads):
    x, y = samples(300_000, dtype=torch.float32)
    x.requires_grad_()
    results = []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        table = ti.soft_joint_histogram(x, y, 32, kernel=kernel)
        results.append((table, *torch.autograd.grad(ti.mutual_information(table), x)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("kernel", KERNELS)
def test_constant_samples_tell_nothing(kernel: str):
    y = samples(1000)[1]
    x = torch.full_like(y, 3.0).requires_grad_()
    table = ti.soft_joint_histogram(x, y, 12, kernel=kernel)
    assert_close(table.sum(), torch.tensor(1.0).double())
    value = ti.mutual_information(table)
    assert abs(value.item()) < 1e-14
    value.backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_constant_samples_are_added_up_exactly():
    x = torch.full((1 << 20,), 0.37)
    table = ti.soft_joint_histogram(x, x, 32, (0, 1))
    assert_close(table.double(), dense(x[:1], x[:1], 32, ((0, 1),) * 2), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_no_cell_is_below_0(kernel: str, dtype: torch.dtype):
    # The ends of the range may come to lie beyond the table by rounding.
    x = samples(500, 2, dtype=dtype)[0]
    number = KERNELS.index(kernel)
    for bins in range(6, 100):
        table = ti.soft_joint_histogram(x, x, bins, kernel=kernel)
        assert table.min() >= 0
        ends = torch.stack([x.min(-1).values, x.max(-1).values] * 2, -1)
        op = torch.ops.torch_infotheory._soft_histogram.default
        composed = op._op_dk(FALLBACK, x, x, None, None, ends, bins, number, 0, 0)
        assert composed.min() >= 0


def test_no_sample_and_one_sample():
    x = torch.empty(2, 0, requires_grad=True)
    table = ti.soft_joint_histogram(x, x, 5)
    assert table.shape == (2, 5, 5) and table.isnan().all()
    assert torch.autograd.grad(table.sum(), x)[0].shape == (2, 0)
    assert ti.soft_joint_histogram(torch.empty(0, 4), torch.empty(0, 4), 5).shape == (0, 5, 5)
    x = torch.rand(1)
    assert_close(ti.soft_joint_histogram(x, x, 5).sum(), torch.tensor(1.0))
    mask = torch.zeros(3, dtype=torch.bool)
    assert ti.soft_joint_histogram(torch.rand(3), torch.rand(3), 5, mask=mask).isnan().all()


@pytest.mark.parametrize("range", (None, (-1.0, 1.0)))
def test_nan_and_infinite_samples(range):
    x, y = samples(3, 10)
    x[1, 4] = math.nan
    table = ti.soft_joint_histogram(x, y, 5, range)
    assert table[1].isnan().all()
    others = torch.tensor([0, 2])
    pair = None if range is None else (range,) * 2
    assert_close(table[others], dense(x[others], y[others], 5, pair))
    x[1, 4] = math.inf
    table = ti.soft_joint_histogram(x, y, 5, range)
    if range is None:
        assert table[1].isnan().all()
    else:
        x[1, 4] = 1.0
        assert_close(table, dense(x, y, 5, pair))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("masked", (False, True))
def test_operations_of_torch_give_the_same(kernel: str, masked: bool):
    # What devices without kernels run.
    x, y = samples(3, 50)
    range = torch.tensor([[-1.0, 1.0, -0.8, 0.9]]).double().expand(3, 4)
    mask = torch.rand(3, 50) < 0.6 if masked else None
    if masked:
        x[1, 3], mask[1, 3] = math.nan, False
    weight, h = torch.randn(3, 50).double(), torch.randn(3, 7, 7).double()
    number = KERNELS.index(kernel)
    for orders in itertools.product((0, 1, 2), repeat=2):
        for w in (None, weight):
            op = torch.ops.torch_infotheory._soft_histogram.default
            arguments = (x, y, w, mask, range, 7, number, *orders)
            assert_close(op._op_dk(FALLBACK, *arguments), op(*arguments))
        op = torch.ops.torch_infotheory._soft_histogram_gather.default
        arguments = (x, y, mask, range, h, number, *orders, torch.float64)
        assert_close(op._op_dk(FALLBACK, *arguments), op(*arguments))


# Rows, samples and bins: on both sides of a block of samples and of several parts; tables of the
# least size, and beyond shared memory.
SIZES = [(1, 1, 6), (2, 31, 7), (3, 33, 8), (1, 1025, 20), (2, 3100, 12), (1, 700, 78)]


@pytest.mark.parametrize("rows, n, bins", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.bfloat16), ids=str)
def test_kernels(rows: int, n: int, bins: int, kernel: str, dtype: torch.dtype, device: str):
    x, y = samples(rows, 2 * n, dtype=dtype)
    x, y = x[:, ::2], y[:, n:]  # a step, and lines that are farther apart than long
    generator = torch.Generator().manual_seed(bins)
    mask = torch.rand(n, generator=generator).expand(rows, n) < 0.8
    mask[:, 0] = True
    x, y = torch.where(mask, x, math.nan), y.clone()
    ends = (
        (-1.3171, 1.1294),
        (-2.0333, 2.5417),
    )  # no sample is on a cell, where windows have kinks
    range = torch.tensor([[*ends[0], *ends[1]]] * rows, dtype=torch.float64)
    weight = torch.randn(rows, n, generator=generator, dtype=torch.float64)
    h = torch.randn(rows, bins, bins, generator=generator, dtype=torch.float64)
    ops, number = torch.ops.torch_infotheory, KERNELS.index(kernel)
    a, b, m, r, w, t = (moved(v, device) for v in (x, y, mask, range, weight, h))
    exact = {"rtol": 1e-11, "atol": 1e-11}
    rounded = {"rtol": 2e-6, "atol": 2e-6}

    wide_x, wide_y = (v.double().requires_grad_() for v in (x, y))
    counts = mask.sum(-1).view(-1, 1, 1)
    expected = dense(wide_x.nan_to_num(0.0), wide_y, bins, ends, kernel, mask) * counts
    table = ops._soft_histogram(a, b, None, m, r, bins, number, 0, 0)
    assert table.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(table.cpu().double(), expected, **(exact if dtype == torch.float64 else rounded))
    slopes = torch.autograd.grad((expected * h).sum(), (wide_x, wide_y))
    inside = mask & (x.double() != ends[0][0]) & (x.double() != ends[0][1])
    for i, slope in enumerate(slopes):
        read = ops._soft_histogram_gather(a, b, m, r, t, number, 1 - i, i, torch.float64)
        assert_close(read.cpu()[inside], slope[inside], **exact)
    for orders in ((0, 0), (1, 0), (0, 1), (2, 1)):
        op = ops._soft_histogram.default
        composed = op._op_dk(FALLBACK, x, y, weight, mask, range, bins, number, *orders)
        table = op(a, b, w, m, r, bins, number, *orders)
        assert table.abs().max() > 0 or max(orders) > 0
        scale = composed.abs().max().item()
        assert_close(table.cpu(), composed, rtol=1e-10, atol=1e-12 * scale)
        op = ops._soft_histogram_gather.default
        composed = op._op_dk(FALLBACK, x, y, mask, range, h, number, *orders, torch.float64)
        read = op(a, b, m, r, t, number, *orders, torch.float64)
        assert_close(read.cpu(), composed, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("bins", (6, 78))
def test_a_sample_that_is_no_number_makes_none_of_its_row(bins: int, device: str):
    x, y = samples(4, 1100, dtype=torch.float32)
    x[1, 1050], y[3, 0] = math.nan, math.nan
    range = torch.tensor([[-1.0, 1.0, -1.0, 1.0]] * 4).double()
    given = (*(moved(v, device) for v in (x, y)), None, None, moved(range, device), bins, 2, 0, 0)
    table = torch.ops.torch_infotheory._soft_histogram(*given).cpu()
    assert table[[1, 3]].isnan().all()
    expected = dense(x[[0, 2]], y[[0, 2]], bins, ((-1.0, 1.0),) * 2, "gaussian") * 1100
    assert_close(table[[0, 2]].double(), expected, rtol=2e-6, atol=2e-5)


def test_opcheck():
    x, y = (v.requires_grad_() for v in samples(2, 9))
    range = torch.tensor([[-1.0, 1.0, -0.8, 0.9]]).double().expand(2, 4)
    mask = torch.rand(2, 9) < 0.6
    weight = torch.rand(2, 9).double().requires_grad_()
    h = torch.rand(2, 6, 6).double().requires_grad_()
    ops = torch.ops.torch_infotheory
    torch.library.opcheck(ops._soft_histogram.default, (x, y, weight, mask, range, 6, 1, 0, 0))
    torch.library.opcheck(ops._soft_histogram.default, (x, y, None, None, range, 6, 1, 0, 0))
    torch.library.opcheck(
        ops.soft_joint_histogram.default, (x, y, 6, [-1.0, 1.0]), {"mask": mask, "kernel": "linear"}
    )
    torch.library.opcheck(
        ops._soft_histogram_gather.default, (x, y, mask, range, h, 1, 1, 0, torch.float64)
    )


def test_vmap_and_transforms():
    x, y = samples(4, 30)
    one = x[0]

    def information(x: Tensor, y: Tensor) -> Tensor:
        return ti.mutual_information(ti.soft_joint_histogram(x, y, 8))

    expected = ti.mutual_information(ti.soft_joint_histogram(x, y, 8))
    assert_close(torch.func.vmap(information)(x, y), expected)
    assert_close(torch.func.vmap(information, (None, 0))(one, y), information(one.expand(4, 30), y))
    assert torch.func.vmap(information)(x[:0], y[:0]).shape == (0,)
    mask = torch.rand(4, 30) < 0.7

    def table(x: Tensor, mask: Tensor) -> Tensor:
        return ti.soft_joint_histogram(x, y[:2], 8, mask=mask)

    for in_dims, given in (((0, None), (x, mask[0])), ((None, 0), (x[0], mask))):
        pairs = zip(*(torch.broadcast_to(v, (4, 30)) for v in given), strict=True)
        each = torch.stack([table(*pair) for pair in pairs])
        assert_close(torch.func.vmap(table, in_dims)(*given), each)
    per_sample = torch.func.vmap(torch.func.grad(information))(x, y)
    x = x.requires_grad_()
    (whole,) = torch.autograd.grad(information(x, y).sum(), x)
    assert_close(per_sample, whole)
    tangent = torch.randn_like(x)
    _, along = torch.func.jvp(lambda x: information(x, y), (x.detach(),), (tangent,))
    assert_close(along, (whole * tangent).sum(-1))
    hessian = torch.func.hessian(lambda x: information(x, y[0]))(one.detach())
    assert_close(hessian, hessian.T)
    assert hessian.abs().max() > 1e-3


@pytest.mark.parametrize("dynamic", (False, True))
def test_compile(dynamic: bool):
    x, y = samples(500, dtype=torch.float32)
    loss = nn.MutualInformationLoss(16)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for n in (400, 500):
        a = x[:n].clone().requires_grad_()
        b = x[:n].clone().requires_grad_()
        compiled(a, y[:n]).backward()
        loss(b, y[:n]).backward()
        assert_close(a.grad, b.grad)
        assert b.grad.abs().max() > 0


def test_meta():
    x = torch.empty(3, 10, device="meta")
    assert ti.soft_joint_histogram(x, x, 5).shape == (3, 5, 5)


def test_bad_arguments():
    x = torch.rand(10)
    for arguments, options, error, message in [
        ((x, [1.0], 5), {}, TypeError, "expected y to be a tensor"),
        ((x.long(), x, 5), {}, TypeError, "expected x to be a floating point .*got Long"),
        ((x, x, 2.5), {}, TypeError, "expected bins to be an int"),
        ((x, x, 3), {}, ValueError, "at least 4 for kernel='cubic', got 3"),
        ((x, x, 5), {"kernel": "box"}, ValueError, "'linear', 'cubic', 'gaussian', got 'box'"),
        ((x, x, 5, (1, 0)), {}, ValueError, r"low below high, got \(1, 0\)"),
        ((x, x, 5, (0, math.inf)), {}, ValueError, "finite range"),
        ((x, x, 5, 3), {}, TypeError, r"range to be \(low, high\)"),
        ((x, x, 5, (0, "1")), {}, TypeError, "range to be"),
        ((x, x, 5), {"kernel": 2}, TypeError, "kernel to be a string, got 2"),
        ((x, x, 5), {"dim": 1}, IndexError, "dim 1 is out of range for x"),
        ((x, x, 5), {"mask": x}, TypeError, "mask to be a tensor of booleans"),
        ((x, x[:5], 5), {}, RuntimeError, r"as many samples along dim -1, got \[10\] and \[5\]"),
        ((x.expand(2, 10), x.expand(3, 10), 5), {}, RuntimeError, "do not broadcast"),
        ((x, x.to("meta"), 5), {}, RuntimeError, "expected one device"),
        ((x[0], x, 5), {}, RuntimeError, "samples along a dimension"),
    ]:
        with pytest.raises(error, match="^soft_joint_histogram: .*" + message):
            ti.soft_joint_histogram(*arguments, **options)


@pytest.mark.parametrize("seed", range(25))
def test_random_calls(seed: int):
    random = np.random.default_rng(seed)
    kernel = str(random.choice(KERNELS))
    bins = int(random.integers(6, 70))
    shape = [int(n) for n in random.integers(1, 4, random.integers(0, 3))]
    n = int(random.choice([2, 3, 255, 256, 257, 1000, 70_000 if not shape else 900]))
    dtype = [torch.float32, torch.float64][random.integers(2)]
    x, y = samples(*shape, n, seed=seed, dtype=dtype)
    x = x * 10.0 ** random.uniform(-5, 5) + 10.0 ** random.uniform(-3, 1)
    range = None
    if random.random() < 0.5:
        range = tuple((v.quantile(0.1).item(), v.quantile(0.8).item()) for v in (x, y))
        if any(low >= high for low, high in range):
            range = None
    mask = None
    if random.random() < 0.5:
        mask = torch.from_numpy(random.permutation(n) < max(2, n // 2)).expand(*shape, n)
    x.requires_grad_()
    other = x.detach().double().requires_grad_()
    table = ti.soft_joint_histogram(x, y, bins, range, kernel=kernel, mask=mask)
    expected = dense(other, y, bins, range, kernel, mask)
    exact = dtype == torch.float64
    assert table.min() >= 0
    digits = 1e-9 if exact else 1e-6
    assert_close(table.double(), expected, rtol=10 * digits, atol=digits)
    g = torch.randn(table.shape, dtype=torch.float64)
    table.backward(g.to(dtype))
    expected.backward(g)
    size = other.grad.abs().max().item()
    kept = x.detach() if mask is None else x.detach()[mask].view(*shape, -1)
    ends = range[0] if range else (kept.amin(-1, True), kept.amax(-1, True))
    pair = (without_kinks(g, x, kernel, ends) for g in (x.grad, other.grad))
    assert_close(*pair, rtol=1e-6 if exact else 1e-3, atol=(1e-9 if exact else 1e-4) * size)


# nn.MutualInformationLoss


@pytest.mark.parametrize("normalized", (None, "studholme", "arithmetic", "geometric", "joint"))
def test_loss(normalized):
    x, y = (v.view(2, 3, 5, 20).requires_grad_() for v in samples(600))
    mask = torch.rand(2, 3, 5, 20) < 0.8
    loss = nn.MutualInformationLoss(10, normalized=normalized, range=(-1.5, 2))

    def of(rows: int, mask: Tensor | None = None) -> Tensor:
        a, b = (v.reshape(rows, -1) for v in (x, y))
        counted = torch.ones_like(a, dtype=torch.bool) if mask is None else mask
        joint = torch.stack(
            [
                dense(u[m], v[m], 10, ((-1.5, 2),) * 2)
                for u, v, m in zip(a, b, counted.view(rows, -1), strict=True)
            ]
        )
        h_x, h_y, h_xy = (
            -(p * (p + 1e-300).log()).flatten(1).sum(1) for p in (joint.sum(2), joint.sum(1), joint)
        )
        shared = h_x + h_y - h_xy
        divisors = {"arithmetic": (h_x + h_y) / 2, "geometric": (h_x * h_y).sqrt(), "joint": h_xy}
        if normalized == "studholme":
            return -(h_x + h_y) / h_xy
        return -shared / divisors.get(normalized, 1)

    value = loss(x, y)
    assert_close(value, of(1)[0])
    assert_close(torch.autograd.grad(value, (x, y)), torch.autograd.grad(of(1)[0], (x, y)))
    assert_close(loss(x, y, mask), of(1, mask)[0])
    for reduction in ("none", "mean", "sum"):
        each = nn.MutualInformationLoss(
            10, normalized=normalized, range=(-1.5, 2), batch_dims=2, reduction=reduction
        )
        expected = of(6, mask).view(2, 3)
        if reduction != "none":
            expected = getattr(expected, reduction)()
        assert_close(each(x, y, mask), expected)


def test_loss_is_least_where_the_images_agree():
    x = samples(400)[0].view(20, 20)
    loss = nn.MutualInformationLoss(8)
    shifted = torch.stack([loss(x.roll(step, 0), x**3) for step in (-2, -1, 0, 1, 2)])
    assert shifted.argmin() == 2


def test_loss_says_what_it_takes():
    x = torch.rand(4)
    with pytest.raises(ValueError, match="expected normalized to be None or one of 'arithmetic'"):
        nn.MutualInformationLoss(normalized="mean")
    with pytest.raises(ValueError, match="expected reduction to be"):
        nn.MutualInformationLoss(reduction="max")
    with pytest.raises(RuntimeError, match=r"expected one shape, got \[\[4\], \[2, 2\]\]"):
        nn.MutualInformationLoss()(x, x.view(2, 2))
    loss = nn.MutualInformationLoss(16, "linear", normalized="studholme", range=(0, 1))
    assert repr(loss) == (
        "MutualInformationLoss(bins=16, kernel='linear', normalized='studholme', range=(0, 1), "
        "batch_dims=0, reduction='mean')"
    )


def test_the_ops_below_refuse_what_would_be_read_beyond_its_end() -> None:
    """They can be called without the function that prepares their arguments."""
    ops = torch.ops.torch_infotheory
    x, short = torch.rand(2, 9), torch.rand(2, 8)
    limits, table = torch.tensor([[0.0, 1.0, 0.0, 1.0]]).expand(2, 4), torch.rand(2, 8, 8)
    assert ops._soft_histogram(x, x, None, None, limits, 8, 1, 0, 0).sum() > 0
    assert ops._soft_histogram_gather(x, x, None, limits, table, 1, 0, 0, torch.float32).sum() > 0
    for arguments in (
        (x, short, None, None, limits),
        (x, x, short, None, limits),
        (x, x, None, short > 0, limits),
        (x, x, None, x, limits),
        (x, x, None, None, limits[:1]),
        (x, x, None, None, limits[:, :2]),
    ):
        with pytest.raises(RuntimeError, match="soft histogram: expected"):
            ops._soft_histogram(*arguments, 8, 1, 0, 0)
    for wrong in (table[:1], table[:, :7], table[:, :2, :2], table[0]):
        with pytest.raises(RuntimeError, match="expected a square table"):
            ops._soft_histogram_gather(x, x, None, limits, wrong, 1, 0, 0, torch.float32)
    labels = torch.tensor([0, 1, 1])
    assert ops._count_pairs(labels, labels, 2, 2).tolist() == [[1, 0], [0, 2]]
    with pytest.raises(RuntimeError, match="joint_table: expected labels of one shape"):
        ops._count_pairs(labels, labels[:2], 2, 2)
