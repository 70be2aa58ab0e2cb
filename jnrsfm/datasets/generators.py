"""The generators by name: `make("walker", frames=300, camera="orthographic", seed=1)`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jnrsfm.datasets.categories import CategoriesConfig, ChairConfig, categories, chair
from jnrsfm.datasets.config import DatasetConfig, typed
from jnrsfm.datasets.hand import HandConfig, hand
from jnrsfm.datasets.motion import Motion
from jnrsfm.datasets.observe import observe
from jnrsfm.datasets.quadruped import QuadrupedConfig, quadruped
from jnrsfm.datasets.sheet import SheetConfig, sheet
from jnrsfm.datasets.views import cameras_for, project
from jnrsfm.datasets.walker import WalkerConfig, walker
from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True)
class Generator:
    """One line that says what it makes, its options with their defaults, and the motion they lead to."""

    description: str
    config: DatasetConfig
    motion: Callable[[Any, np.random.Generator], Motion]


GENERATORS: Mapping[str, Generator] = {
    "demo": Generator(
        "the set of `make demo`: the quadruped seen by a hand-held perspective camera, with gaps and noise",
        QuadrupedConfig(
            frames=1000,
            clips=8,
            view="handheld",
            degrees_per_frame=1.5,
            elevation=(-10.0, 45.0),
            noise=0.003,
            missing=0.04,
            limb_occlusion=0.08,
            off_centre=0.03,
        ),
        quadruped,
    ),
    "walker": Generator(
        "a human-like figure of 19 points that walks, runs, jumps, waves, squats and dances",
        WalkerConfig(),
        walker,
    ),
    "quadruped": Generator(
        "a dog-like animal of 25 points that walks, trots, gallops with a bending spine, and grazes",
        QuadrupedConfig(),
        quadruped,
    ),
    "hand": Generator("a left hand of 21 points whose fingers curl and spread", HandConfig(), hand),
    "sheet": Generator("a sheet (a grid of points) that bends without stretching", SheetConfig(), sheet),
    "chair": Generator(
        "rigid chairs of 16 points, each frame another one, half of them without arms", ChairConfig(), chair
    ),
    "categories": Generator(
        "several of the others in one set, each with keypoints of its own", CategoriesConfig(), categories
    ),
}


def configure(name: str, options: Mapping[str, Any]) -> DatasetConfig:
    """The options of generator `name`, some changed. Raises `InputError` for an unknown name or option."""
    if name not in GENERATORS:
        raise InputError(f"no generator {name!r}: choose one of {', '.join(GENERATORS)}")
    config = GENERATORS[name].config
    known = [f.name for f in dataclasses.fields(config)]
    for option in options:
        if option not in known:
            raise InputError(f"generator {name!r} has no option {option!r}: it has {', '.join(known)}")
    return dataclasses.replace(config, **typed(type(config), options))


def make(name: str, *, seed: int = 0, **options) -> tuple[Landmarks, Reconstruction]:
    """Generate a set: its landmarks, and the exact truth with `mirror="reference"`.

    `name` is one of `GENERATORS`, `options` are fields of its config (see `DatasetConfig`, `WalkerConfig`).
    NumPy arrays, float32. The truth holds all points, hidden ones too (`visible` says which were seen), and
    its reprojection `truth.points2d` equals `landmarks.points2d` where there is no noise. `points3d` is in
    object units (metres for figures) and in the object's own frame: its turning and the camera's are
    together in `cameras.rotations`. The motion, the cameras and the observation draw from separate random
    streams, so that another noise or camera leaves the motion as it is. The same seed gives the same set on
    every machine, to rounding.

    Raises `InputError` for an unknown name or option, or a value out of range.

    >>> landmarks, truth = make("hand", frames=4, clips=1, camera="orthographic", missing=0.2)
    >>> landmarks.points2d.shape, truth.points3d.shape
    ((4, 21, 2), (4, 21, 3))
    >>> bool(landmarks.visible.all()), truth.mirror
    (False, 'reference')
    """
    config = configure(name, options)
    for_motion, for_cameras, for_observation = np.random.default_rng(seed).spawn(3)
    motion = GENERATORS[name].motion(config, for_motion)
    cameras = cameras_for(motion, config, for_cameras)

    points2d, visible, confidence = observe(project(cameras, motion.points), motion, config, for_observation)
    cameras = jax.tree.map(lambda a: a.astype(np.float32), cameras)
    known: dict[str, Any] = {
        "sequence": motion.sequence,
        "category": motion.category,
        "edges": motion.edges,
        "symmetric": motion.symmetric,
        "names": motion.names,
        "categories": motion.categories,
    }
    landmarks = Landmarks(
        points2d=points2d,
        visible=visible,
        confidence=confidence,
        defined=motion.defined,
        intrinsics=cameras.intrinsics,
        camera=config.camera,
        fps=config.fps,
        **known,
    )
    truth = Reconstruction(
        points3d=motion.points.astype(np.float32),
        cameras=cameras,
        visible=visible,
        valid3d=np.ones(visible.shape, bool) if motion.defined is None else motion.defined,
        mirror="reference",
        gauge="generated: object units",
        **known,
    )
    return landmarks, truth
