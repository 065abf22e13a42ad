"""What information theory says of any distribution, also of shapes and zeros nobody thought of."""

import math

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mutual_info_score
from torch import Tensor
from torch.testing import assert_close as torch_assert_close

import torch_infotheory as ti

TOLERANCE = 1e-12  # float64: the rounding of a sum of some dozen terms


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch_assert_close(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


def sizes(dimensions: int) -> st.SearchStrategy:
    return st.tuples(*[st.integers(1, 6)] * dimensions)


@st.composite
def distributions(draw, dimensions: int, how_many: int = 1, batch: int = 3) -> list[Tensor]:
    """Rows of random counts, many of them 0, normalized over all `dimensions` but the first."""
    shape = (batch, *draw(sizes(dimensions)))
    axes = tuple(range(1, dimensions + 1))
    results = []
    for _ in range(how_many):
        counts = draw(arrays(np.int64, shape, elements=st.integers(0, 20)))
        counts[(slice(None), *(0,) * dimensions)] += 1  # no row is empty
        results.append(torch.from_numpy(counts / counts.sum(axes, keepdims=True)))
    return results


def expectation(p: Tensor, x: Tensor) -> Tensor:
    return torch.where(p > 0, p * x, 0).flatten(1).sum(1)


@given(distributions(1))
def test_entropy(ps: list[Tensor]) -> None:
    (p,) = ps
    entropy = ti.entropy(p)
    assert (entropy >= 0).all() and (entropy <= math.log(p.shape[1]) + TOLERANCE).all()
    assert_close(ti.entropy(p, base=2) * math.log(2), entropy)
    assert_close(ti.perplexity(p), entropy.exp())
    assert_close(expectation(p, ti.self_information(p)), entropy)
    assert_close(ti.entropy(p.log(), kind="log_probs"), entropy)
    assert_close(ti.entropy(p.log() + 3, kind="logits"), entropy)


@given(distributions(1, how_many=2))
def test_two_distributions(pq: list[Tensor]) -> None:
    p, q = pq
    entropy, divergence = ti.entropy(p), ti.kl_divergence(p, q)
    assert (divergence >= 0).all() and (ti.kl_divergence(p, p) == 0).all()
    assert_close(ti.cross_entropy(p, q), -torch.xlogy(p, q).sum(1))
    assert_close(ti.cross_entropy(p, q), entropy + divergence)
    assert_close(ti.cross_entropy(p, p), entropy)

    js = ti.js_divergence(p, q)
    assert (js >= 0).all() and (js <= math.log(2) + TOLERANCE).all()
    assert (ti.js_divergence(p, p) == 0).all()
    assert_close(ti.js_divergence(q, p), js)
    m = (p + q) / 2
    assert_close(js, (ti.kl_divergence(p, m) + ti.kl_divergence(q, m)) / 2)
    assert_close(js, ti.entropy(m) - (entropy + ti.entropy(q)) / 2)


@given(distributions(2))
def test_tables(joints: list[Tensor]) -> None:
    (joint,) = joints
    px, py = joint.sum(2), joint.sum(1)
    together, x, y = ti.joint_entropy(joint), ti.entropy(px), ti.entropy(py)
    y_given_x, x_given_y = ti.conditional_entropy(joint), ti.conditional_entropy(joint, -1, -2)
    information, variation = ti.mutual_information(joint), ti.variation_of_information(joint)
    assert_close(together, torch.special.entr(joint).sum((1, 2)))
    assert_close(together, ti.entropy(joint, (1, 2)))
    assert_close(together, x + y_given_x)  # the chain rule
    assert_close(together, y + x_given_y)
    assert (y_given_x >= -TOLERANCE).all() and (y_given_x <= y + TOLERANCE).all()
    assert (information >= 0).all()
    assert_close(information, x + y - together)
    assert_close(information, ti.mutual_information(joint, -1, -2))
    product = px[:, :, None] * py[:, None, :]
    assert_close(information, ti.kl_divergence(joint, product, (1, 2)))
    assert_close(information, expectation(joint, ti.pointwise_mutual_information(joint)))
    assert_close(variation, x_given_y + y_given_x)
    assert_close(variation, together - information)


@given(distributions(3))
def test_variation_of_information_is_a_metric(joints: list[Tensor]) -> None:
    (joint,) = joints  # of X, Y, Z
    xy, yz, xz = (ti.variation_of_information(joint.sum(dim)) for dim in (3, 1, 2))
    assert (xz <= xy + yz + TOLERANCE).all()
    assert_close(xy, ti.variation_of_information(joint.sum(3), -1, -2))
    itself = torch.diag_embed(joint.sum((2, 3)))
    assert_close(ti.variation_of_information(itself), torch.zeros(len(joint), dtype=joint.dtype))


@given(distributions(3))
def test_chain_rule_of_mutual_information(joints: list[Tensor]) -> None:
    """I(X, Y; Z) = I(X; Z) + H(Y | X) - H(Y | X, Z)."""
    (joint,) = joints
    both = ti.mutual_information(joint, (1, 2), 3)
    y_given_x = ti.conditional_entropy(joint.sum(3))
    y_given_both = ti.conditional_entropy(joint, (1, 3), 2)
    assert_close(both, ti.mutual_information(joint.sum(2)) + y_given_x - y_given_both)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=50))
def test_mutual_information_of_labels_agrees_with_sklearn(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    counts = np.zeros((4, 5))
    np.add.at(counts, (x, y), 1)
    joint = torch.from_numpy(counts / len(pairs))
    expected = torch.tensor(mutual_info_score(x, y), dtype=torch.float64)
    assert_close(ti.mutual_information(joint), expected)
