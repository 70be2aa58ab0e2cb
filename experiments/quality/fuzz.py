"""Random scenes through every solver: no crash, no value that is not finite, every refusal one line.

    python -m experiments.quality.fuzz --scenes 2000 --out experiments/quality/fuzz.json

Scenes have 2 to 60 points and 3 to 3,000 frames, gaps to 60 %, outliers, duplicates; objects that stand still, are flat
or lie on a line. Sizes are drawn from a short list, so that compiled programs serve many scenes. What fails is printed
with its seed and counted; the exit status is 1 where there is any.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from experiments.harness import device, today, write
from jnrsfm import Landmarks
from jnrsfm.errors import InputError

POINTS = (2, 4, 5, 9, 20, 60)
FRAMES = (3, 7, 40, 200, 3000)
KINDS = ("limbs", "rigid", "still", "flat", "line", "noise", "twins", "sizes")


def scene(seed: int, points: tuple[int, ...] = POINTS, frames: tuple[int, ...] = FRAMES) -> Landmarks:
    """A random scene; the same for the same seed and sizes."""
    rng = np.random.default_rng(seed)
    p, f = int(rng.choice(points)), int(rng.choice(frames))
    if p * f > 60_000:
        f = 200
    kind = KINDS[seed % len(KINDS)]
    angle = np.cumsum(rng.normal(0, rng.choice([0.0, 0.01, 0.1]), f))
    c, s, o = np.cos(angle), np.sin(angle), np.zeros(f)
    turn = np.stack([c, o, s, o, o + 1, o, -s, o, c], -1).reshape(f, 3, 3)
    shape = rng.normal(size=(p, 3)) * {"flat": (1, 1, 0), "line": (1, 0, 0)}.get(kind, (1, 1, 1))
    moves = rng.normal(size=(2, p, 3)) * (0.3 if kind in ("limbs", "sizes") else 0.0)
    shapes = shape + np.einsum("fk,kpi->fpi", np.stack([np.sin(7 * angle), np.cos(3 * angle)], -1), moves)
    x = np.einsum("fij,fpj->fpi", turn, shapes)[..., :2]
    if kind == "noise":
        x = rng.normal(size=x.shape)
    if kind == "still":
        x = np.repeat(x[:1], f, 0)
    if kind == "twins":
        x[:, p // 2] = x[:, 0] + 1e-9
    if kind == "sizes":
        x = x * np.where(np.arange(f) < f // 2, 1.0, 1e3)[:, None, None]
    x = x + rng.choice([0.0, 1e-3, 0.05]) * rng.normal(size=x.shape)
    wild = rng.random((f, p)) < rng.choice([0.0, 0.05, 0.2])
    x = np.where(wild[..., None], 10 * rng.normal(size=x.shape), x)
    visible = rng.random((f, p)) >= rng.choice([0.0, 0.1, 0.3, 0.6])
    x = float(rng.choice([1e-3, 1.0, 1e3])) * x + rng.choice([0.0, 500.0])
    fields: dict[str, Any] = {}
    if rng.random() < 0.5:
        fields["sequence"] = np.arange(f) * int(rng.integers(1, 4)) // f
    if rng.random() < 0.3:
        fields["confidence"] = rng.random((f, p)).astype(np.float32)
    if p > 3 and rng.random() < 0.5:
        fields["edges"] = np.stack([np.arange(p - 1), np.arange(1, p)], -1)
    x = np.where(visible[..., None], x, np.nan)
    return Landmarks(points2d=x.astype(np.float32), visible=visible, **fields)


def trial(landmarks: Landmarks, method: Any, camera: str) -> tuple[str, str]:
    """`("fitted", verdict)`, `("refused", "")`: in one line, or `("failed", what is wrong)`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = jnrsfm.fit(landmarks, method, camera=camera, progress=False)
    except InputError as error:
        lines = str(error).strip().splitlines()
        return ("refused", "") if len(lines) == 1 else ("failed", f"a refusal of {len(lines)} lines: {error}")
    except Exception as error:  # what a fuzzer looks for
        return "failed", f"{type(error).__name__}: {str(error)[:200]}"
    used = np.asarray(landmarks.visible).sum(1) >= 3
    points, rotations = np.asarray(found.reconstruction.points3d), np.asarray(found.reconstruction.rotations)
    if not (np.isfinite(points[used]).all() and np.isfinite(rotations).all()):
        return "failed", "values that are not finite"
    verdict = found.quality["verdict"]
    return ("fitted", verdict["word"]) if verdict["text"] else ("failed", "no verdict")


def main() -> int:
    """Parse, try, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--methods", nargs="+", default=["rigid", "trajectory", "csf", "bmm", "consensus", "pnd"]
    )
    parser.add_argument("--out", type=Path, help="result file (JSON), rewritten every 20 scenes")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "command": f"python -m experiments.quality.fuzz --scenes {asked.scenes} --first {asked.first} "
        f"--methods {' '.join(asked.methods)}",
        "seed": asked.first, "device": device(), "date": today(), "scenes": 0,
        "outcomes": {}, "verdicts_by_kind": {}, "failures": [],
    }  # fmt: skip
    start = time.monotonic()
    for seed in range(asked.first, asked.first + asked.scenes):
        landmarks = scene(seed)
        kind = KINDS[seed % len(KINDS)]
        # every kind of scene meets every method and camera
        turn = seed // len(KINDS)
        method = asked.methods[turn % len(asked.methods)]
        camera = ("orthographic", "weak-perspective")[turn // len(asked.methods) % 2]
        outcome, about = trial(landmarks, method, camera)
        found["scenes"] += 1
        counts = found["outcomes"].setdefault(method, {"fitted": 0, "refused": 0, "failed": 0})
        counts[outcome] += 1
        if outcome == "fitted":
            verdicts = found["verdicts_by_kind"].setdefault(kind, {})
            verdicts[about] = verdicts.get(about, 0) + 1
        if outcome == "failed":
            size = f"{landmarks.n_frames} frames, {landmarks.n_points} points"
            found["failures"].append(f"{seed}: {kind}, {size}, {method}, {camera}: {about}")
            print(found["failures"][-1], flush=True)
        if found["scenes"] % 60 == 0:
            jax.clear_caches()  # a process can map only so many compiled programs
        if found["scenes"] % 20 == 0 or found["scenes"] == asked.scenes:
            left = (time.monotonic() - start) / found["scenes"] * (asked.scenes - found["scenes"]) / 60
            print(f"{found['scenes']} of {asked.scenes}, {left:.0f} min left", file=sys.stderr, flush=True)
            if asked.out:
                write(asked.out, found)
    print(f"{len(found['failures'])} of {asked.scenes} scenes failed")
    return int(bool(found["failures"]))


if __name__ == "__main__":
    sys.exit(main())
