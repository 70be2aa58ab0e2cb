"""The figures that can be drawn, by name."""

from collections.abc import Mapping

from jnrsfm.datasets.render.anatomy import Figure
from jnrsfm.datasets.render.animal import ANIMAL
from jnrsfm.datasets.render.bird import FLYER
from jnrsfm.datasets.render.palm import PALM
from jnrsfm.datasets.render.person import PERSON
from jnrsfm.datasets.render.things import CAR, CHAIR

FIGURES: Mapping[str, Figure] = {
    "walker": PERSON,
    "quadruped": ANIMAL,
    "hand": PALM,
    "bird": FLYER,
    "chair": CHAIR,
    "car": CAR,
}
