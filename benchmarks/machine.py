"""What was measured on, with which versions, and how busy it was: the heads of the pages."""

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import torch_infotheory

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "torchmetrics", "triton", "liger-kernel")


def facts(path: str) -> dict[str, str]:
    """The first value of every name in a file of lines `name: value`; none where it is not."""
    found: dict[str, str] = {}
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def machine(device: str = "cpu") -> dict[str, str]:
    cpu = facts("/proc/cpuinfo")
    memory = facts("/proc/meminfo").get("MemTotal", "0 kB").split()[0]
    described = {
        "processor": f"{cpu.get('model name', platform.machine())}, family "
        f"{cpu.get('cpu family', '?')}, model {cpu.get('model', '?')}",
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory) / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        described["card"] = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
    return described


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch_infotheory": torch_infotheory.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def load() -> float:
    """How many processes wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)
