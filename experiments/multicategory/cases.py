"""The cases: what is trained, on which categories, with which settings."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """One training. `curve`: also lift the held-out samples with more of their points hidden."""

    name: str
    what: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    categories: tuple[str, ...] = ()
    seed: int = 0
    curve: bool = False
    headline: bool = False


CASES = [
    Case("c3dpo_base", "C3DPO-base", {"variant": "c3dpo-base"}),
    Case("c3dpo", "C3DPO", {"variant": "c3dpo"}),
    Case("ours_base", "Ours-base", {"variant": "ours-base"}),
    Case("ours", "Ours (cycle)", {"variant": "ours"}),
    Case("procrustean", "Procrustean prior", {"variant": "procrustean"}, curve=True, headline=True),
]
