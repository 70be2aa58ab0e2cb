"""The cases: what is trained, on which categories, with which settings."""

import dataclasses
from typing import Any

STEPS = 3000  # of all methods; a batch is 256 samples
CATEGORIES = ("chair", "car", "human", "cheetah", "mouse")


@dataclasses.dataclass(frozen=True)
class Case:
    """One training. `table`: where the README shows it; `curve`: also lift the held-out samples with more of their
    points hidden."""

    name: str
    what: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    table: str = "methods"
    categories: tuple[str, ...] = ()
    seed: int = 0
    curve: bool = False
    headline: bool = False


def _case(
    name: str, what: str, variant: str, steps: int = STEPS, settings: dict | None = None, **more
) -> Case:
    return Case(name, what, {"variant": variant, "steps": steps, "batch": 256} | (settings or {}), **more)


_SHORT = STEPS // 5

CASES = [
    _case("c3dpo_base", "C3DPO-base", "c3dpo-base"),
    _case("c3dpo", "C3DPO", "c3dpo", curve=True),
    _case("ours_base", "Ours-base", "ours-base"),
    _case("ours", "Ours (cycle)", "ours", curve=True),
    _case("ours_batch", "Ours, frozen batch normalisation", "ours", settings={"norm": "batch"}),
    _case("procrustean", "Procrustean prior", "procrustean", curve=True, headline=True),
    # each class sees as many samples alone as it does among the five
    *(
        _case(f"only_{c}", f"{c} alone", "procrustean", _SHORT, table="alone", categories=(c,))
        for c in CATEGORIES
    ),
    *(
        _case(f"cycle_{s}", f"layer normalisation, seed {s}", "ours", _SHORT, table="cycle", seed=s)
        for s in range(3)
    ),
    _case(
        "cycle_batch", "frozen batch normalisation, seed 0", "ours", _SHORT, {"norm": "batch"}, table="cycle",
    ),
    _case(
        "cycle_published", "as published: that, exponential coordinates, any rotation", "ours", _SHORT,
        {"norm": "batch", "rotation": "exponential", "cycle_cameras": "any", "cycle_weight": 1.0}, table="cycle",
    ),
]  # fmt: skip
