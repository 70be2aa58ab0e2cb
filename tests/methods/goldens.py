"""Golden reconstructions: every method under every camera that it has, at settings that take a second.

`python tests/methods/goldens.py [NAME ...]` writes `goldens.npz` beside this file, anew or at the cases named. A
change of the code that moves a golden is either a mistake or says in its commit what it meant to change.
"""

import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from jnrsfm import datasets
from jnrsfm.types import Landmarks

FILE = Path(__file__).with_name("goldens.npz")
# Almost all of the time is compilation. Every phase has a multiple of `chunk` steps, and one restart, so that all of
# them run one program.
SHORT = {"steps": 8, "chunk": 2, "batch": 8, "warmup": 2, "restarts": 1, "prune_at": ()}

# Settings of the learned methods; solvers take their defaults, at a rank where they have one. A second camera takes
# another path through a method where there is one that compiles less.
SETTINGS: dict[str, dict[str, Any]] = {
    "deep-nrsfm++": {**SHORT, "sizes": (16, 8), "update": "adam", "learning_rate": 1e-3},
    "paul": {**SHORT, "batch": 0, "starts": ("pnd",), "sizes": (16, 8), "bottleneck": 3},
    "prn": {**SHORT, "batch": 1, "width": 16, "blocks": 1, "window": 8},
    "multicategory": {**SHORT, "width": 16, "blocks": 1, "modes": 3, "microbatch": 8},
    "trajectory": {"rank": 2},
    "csf": {"rank": 2},
    "bmm": {"rank": 2},
    # At three bases an orthographic start and its depth reflection are as good as each other to the last bit, and
    # rounding chooses.
    "pnd": {"camera_rank": 2, "cooling": (0.8,)},
}
OTHERWISE: dict[tuple[str, str], dict[str, Any]] = {
    ("deep-nrsfm++", "weak-perspective"): {"sizes": (8,)},
    ("deep-nrsfm++", "perspective"): {"sizes": (8,)},
    ("paul", "weak-perspective"): {"sizes": (8,), "starts": ("rigid",), "codes": "residual", "batch": 8},
    ("paul", "perspective"): {"sizes": (8,), "starts": ("random",)},
    ("prn", "weak-perspective"): {"network": "none", "start": "rigid"},
    ("multicategory", "weak-perspective"): {"variant": "ours"},
}  # fmt: skip
# Whose result and its depth reflection are as good as each other to the last bit, so that rounding chooses for the set.
EITHER_REFLECTION = {("consensus", "orthographic")}
# Networks that take long to compile: their orthographic cases stand for those with a scale for each frame.
DEAR = {("paul", "weak-perspective"), ("prn", "weak-perspective"), ("multicategory", "weak-perspective")}
OF_OTHERS = ("auto", "articulated")  # they begin with fits of the others, which have cases of their own
CASES = [
    (name, camera)
    for name, info in jnrsfm.methods.METHODS.items()
    for camera in info.cameras
    if name not in OF_OTHERS and info.takes is jnrsfm.Landmarks and (name, camera) not in DEAR
]


def processor() -> str:
    """What rounding depends on beside the code: JAX's version and the processor's instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    return f"{jax.__version__} {platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:12]}"


def label(name: str, camera: str) -> str:
    """The key of a case."""
    return f"{name}, {camera}"


def clip(camera: str) -> Landmarks:
    """One clip of a walker, a tenth of its points hidden."""
    return datasets.make("walker", frames=16, clips=1, camera=camera, missing=0.1, seed=1)[0]


def computed(name: str, camera: str) -> dict[str, np.ndarray]:
    """What is kept of a fit: shapes and rotations."""
    settings = SETTINGS.get(name, {}) | OTHERWISE.get((name, camera), {})
    result = jnrsfm.fit(clip(camera), name, camera=camera, seed=3, progress=False, **settings)
    found = result.reconstruction
    return {
        "points3d": np.asarray(found.points3d, np.float32),
        "rotations": np.asarray(found.rotations, np.float32),
    }


def main(wanted: list[str]) -> None:
    """Write the goldens."""
    jax.config.update("jax_disable_most_optimizations", True)  # as the tests do, whose time is compilation
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
    arrays: dict[str, Any] = {}
    if wanted and FILE.is_file():
        with np.load(FILE, allow_pickle=False) as file:
            arrays = dict(file)
    for name, camera in CASES:
        if not wanted or name in wanted:
            begun = time.process_time()
            for key, value in computed(name, camera).items():
                arrays[f"{label(name, camera)}: {key}"] = value
            print(f"{label(name, camera)}: {time.process_time() - begun:.1f} CPU s", flush=True)
    arrays["made on"] = np.array(processor())
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main(sys.argv[1:])
