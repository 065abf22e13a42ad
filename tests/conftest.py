"""What the tests share: the devices, and the number of threads put back after each test."""

from collections.abc import Iterator

import hypothesis
import pytest
import torch
from ops import DEVICES

# The same examples in every run: a failure can be repeated, and time does not decide.
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, max_examples=25
)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    # kl_div warns about its mean, as torch does.
    config.addinivalue_line("filterwarnings", "ignore:reduction. 'mean' divides")


@pytest.fixture(params=DEVICES, scope="session")
def device(request: pytest.FixtureRequest) -> str:
    return DEVICES[request.param]


@pytest.fixture
def threads() -> Iterator[None]:
    number = torch.get_num_threads()
    yield
    torch.set_num_threads(number)
