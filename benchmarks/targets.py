"""How many times faster than the peers the package is meant to be: float32, one thread, a CPU."""

from cases import Size

# The factors over eager PyTorch and over torch.compile; None where there is no target.
Factors = tuple[float, float | None]

# From logits, for 1000 classes and more: forward, and forward + backward.
LONG_ROWS: dict[str, tuple[Factors, Factors]] = {
    "cross_entropy": ((6, 2), (3, 2)),
    "cross_entropy, smoothed": ((6, 2), (3, 2)),
    "entropy": ((20, 3.5), (12, 3)),
    "kl_divergence": ((18, 2.5), (7, 2.5)),
    "js_divergence": ((8, 2.5), (12, 4)),
}
HALF_PRECISION = 1.2  # bfloat16 is to take at most this multiple of the time of float32


def target(case: str, size: Size, step: str) -> Factors | None:
    """The factors wanted for a case at a size, where `step` is "forward" or "both"."""
    both = step == "both"
    if case == "mutual_information":
        large = size.elements // size.shape[0] >= 64 * 64
        return ((15, 4) if both else (20, 3.5)) if large else None
    if case not in LONG_ROWS:
        return None
    if size.dim != -1:
        return (2, 1) if both else (3, 1)
    if size.shape == (64, 10):
        return (1 if case.startswith("cross_entropy") else 3 if both else 2), None
    if size.shape[-1] == 10:
        return (15 if case == "entropy" else 6, 3) if both else (12, 2.5)
    if case == "kl_divergence" and size.shape[-1] == 1000 and not both:
        return 7, 2.5
    return LONG_ROWS[case][both]
