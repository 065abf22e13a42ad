"""How the drop-in tests compare a loss of the package with torch's own.

Knows torch; must not know the package: the tests say which function stands in for which.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

Loss = Callable[..., Tensor]

# Relative and absolute error between our result and torch's, by the least precise of the inputs, in
# whose type torch takes the log-softmax. Both round the same sums of some hundred terms, none of
# them above 100, in their own order.
TOLERANCE = {torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 1e-5)}
# Below float32 the two are not compared with each other, because torch rounds in between (the
# log-softmax, the product with the target) and we do not: each is compared with float64, and ours
# must not be further away. It may be by what float32 arithmetic leaves.
LOW_PRECISION = (torch.bfloat16, torch.float16)
FLOAT32_ARITHMETIC = 2e-6


def as_it_is(x: Tensor) -> Tensor:
    return x


def float64(x: Tensor) -> Tensor:
    return (x.double() if x.is_floating_point() else x).contiguous()


def leaves(
    layout: Callable[[Tensor], Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The same arguments, every tensor one that collects a gradient of its own."""

    def leaf(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return layout(x.detach()).detach().requires_grad_(x.requires_grad)

    return [leaf(x) for x in args], {name: leaf(x) for name, x in kwargs.items()}


def value_and_gradients(loss: Loss, args: list[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The value, and the gradients of all inputs that require one for unequal cotangents."""
    value = loss(*args, **kwargs)
    inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.requires_grad]
    if not inputs:
        return [value]
    cotangents = torch.linspace(0.5, 1.5, value.numel(), device=value.device)
    cotangents = cotangents.view(value.shape).to(torch.bfloat16).to(value.dtype)  # exact in all
    return [value, *torch.autograd.grad(value, inputs, cotangents)]


def assert_no_further(
    actual: Tensor, torchs: Tensor, true: Tensor, arithmetic: float = FLOAT32_ARITHMETIC
) -> None:
    """`actual` is not further from `true` than torch's result is, which may have overflowed."""
    rounded = true.to(actual.dtype)
    torch.testing.assert_close(actual.isnan(), rounded.isnan())
    torch.testing.assert_close(actual.isfinite(), rounded.isfinite())
    finite = torchs.isfinite() & true.isfinite()
    ours, theirs, true = (x[finite].double() for x in (actual, torchs, true))
    excess = (ours - true).abs() - (theirs - true).abs() - arithmetic * (1 + true.abs())
    if excess.numel() and excess.max() > 0:
        i = excess.argmax()
        raise AssertionError(f"true {true[i]:.9g}, torch {theirs[i]:.9g}, but ours {ours[i]:.9g}")


def assert_same(
    ours: Loss,
    theirs: Loss,
    *args: Any,
    exact: Loss | None = None,
    arithmetic: Sequence[float] = (),
    **kwargs: Any,
) -> None:
    """The same dtype, shape, value and gradients as torch's, or nearer to the truth.

    The truth is `theirs` in float64, or `exact` where that is another function. `arithmetic` has
    the errors of our first gradients before they are rounded to 16 bits.
    """
    actual = value_and_gradients(ours, *leaves(as_it_is, args, kwargs))
    # Torch's nll_loss refuses to differentiate some layouts that are not contiguous.
    expected = value_and_gradients(theirs, *leaves(Tensor.contiguous, args, kwargs))
    dtypes = {x.dtype for x in (*args, *kwargs.values()) if isinstance(x, Tensor)}
    low = not dtypes.isdisjoint(LOW_PRECISION)
    true = value_and_gradients(exact or theirs, *leaves(float64, args, kwargs)) if low else expected
    rtol, atol = TOLERANCE[torch.float32 if torch.float32 in dtypes else torch.float64]
    errors = [FLOAT32_ARITHMETIC, *arithmetic, *[FLOAT32_ARITHMETIC] * len(actual)]
    for i, (a, e, t) in enumerate(zip(actual, expected, true, strict=True)):
        assert a.dtype == e.dtype, f"output {i}: {a.dtype}, torch {e.dtype}"
        assert a.shape == e.shape, f"output {i}: {a.shape}, torch {e.shape}"
        assert a.requires_grad == e.requires_grad
        if low:
            assert_no_further(a.detach(), e.detach(), t.detach(), errors[i])
        else:
            torch.testing.assert_close(a, e, rtol=rtol, atol=atol, equal_nan=True)


def assert_same_error(ours: Loss, theirs: Loss, *args: Any, **kwargs: Any) -> BaseException:
    """The same type of error as torch's; returns ours."""
    with pytest.raises(Exception) as expected:
        theirs(*args, **kwargs)
    with pytest.raises(expected.type) as actual:
        ours(*args, **kwargs)
    assert actual.type is expected.type
    return actual.value


@contextmanager
def naming(case: object) -> Iterator[None]:
    """Says which case of a loop it was that failed."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
