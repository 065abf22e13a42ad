"""The reference against the libraries that have the same quantities, and its gradient by hand."""

import numpy as np
import reference
import torch
from numpy.testing import assert_allclose
from ops import random, state
from scipy.spatial.distance import jensenshannon
from scipy.special import entr, rel_entr
from scipy.stats import entropy
from torch.distributions import Categorical, kl_divergence

P, Q = (state(random(5, seed=seed), -1, "probs").numpy() for seed in (0, 1))
TABLE = state(random(4, 5), (0, 1), "probs").numpy()
ROW, X, Y = (-1,), (-2,), (-1,)


def test_measures_agree_with_scipy_and_torch() -> None:
    p, q = (Categorical(probs=torch.from_numpy(x)) for x in (P, Q))
    assert_allclose(reference.entropy(P, ROW), [entropy(P)])
    assert_allclose(reference.entropy(P, ROW), [entr(P).sum()])
    assert_allclose(reference.entropy(P, ROW), [p.entropy()])
    assert_allclose(reference.perplexity(P, ROW), [p.perplexity()])
    assert_allclose(reference.kl_divergence(P, Q, ROW), [entropy(P, Q)])
    assert_allclose(reference.kl_divergence(P, Q, ROW), [kl_divergence(p, q)])
    assert_allclose(reference.js_divergence(P, Q, ROW), [jensenshannon(P, Q) ** 2])
    assert_allclose(reference.cross_entropy(P, Q, ROW), [rel_entr(P, Q).sum() + entr(P).sum()])


def test_tables_agree_with_scipy() -> None:
    independent = np.outer(TABLE.sum(1), TABLE.sum(0))
    information = rel_entr(TABLE, independent).sum()
    given_x = (TABLE.sum(1) * entropy(TABLE, axis=1)).sum()
    given_y = (TABLE.sum(0) * entropy(TABLE, axis=0)).sum()
    assert_allclose(reference.joint_entropy(TABLE, X, Y), [[entropy(TABLE, axis=None)]])
    assert_allclose(reference.conditional_entropy(TABLE, X, Y), [[given_x]])
    assert_allclose(reference.mutual_information(TABLE, X, Y), [[information]])
    assert_allclose(reference.variation_of_information(TABLE, X, Y), [[given_x + given_y]])
    pointwise = reference.pointwise_mutual_information(TABLE, X, Y)
    assert_allclose((TABLE * pointwise).sum(), information)


def test_exact_divergences_agree_with_the_plain_formulas() -> None:
    for kind in ("probs", "log_probs", "logits"):
        p, q = (state(random(5, seed=seed), -1, kind).numpy() for seed in (0, 1))
        table = state(random(4, 5), (0, 1), kind).numpy()
        assert_allclose(reference.exact_kl_divergence(p, q, kind), entropy(P, Q))
        assert_allclose(reference.exact_js_divergence(p, q, kind), jensenshannon(P, Q) ** 2)
        information = reference.mutual_information(TABLE, X, Y).item()
        assert_allclose(reference.exact_mutual_information(table, kind), information)


def test_gradient_by_hand() -> None:
    by_p, by_q = reference.gradient(
        lambda p, q: reference.cross_entropy(p, q, ROW), [P, Q], np.array([2.0])
    )
    assert_allclose(by_p, -2 * np.log(Q))
    assert_allclose(by_q, -2 * P / Q)
    (by_logits,) = reference.gradient(
        lambda x: reference.entropy(reference.distribution(x, ROW, "logits"), ROW),
        [np.log(P)],
        np.ones(1),
    )
    assert_allclose(by_logits, -P * (np.log(P) + entropy(P)))
