"""Fit the formula of the expected error (`jnrsfm/metrics/verdict.py`) on generated figures of known 3D.

    python -m experiments.quality.calibrate                 about a minute; writes calibration.json
    python -m experiments.quality.calibrate --fits 20       with fits of two solvers among them (minutes)
    python -m experiments.quality.calibrate --again         the formula anew from the evidence in calibration.json

Figures, views and noise are drawn at random, and the true shapes are spoilt in the ways in which fits go wrong: relief
too flat or too deep, depth sheared, depth that drifts with time, limbs reflected for a while, noise; the cameras are
those that align the spoilt shapes. No real data take part.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import jnrsfm
from jnrsfm import datasets, metrics
from jnrsfm.factorization.cameras import aligned_rotations
from jnrsfm.inputs.doubted_points import reliability
from jnrsfm.methods import Pnd, Rigid
from jnrsfm.metrics import verdict
from jnrsfm.types import Cameras

FILE = Path(__file__).with_name("calibration.json")
METHODS = {"pnd": Pnd(modes=16, cooling=(0.88,), floor=1e-3, starts=4), "rigid": Rigid()}
VIEWS = ("orbit", "handheld", "fixed", "tumble")
_RIDGE = 3.0  # observations that speak for no influence of a term
_PARTS = 5
_COVER = 0.9


def scene(seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Landmarks, truth and settings of a random set of one size, so that one compilation serves all."""
    rng = np.random.default_rng(seed)
    view = VIEWS[seed // 2 % len(VIEWS)]
    speed = float(np.exp(rng.uniform(np.log(0.03), np.log(5.0))))
    settings = {
        "path": view, "degrees_per_frame": speed, "turning": speed if view == "fixed" else float(rng.choice([0, 0.3])),
        "noise": float(rng.choice([0, 0.003, 0.01, 0.03])), "outliers": float(rng.choice([0, 0, 0.05])),
        "missing": float(rng.choice([0.02, 0.15])),
    }  # fmt: skip
    kind = ("walker", "quadruped")[seed % 2]
    found, truth = datasets.make(
        kind,
        seed=seed,
        frames=90,
        clips=1,
        camera="orthographic",
        view=view,
        **{k: v for k, v in settings.items() if k != "path"},
    )
    return found, truth, {"kind": kind, **settings}


def spoilt(truth: Any, landmarks: Any, seed: int) -> Any:
    """The truth as a bad fit would have it, in the camera frame its cameras align."""
    rng = np.random.default_rng(1000 + seed)
    x = np.asarray(truth.camera_points, np.float64)
    x = x - x.mean(1, keepdims=True)
    f, p, _ = x.shape
    size = np.sqrt((x**2).sum(-1).mean())
    z = x[..., 2].copy()
    if rng.random() < 0.5:
        z *= np.exp(rng.uniform(np.log(0.2), np.log(1.6)))
    if rng.random() < 0.5:
        z += x[..., :2] @ rng.normal(0, rng.uniform(0, 0.4), 2)
    if rng.random() < 0.7:
        t = np.linspace(0, 1, f)[:, None, None]
        waves = np.cos(np.pi * t * np.arange(5)[:, None] + rng.uniform(0, 2 * np.pi, (1, 5, p)))
        z += np.exp(rng.uniform(np.log(0.003), np.log(0.4))) * size * waves.mean(1) * np.sqrt(5)
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 4))):
            parent, child = np.asarray(landmarks.edges)[rng.integers(len(landmarks.edges))]
            start, stop = np.sort(rng.integers(0, f, 2))
            z[start:stop, child] = 2 * z[start:stop, parent] - z[start:stop, child]
    z += np.exp(rng.uniform(np.log(1e-3), np.log(0.1))) * size * rng.normal(size=z.shape)
    seen = np.asarray(landmarks.visible)[..., None]
    image = np.where(seen, np.asarray(landmarks.points2d), np.asarray(truth.points2d))
    image = image - image.mean(1, keepdims=True)
    shapes = np.concatenate([image, (z - z.mean(1, keepdims=True))[..., None]], -1)
    rotations = np.asarray(aligned_rotations(jnp.asarray(shapes.transpose(0, 2, 1), jnp.float32)), np.float64)
    middle = np.where(seen, np.asarray(landmarks.points2d), np.asarray(truth.points2d)).mean(1)
    cameras = Cameras(
        rotations=rotations.astype(np.float32),
        translations=np.concatenate([middle, np.zeros((f, 1))], 1).astype(np.float32),
    )
    return truth.replace(points3d=(shapes @ rotations).astype(np.float32), cameras=cameras)


def collect(sets: int, fits: int) -> list[dict[str, Any]]:
    """Evidence and true error of every spoilt shape and fit."""
    rows = []
    for seed in range(sets):
        landmarks, truth, settings = scene(seed)
        results = {"spoilt": spoilt(truth, landmarks, seed)}
        if seed < fits:
            results |= {
                n: jnrsfm.fit(landmarks, m, progress=False).reconstruction for n, m in METHODS.items()
            }
        for name, result in results.items():
            found = verdict.evidence(
                landmarks, result, reliability(landmarks).weights if settings["outliers"] else None
            )
            error = metrics.evaluate(result, truth, ["one-mirror"])["one-mirror"]["normalized_error"]
            rows.append({"seed": seed, "method": name, **settings, "error": error, **found._asdict()})
    return rows


def solve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ridge regression that leaves the constant free, of terms in logarithms."""
    ridge = np.diag([0.0, *[_RIDGE * max(v, 1e-9) for v in x[:, 1:].var(0)]])
    return np.linalg.solve(x.T @ x + ridge, x.T @ y)


def calibrate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Coefficients of all rows; the half width of the interval and the rank correlation from sets left out."""
    evidence = [verdict.Evidence(**{k: r[k] for k in verdict.Evidence._fields if k in r}) for r in rows]
    terms = [verdict._terms(e) for e in evidence]
    names = ["one", *terms[0]]
    x = np.array([[1.0, *t.values()] for t in terms])
    y = np.log(np.clip([r["error"] for r in rows], 5e-3, 1.5))
    part = np.array([r["seed"] // 2 for r in rows]) % _PARTS
    left = np.empty(len(y))
    for k in range(_PARTS):
        left[part == k] = x[part == k] @ solve(x[part != k], y[part != k])
    miss = np.sort(np.abs(left - y))
    half = float(miss[min(math.ceil(_COVER * (len(y) + 1)) - 1, len(y) - 1)])
    rank = lambda v: np.argsort(np.argsort(v))
    return {
        "coefficients": {n: round(float(c), 4) for n, c in zip(names, solve(x, y), strict=True)},
        "half_width": round(half, 3),
        "left_out": {
            "spearman": round(float(np.corrcoef(rank(left), rank(y))[0, 1]), 3),
            "median_factor": round(float(np.exp(np.median(miss))), 3),
            "pairs": len(y), "above_20_percent": int((y > np.log(0.2)).sum()),
            "good_above_20_percent": int(((left < np.log(0.08)) & (y > np.log(0.2))).sum()),
            "poor_below_5_percent": int(((left > np.log(0.2)) & (y < np.log(0.05))).sum()),
        },
    }  # fmt: skip


def main() -> None:
    """Parse, collect, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=240)
    parser.add_argument("--fits", type=int, default=0)
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    rows = json.loads(FILE.read_text())["rows"] if asked.again else collect(asked.sets, asked.fits)
    found = calibrate(rows)
    FILE.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
