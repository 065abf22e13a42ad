"""Entropy, mutual information, divergences and cross-entropy as differentiable PyTorch operators.

Importing the package registers ``torch.ops.torch_infotheory.*``. The measures of information theory
are here, one value per distribution; :mod:`torch_infotheory.gaussian` has those of normal
distributions, :mod:`torch_infotheory.estimators` estimates from counts, labels and samples,
:mod:`torch_infotheory.nn` the losses for training, :mod:`torch_infotheory.d2l` the functions of a
textbook chapter under its own names. :mod:`torch_infotheory.metrics`, which needs torchmetrics, is
imported by its own name alone.
"""

import torch as _torch  # noqa: F401  (loads the libraries that _C is linked with)

from torch_infotheory import _export, _extension, _when_imported

_extension.find(__path__)

import torch_infotheory._C as _C  # noqa: E402, F401  (registers the operators)
from torch_infotheory import d2l as d2l  # noqa: E402
from torch_infotheory import estimators as estimators  # noqa: E402
from torch_infotheory import gaussian as gaussian  # noqa: E402
from torch_infotheory import nn as nn  # noqa: E402
from torch_infotheory import parallel as parallel  # noqa: E402
from torch_infotheory._config import cmake_prefix_path, show_config  # noqa: E402
from torch_infotheory._ops import set_validation  # noqa: E402
from torch_infotheory.divergences import *  # noqa: E402, F403
from torch_infotheory.divergences import __all__ as _divergences  # noqa: E402
from torch_infotheory.histograms import soft_joint_histogram as soft_joint_histogram  # noqa: E402
from torch_infotheory.language_models import *  # noqa: E402, F403
from torch_infotheory.language_models import __all__ as _language_models  # noqa: E402
from torch_infotheory.measures import *  # noqa: E402, F403
from torch_infotheory.measures import __all__ as _measures  # noqa: E402
from torch_infotheory.multivariate import *  # noqa: E402, F403
from torch_infotheory.multivariate import __all__ as _multivariate  # noqa: E402
from torch_infotheory.tables import joint_table as joint_table  # noqa: E402


def _register_sharding() -> None:
    from torch_infotheory import _sharding  # noqa: F401  (registers its rules)


_when_imported.when_imported("torch.distributed.tensor", _register_sharding)
_export.register()

__version__ = "0.1.0"
__all__ = [
    "cmake_prefix_path",
    "d2l",
    "estimators",
    "gaussian",
    "joint_table",
    "nn",
    "parallel",
    "set_validation",
    "show_config",
    "soft_joint_histogram",
    *_measures,
    *_divergences,
    *_multivariate,
    *_language_models,
]
