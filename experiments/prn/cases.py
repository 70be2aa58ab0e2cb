"""The cases of the PRN experiments: sequences seen by a smoothly turning camera."""

import dataclasses
from typing import Any

from experiments.degrade import degraded, hide_random, in_turn, orbit_views
from experiments.harness import Case, cmu, first_clips, scored_and_lifted, short


def walking(name: str, setting: str = "", missing: float = 0.0, **fields: Any) -> Case:
    """CMU walking by the smooth camera, a share of the points hidden at random."""
    change = in_turn(orbit_views, degraded(hide_random(missing)))
    fields = {"method": "prn", **fields}
    return Case(name, "CMU walking, smooth camera", setting, cmu("walking"), change=change, **fields)


DRINK = Case("drink_free", "drink", "free shapes", short("drink"), method="prn", overrides={"network": "none"},
             headline=True)  # fmt: skip
START = "the start alone: pnd"
CASES = [
    DRINK,
    dataclasses.replace(DRINK, name="drink_pnd", setting=START, method="pnd", overrides={}, headline=False),
    walking("walking", headline=True),
    walking("walking_paul", "PAUL, to compare with", method="paul", score=scored_and_lifted),
    *(
        walking(f"walking_missing_{m}", f"{m} % of the points missing", m / 100, headline=m == 20)
        for m in (5, 10, 15, 20)
    ),
    walking("unseen", "trained on the first five of six clips", split=first_clips(0.8)),
    walking(
        "unseen_paul", "PAUL, trained on the first five of six clips", split=first_clips(0.8), method="paul"
    ),
    walking("walking_free", "free shapes", overrides={"network": "none"}),
    walking("walking_pnd", START, method="pnd"),
    walking("walking_pnd_missing_20", f"{START}, 20 % of the points missing", 0.2, method="pnd"),
]
