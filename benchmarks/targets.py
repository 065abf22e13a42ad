"""How many times faster than the peers the package is meant to be: float32, one thread, a CPU."""

from cases import Size

# Against eager PyTorch and torch.compile; None where there is no target.
Factors = tuple[float, float | None]


def target(case: str, size: Size, step: str) -> Factors | None:
    """The least factors for a case at a size, where `step` is "forward" or "both"."""
    forward = step == "forward"
    classes = size.shape[size.dim]
    if case == "mutual_information":
        if size.elements // size.shape[0] < 64 * 64:
            return None
        return (20, 3.5) if forward else (15, 4)
    if size.dim != -1:
        return (3, 1) if forward else (2, 1)
    labelled = case.startswith("cross_entropy")
    if size.shape == (64, 10):
        return (1 if labelled else 2 if forward else 3), None
    if classes == 10:
        return (12, 2.5) if forward else (15 if case == "entropy" else 6, 3)
    if labelled:
        return (6, 2) if forward else (3, 2)
    return {
        "entropy": {"forward": (20, 3.5), "both": (12, 3)},
        "kl_divergence": {"forward": (7 if classes == 1000 else 18, 2.5), "both": (7, 2.5)},
        "js_divergence": {"forward": (8, 2.5), "both": (12, 4)},
    }.get(case, {}).get(step)


HALF_PRECISION = 1.2  # bfloat16 is to take at most this multiple of the time of float32
