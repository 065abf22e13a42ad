"""docs/transforms.md shows the fields that the marked tests stand for."""

import subprocess
import sys
from pathlib import Path


def test_page_is_up_to_date() -> None:
    command = [sys.executable, "tools/transforms.py", "--check"]
    root = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
