"""What a report shows (`Contents`), and by type of result how it is shown (`PANELS`)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.by_type import ByType
from jnrsfm.types import Landmarks, Reconstruction, Result, ResultCode


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """All that a page or a still picture may show of one result; what is None is left out.

    `input` and `reference` (ground truth) are of the frames and points of `result`; without an `input` the
    reprojection of the result stands for it. The reference is shown in the result's camera frame, by one scale for
    all frames and, unless the camera is perspective, one depth reflection for each clip; nothing else is fitted.
    `history`: rows with `step`, `loss` (a number, or a list with one for each restart, None where dropped), and
    optionally `heldout`, `reprojection`, `steps_per_s`, `phase`.
    `quality`: the quality report, `{"items": [{"name", "value", "unit", "verdict": "good|fair|poor|unknown",
    "explain"}], "warnings": [str]}`. `settings`: a nested plain dict; its `method` and `seconds` go into the
    summary. `scores`: `{protocol: {metric: value}}`, errors as fractions. `latent`: the arguments of
    `report.latent.latent_svg`, of methods that give each frame a code. `code`: how the fit ended.
    `citations`: BibTeX of what the fit stands on. `photos`: one `report.photos.Photo` for each frame.
    """

    result: Result
    input: Any = None
    reference: Reconstruction | None = None
    history: Sequence[dict] = ()
    quality: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None
    latent: Mapping[str, Any] | None = None
    code: ResultCode = ResultCode.CONVERGED
    citations: str | None = None
    photos: tuple[Any, ...] | None = None
    title: str = "3D from 2D landmarks"

    @functools.cached_property
    def scene(self) -> Any:
        """What is drawn, worked out once for page and still picture. Raises InputError where nothing can be."""
        return for_result(type(self.result)).scene(self)


class Panels(NamedTuple):
    """How one type of result is shown: `scene` works out in NumPy what is drawn, `page` writes the HTML page,
    `figure` the matplotlib figure, both from `contents.scene`."""

    scene: Callable[[Contents], Any]
    page: Callable[[Contents], str]
    figure: Callable[[Contents], Any]


PANELS: ByType[Panels] = ByType("panels in the report")
"""The panels of each type of result. A new type is one registration here."""


def for_result(kind: type) -> Panels:
    """The panels of a type of result, or of its nearest base. Raises InputError where there are none."""
    return PANELS[kind]


def input_of(contents: Contents) -> Landmarks:
    """The landmarks that a reconstruction of points was made from, or its reprojection in their place."""
    if contents.input is not None:
        return contents.input
    result = contents.result
    assert isinstance(result, Reconstruction)
    points = np.asarray(result.points2d)
    seen = np.isfinite(points).all(-1)
    if result.visible is not None:
        seen = seen & np.asarray(result.visible)
    return Landmarks(points, seen)
