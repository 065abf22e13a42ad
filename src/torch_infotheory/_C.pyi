# Importing the extension registers the operators. Its functions are the ops, with all arguments of
# their schemas by position; see _ops.py.
from collections.abc import Callable
from types import NotImplementedType

from torch import Tensor

def _build() -> dict[str, str]: ...
def __getattr__(name: str) -> Callable[..., Tensor | NotImplementedType]: ...
