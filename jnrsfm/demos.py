"""The demonstrations: small trainings on generated data, with a page to look at."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import api, datasets, io, runs
from jnrsfm.inputs import label_boxes
from jnrsfm.training import Session


def demo(out: str | Path = "demo", *, seed: int = 0, progress: bool = True) -> api.FitResult:
    """Train on the embedded example: a figure seen by a moving perspective camera, limbs hidden at times."""
    landmarks, reference = datasets.make("demo", seed=seed)
    return api.fit(landmarks, DEMO_METHOD, out=out, reference=reference, seed=seed, progress=progress, **DEMO)


def write_walk(path: str | Path, *, seed: int = 0) -> list[Path]:
    """Write the landmarks of a generated figure that walks about, in pixels with confidences and hidden limbs, in the
    format that the end of `path` names (`walkDLC.csv`, `.h5`, `.csv`, `.npz`), and beside it `skeleton.yaml`, the bones
    by the names of their ends, which tables do not hold. Raises InputError for another format."""
    landmarks, _ = datasets.make("walker", seed=seed, **WALK)
    path = Path(path).expanduser()
    writer = io.exporting.writer_for(path)
    if writer is not None:
        io.exporting.write_export(path, landmarks, writer)
    else:
        io.write_landmarks(path, landmarks)
    names, edges = landmarks.names, landmarks.edges
    assert names is not None
    assert edges is not None
    bones = path.with_name("skeleton.yaml")
    runs.write_file(
        bones, "edges:\n" + "".join(f"  - [{names[a]}, {names[b]}]\n" for a, b in np.asarray(edges))
    )
    return [path, bones]


# One clip of eight seconds in which the figure shows all its sides.
WALK: dict[str, Any] = {
    "frames": 240, "clips": 1, "view": "orbit", "degrees_per_frame": 2.0, "distance": 6.0, "image_size": (1280, 720),
    "noise": 1.0, "noise_unit": "pixels", "confidence": True, "limb_occlusion": 0.08,
}  # fmt: skip
# Small enough for four minutes on two cores, long enough to be a pleasure to look at.
DEMO_METHOD = "deep-nrsfm++"
DEMO: dict[str, Any] = {"steps": 2_500, "restarts": 2, "prune_at": ()}
DEMO_IMAGES: dict[str, Any] = {"steps": 500, "locate": "no"}
_CLIPS, _CLIP, _SEEN = 10, 60, 50  # people, photographs of each, and those of them that are trained on


def demo_images(out: str | Path = "demo", *, seed: int = 0, progress: bool = True) -> api.FitResult:
    """Train on rendered photographs of ten people with 2D labels, and lift later photographs of them that training did
    not see: their page is `unseen.html` in the run folder."""
    session = Session(progress=progress)
    session.say(f"demo: rendering {_CLIPS * _CLIP} photographs")
    people = datasets.RenderedFigures(
        images=_CLIPS * _CLIP, clip=_CLIP, size=112, degrees_per_frame=6.0, seed=seed
    )
    made = datasets.render_figures(people)
    late = np.arange(_CLIPS * _CLIP) % _CLIP >= _SEEN
    train, unseen = (made.labelled().select(which) for which in (~late, late))
    found = api.fit(
        train, "student", out=out, reference=made.reference.select(~late), seed=seed, progress=progress, **DEMO_IMAGES
    )  # fmt: skip
    assert found.model is not None
    bare = dataclasses.replace(
        unseen,
        landmarks=unseen.landmarks.replace(
            visible=np.zeros_like(unseen.landmarks.visible), sequence=None, fps=None
        ),
        boxes=label_boxes(unseen),
    )
    lifted = found.model.lift(bare)
    api.write_image_page(
        Path(out) / "unseen.html", bare, lifted, reference=made.reference.select(late).replace(sequence=None)
    )
    return found
