"""``python -m torch_infotheory`` prints what the package was built from."""

from torch_infotheory import show_config

print(show_config())
