"""Entropy, mutual information, divergences and cross-entropy as differentiable PyTorch operators.

Importing the package registers ``torch.ops.torch_infotheory.*``. The measures of information theory
are here, one value per distribution; :mod:`torch_infotheory.nn` has the losses for training,
:mod:`torch_infotheory.estimators` estimates from counts, labels and samples,
:mod:`torch_infotheory.d2l` the functions of a textbook chapter under its own names.
"""

import torch as _torch  # noqa: F401  (loads the libraries that _C is linked with)

import torch_infotheory._C as _C  # noqa: F401  (registers the operators)
from torch_infotheory import _when_imported
from torch_infotheory import d2l as d2l
from torch_infotheory import estimators as estimators
from torch_infotheory import nn as nn
from torch_infotheory import parallel as parallel
from torch_infotheory.measures import *  # noqa: F403
from torch_infotheory.measures import __all__ as _measures
from torch_infotheory.multivariate import *  # noqa: F403
from torch_infotheory.multivariate import __all__ as _multivariate
from torch_infotheory.tables import joint_table as joint_table


def _register_sharding() -> None:
    from torch_infotheory import _sharding

    _sharding.register()


_when_imported.when_imported("torch.distributed.tensor", _register_sharding)

__version__ = "0.1.0"
__all__ = ["d2l", "estimators", "joint_table", "nn", "parallel", *_measures, *_multivariate]
