"""The polynomial coefficients of csrc/cpu/simd/math.h.

Each polynomial has the least maximum of the relative error that its degree allows (a minimax
polynomial), with coefficients that are float32 numbers. The error is weighed on a dense grid, which
makes it a linear programme; one coefficient after the other, lowest power first, is rounded to
float32 and kept while the rest is solved for again.

Run `python tools/minimax.py` to print them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog


@dataclass(frozen=True)
class Approximation:
    """f(x) as known(x) + sum_k c_k x^(first + k), k < terms, for low <= x <= high."""

    name: str
    f: Callable[[np.ndarray], np.ndarray]
    known: Callable[[np.ndarray], np.ndarray]
    first: int
    terms: int
    low: float
    high: float

    def coefficients(self) -> tuple[list[float], float]:
        """Returns c_0, c_1, ... and the largest relative error."""
        angle = np.linspace(0, np.pi, 4001)
        x = (self.low + self.high) / 2 - (self.high - self.low) / 2 * np.cos(angle)
        x = x[np.abs(x) > 1e-6]
        f = self.f(x)
        columns = np.stack([x ** (self.first + k) / f for k in range(self.terms)], axis=1)
        rest = (f - self.known(x)) / f
        found: list[float] = []
        for k in range(self.terms):
            free = columns[:, k:]
            # least e with -e <= rest - free c <= e, in units that the solver can resolve
            unit = 1e7
            ones = np.ones((len(x), 1))
            solved = linprog(
                np.r_[np.zeros(free.shape[1]), 1.0],
                A_ub=np.block([[free * unit, -ones], [-free * unit, -ones]]),
                b_ub=np.r_[rest * unit, -rest * unit],
                bounds=(None, None),
                method="highs",
                options={"primal_feasibility_tolerance": 1e-10},
            )
            found.append(float(np.float32(solved.x[0])))
            rest = rest - columns[:, k] * found[-1]
        return found, float(np.abs(rest).max())


APPROXIMATIONS = [
    Approximation("2^x = 1 + x (...)", np.exp2, np.ones_like, 1, 6, 0.0, 1.0),
    Approximation(
        "e^x = 1 + x + x^2 (...)",
        np.exp,
        lambda x: 1 + x,
        2,
        5,
        -np.log(2) / 2 * 1.001,
        np.log(2) / 2 * 1.001,
    ),
    Approximation("log(1 + x) = x + x^2 (...)", np.log1p, lambda x: x, 2, 9, -0.25, 0.5),
]

if __name__ == "__main__":
    for a in APPROXIMATIONS:
        found, error = a.coefficients()
        print(f"{a.name}  on [{a.low:.4g}, {a.high:.4g}], relative error {error:.2g}")
        print("   ", ", ".join(f"{float(c).hex()}f" for c in found))
