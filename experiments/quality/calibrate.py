"""Fit the formula of the expected error (`jnrsfm/metrics/expected_error.py`) on generated figures of known 3D.

    python -m experiments.quality.calibrate            fits by auto and rigid (an hour of a core), then the formula
    python -m experiments.quality.calibrate --again    the formula anew from the evidence in calibration.json

Figures, views, noise, gaps and outliers are drawn at random; a part of the sets is easy, so that there are right fits
among them. Beside the fits there are true shapes spoilt in the ways in which fits go wrong: relief too flat or too
deep, depth sheared, depth that drifts with time, limbs reflected for a while, noise; their cameras are those that align
the spoilt shapes. No real data take part.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnrsfm
from experiments.harness import device, today
from jnrsfm import datasets, metrics
from jnrsfm.factorization.cameras import aligned_rotations
from jnrsfm.inputs.doubted_points import reliability
from jnrsfm.metrics import expected_error
from jnrsfm.types import Cameras

FILE = Path(__file__).with_name("calibration.json")
METHODS = ("auto", "rigid")
VIEWS = ("orbit", "handheld", "fixed", "tumble", "random")
KINDS = ("walker", "quadruped", "hand")
LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))  # shares of the points
_EASY = 1000  # seeds from here on
_RIDGE = 3.0  # observations that speak for no influence of a term
_PARTS = 5
_COVER = 0.9
_SAMPLE = (np.arange(20) + 0.5) / 20  # of the errors of a fit's points


def scene(seed: int) -> tuple[Any, Any, dict[str, Any], str]:
    """Landmarks, truth, settings and camera of a random set; all have one size, so that one compilation serves all."""
    rng = np.random.default_rng(seed)
    view, speed = str(rng.choice(VIEWS)), float(np.exp(rng.uniform(np.log(0.1), np.log(5.0))))
    near, distance = bool(rng.random() < 0.5), float(np.exp(rng.uniform(np.log(3), np.log(10))))
    settings = {
        "camera": "perspective" if near else "orthographic", "view": view, "degrees_per_frame": speed,
        "turning": speed if view == "fixed" else float(rng.choice([0, 0.3])),
        "noise": float(rng.choice([0, 0.003, 0.01, 0.03])), "outliers": float(rng.choice([0, 0, 0.05])),
        "missing": float(rng.choice([0.02, 0.15])), "limb_occlusion": float(rng.choice([0, 0, 0.15])),
        "clips": int(rng.choice([1, 1, 4])), "distance": distance,
    }  # fmt: skip
    if seed >= _EASY:
        settings |= {
            "camera": "orthographic", "view": str(rng.choice(("orbit", "tumble", "handheld"))),
            "degrees_per_frame": float(rng.uniform(3, 9)), "noise": float(rng.choice([0, 0, 0.001, 0.003])),
            "outliers": 0.0, "missing": 0.02, "limb_occlusion": 0.0,
        }  # fmt: skip
    kind = KINDS[seed % len(KINDS)]
    landmarks, truth = datasets.make(kind, seed=seed, frames=120, **settings)
    camera = "weak-perspective" if settings["camera"] == "perspective" else "orthographic"
    return landmarks, truth, {"kind": kind, **settings}, camera


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


def row(
    seed: int, method: str, landmarks: Any, truth: Any, result: Any, keeps_lengths: bool = False
) -> dict[str, Any]:
    """Evidence and true error of a result; of its points a sample of the distances from the truth, in the deviations
    that they would have were the expected error 1."""
    weights = reliability(landmarks).weights
    found = metrics.evidence(landmarks, result, weights, keeps_lengths)._asdict()
    checks = metrics.assess(landmarks, result)["items"]
    found["spread"] = next((i["value"] for i in checks if i["name"] == "restart_spread"), None)
    shapes = metrics.protocol("one-mirror-scaled").align(result, truth)
    away = np.linalg.norm(shapes.estimate - shapes.reference, axis=-1)
    size = lambda x: np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).sum(-1).mean(1))[:, None]
    away = away / size(shapes.reference)
    unit = metrics.deviations(landmarks, result, 1.0, weights) / size(np.asarray(result.points3d, np.float64))
    scores = metrics.evaluate(result, truth, ["one-mirror-scaled"])["one-mirror-scaled"]
    known = lambda v: (
        v if isinstance(v, bool) else None if v is None or not math.isfinite(v) else round(float(v), 5)
    )
    return {
        "seed": seed, "method": method, "error": round(scores["normalized_error"], 5),
        **{k: known(v) for k, v in found.items()},
        "points": [round(float(v), 4) for v in np.quantile(away / unit, _SAMPLE)],
    }  # fmt: skip


def collect(hard: int, easy: int, spoilt_sets: int) -> list[dict[str, Any]]:
    """A row for every fit and every spoilt shape."""
    rows, seeds = [], [*range(hard), *range(_EASY, _EASY + easy)]
    for n, seed in enumerate(seeds):
        landmarks, truth, _, camera = scene(seed)
        for method in METHODS:
            found = jnrsfm.fit(landmarks, method, camera=camera, progress=False)
            kept = found.diagnostics.get("method") == "articulated"
            rows.append(row(seed, method, landmarks, truth, found.reconstruction, kept))
        print(f"{n + 1} of {len(seeds)} sets", flush=True)
        if n % 40 == 39:
            jax.clear_caches()  # a process can map only so many compiled programs
    for seed in range(spoilt_sets):
        landmarks, truth, settings, _ = scene(seed)
        if settings["camera"] == "orthographic":
            rows.append(row(seed, "spoilt", landmarks, truth, spoilt(truth, landmarks, seed)))
    return rows


def solve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ridge regression that leaves the constant free, of terms in logarithms."""
    ridge = np.diag([0.0, *[_RIDGE * max(v, 1e-9) for v in x[:, 1:].var(0)]])
    return np.linalg.solve(x.T @ x + ridge, x.T @ y)


def evidence_of(one: dict[str, Any]) -> metrics.Evidence:
    """What a row says, NaN where it says nothing."""
    return metrics.Evidence(
        **{k: float("nan") if one[k] is None else one[k] for k in metrics.Evidence._fields}
    )


def calibrate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Coefficients of all rows; from sets left out the half width of the interval, the distances within which shares of
    the points lie, and how well all this did."""
    evidence = [evidence_of(r) for r in rows]
    terms = [expected_error.terms(e) for e in evidence]
    names = ["one", *terms[0]]
    x = np.array([[1.0, *t.values()] for t in terms])
    y = np.log(np.clip([r["error"] for r in rows], 5e-3, 1.5))
    method = np.array([r["method"] for r in rows])
    free = method != "rigid"  # what keeps all lengths says nothing of what lengths say
    part = np.array([r["seed"] // len(KINDS) for r in rows]) % _PARTS
    left = np.empty(len(y))
    for k in range(_PARTS):
        left[part == k] = x[part == k] @ solve(x[(part != k) & free], y[(part != k) & free])
    at_least = np.log([max(expected_error.least(e), 1e-9) for e in evidence])
    left = np.minimum(np.maximum(left, at_least), math.log(2.0))
    fits = method != "spoilt"
    miss = np.sort(np.abs(left - y)[fits])
    half = float(miss[min(math.ceil(_COVER * (len(miss) + 1)) - 1, len(miss) - 1)])
    rank = lambda v: np.argsort(np.argsort(v))
    about = lambda m: {
        "fits": int(m.sum()), "spearman": round(float(np.corrcoef(rank(left[m]), rank(y[m]))[0, 1]), 3),
        "median_factor": round(float(np.exp(np.median(np.abs(left - y)[m]))), 3),
        "above_20_percent": int((y > np.log(0.2))[m].sum()),
        "good_above_20_percent": int(((left < np.log(0.08)) & (y > np.log(0.2)))[m].sum()),
        "poor_below_5_percent": int(((left > np.log(0.2)) & (y < np.log(0.05)))[m].sum()),
    }  # fmt: skip
    ratio = np.array([r["points"] for r in rows]) / np.exp(left)[:, None]
    covered = np.zeros(len(LEVELS))
    for k in range(_PARTS):
        radii = np.quantile(ratio[fits & (part != k)], LEVELS)
        covered += (ratio[fits & (part == k)][..., None] <= radii).sum((0, 1)) / ratio[fits].size
    return {
        "coefficients": {n: round(float(c), 4) for n, c in zip(names, solve(x[free], y[free]), strict=True)},
        "half_width": round(half, 3),
        "radii": {str(p): round(float(np.quantile(ratio[fits], p)), 2) for p in LEVELS},
        "left_out": {m: about(method == m) for m in (*METHODS, "spoilt")},
        "points_left_out": {
            "coverage": {str(p): round(float(c), 3) for p, c in zip(LEVELS, covered, strict=True)},
            "calibration_error": round(float(np.abs(covered - np.array(LEVELS)).mean()), 4),
        },
        "guessed_depths": round(float(np.exp(np.median(y[fits & [e.guessed for e in evidence]]))), 3),
    }  # fmt: skip


def main() -> None:
    """Parse, collect, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hard", type=int, default=90, help="sets of any difficulty")
    parser.add_argument("--easy", type=int, default=60, help="sets that can be solved")
    parser.add_argument(
        "--spoilt", type=int, default=300, help="sets of which those under orthography are spoilt"
    )
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    if asked.again:
        old = json.loads(FILE.read_text())
        rows, about = old["rows"], {k: old[k] for k in ("command", "device", "date")}
    else:
        rows = collect(asked.hard, asked.easy, asked.spoilt)
        command = f"python -m experiments.quality.calibrate --hard {asked.hard} --easy {asked.easy}"
        about = {"command": f"{command} --spoilt {asked.spoilt}", "device": device(), "date": today()}
    write_calibration({**about, **calibrate(rows)}, rows)


def write_calibration(found: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The file, a row of evidence in a line."""
    told = json.dumps(found, indent=1)
    print(told)
    lines = ",\n".join(json.dumps(r) for r in rows)
    FILE.write_text(f'{told[:-2]},\n "rows": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
