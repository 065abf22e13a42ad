"""What the tests share: the devices, and the number of threads put back after each test."""

from collections.abc import Generator, Iterator

import hypothesis
import pytest
import torch
from ops import DEVICES, IS_THERE, emulating

# The same examples in every run: a failure can be repeated, and time does not decide.
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, max_examples=25
)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    # kl_div warns about its mean, as torch does.
    config.addinivalue_line("filterwarnings", "ignore:reduction. 'mean' divides")
    # What ops.composing means to do.
    config.addinivalue_line("filterwarnings", "ignore:Warning only once for all operators")
    config.addinivalue_line(
        "markers",
        "transform(name): the column of docs/transforms.md that the test fills for its `case`",
    )


def pytest_report_header() -> str:
    return "devices: " + ", ".join(
        name + ("" if name in DEVICES else " (not asked for)" if there else " (not there)")
        for name, there in IS_THERE.items()
    )


# What depends on the kernels themselves. Other tests would try once more, on `composed` and on
# `cuda_emulated`, what stands above them.
OF_KERNELS = {"test_values", "test_gradients", "test_edges", "test_near_equal", "test_cuda"}
OF_KERNELS |= {"test_batches", "test_far_from_zero", "test_language_models", "test_soft_histogram"}
OF_KERNELS |= {"test_dtypes", "test_dropin_grid"}
# The formulas of `composed` are on whole tensors, for which geometry is nothing.
OF_COMPOSITIONS = {"test_values", "test_gradients", "test_edges", "test_near_equal", "test_dtypes"}
OF_AUTOGRAD = {"test_gradcheck", "test_gradgradcheck"}
OF_HOST = {"test_a_bad_target"}  # a device asserts, see tests/cuda_sim/test_faults.py


def emulated(item: pytest.Item) -> str:
    """The device of the test, if it is one that the CPU plays."""
    device = getattr(item, "callspec", None) and item.callspec.params.get("device")
    return device if device in ("composed", "cuda_emulated") else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_wanted(item: pytest.Item) -> bool:
        name, device = getattr(item, "originalname", item.name), emulated(item)
        modules = OF_COMPOSITIONS if device == "composed" else OF_KERNELS
        elsewhere = name in OF_AUTOGRAD or name.startswith(tuple(OF_HOST))
        return not device or (item.path.stem in modules and not elsewhere)

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with emulating(emulated(item)):
        return (yield)


@pytest.fixture(params=DEVICES, scope="session")
def device(request: pytest.FixtureRequest) -> str:
    return DEVICES[request.param]


@pytest.fixture
def threads() -> Iterator[None]:
    number = torch.get_num_threads()
    yield
    torch.set_num_threads(number)
