"""The demonstrations: small trainings on generated data, with a page to look at."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import api, datasets
from jnrsfm.inputs import label_boxes
from jnrsfm.training import Session


def demo(out: str | Path = "demo", *, seed: int = 0, progress: bool = True) -> api.FitResult:
    """Train on the embedded example: a figure seen by a moving perspective camera, limbs hidden at times."""
    landmarks, reference = datasets.make("demo", seed=seed)
    return api.fit(landmarks, out=out, reference=reference, seed=seed, progress=progress, **DEMO)


# Small enough for four minutes on two cores, long enough to be a pleasure to look at.
DEMO: dict[str, Any] = {"steps": 9_000}
DEMO_IMAGES: dict[str, Any] = {"steps": 600, "locate": "no"}
_DEMO_TRAIN, _DEMO_UNSEEN = 480, 64


def demo_images(out: str | Path = "demo", *, seed: int = 0, progress: bool = True) -> api.FitResult:
    """Train on rendered photographs of people with 2D labels, and lift others, of other people, that training did not
    see: their page is `unseen.html` in the run folder."""
    session = Session(progress=progress)
    session.say(f"demo: rendering {_DEMO_TRAIN + _DEMO_UNSEEN} photographs")
    draw = lambda n, seed: datasets.render_figures(datasets.RenderedFigures(images=n, size=112, seed=seed))
    train, unseen = draw(_DEMO_TRAIN, seed), draw(_DEMO_UNSEEN, seed + 1)
    images = train.labelled()
    found = api.fit(
        images, "student", out=out, reference=train.reference, seed=seed, progress=progress, **DEMO_IMAGES
    )
    assert found.model is not None
    images = unseen.labelled()
    bare = dataclasses.replace(
        images,
        landmarks=images.landmarks.replace(visible=np.zeros_like(images.landmarks.visible)),
        boxes=label_boxes(images),
    )
    lifted = found.model.lift(bare)
    api.write_image_page(Path(out) / "unseen.html", bare, lifted, reference=unseen.reference)
    return found
