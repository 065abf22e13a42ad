"""Estimates of entropy, mutual information and divergence from counts, labels and samples.

The measures of `torch_infotheory` take distributions that are known. Here are estimates of the same
quantities where there are only draws: `counts` of bins, `labels`, real-valued `samples`, and the
scores of a critic (`bounds`). Results are tensors in nats unless ``base`` says otherwise, and are
returned as they come: an estimate of what cannot be negative may be, unless ``clip=True``.

Nearest neighbors on the CPU need SciPy, which ``pip install 'torch_infotheory[estimators]'`` adds.
It is imported when it is first needed.
"""

from torch_infotheory.estimators.bounds import mutual_information_bound
from torch_infotheory.estimators.counts import entropy_from_counts
from torch_infotheory.estimators.labels import (
    adjusted_mutual_information_score,
    conditional_mutual_information_from_labels,
    entropy_from_labels,
    expected_mutual_information,
    mutual_information_from_labels,
    normalized_mutual_information_score,
)
from torch_infotheory.estimators.samples import (
    differential_entropy,
    kl_divergence_knn,
    mutual_information_knn,
)

__all__ = [
    "adjusted_mutual_information_score",
    "conditional_mutual_information_from_labels",
    "differential_entropy",
    "entropy_from_counts",
    "entropy_from_labels",
    "expected_mutual_information",
    "kl_divergence_knn",
    "mutual_information_bound",
    "mutual_information_from_labels",
    "mutual_information_knn",
    "normalized_mutual_information_score",
]
