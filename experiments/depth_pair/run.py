"""Run the experiments on depth from two frames and rewrite this folder's README from their results.

    python -m experiments.depth_pair.run                 every case that has no result yet
    python -m experiments.depth_pair.run NAME ...        these cases, anew
    python -m experiments.depth_pair.run --tables        only the README

`rendered_<loss>_<frames>_<seed>`: a loss (nmg, ordinal, ranking, silog, affine) and what the network sees (two frames
with flow, the same frame twice without, one); `real_<seed>`: crops of real stereo scenes, two held out; `faults`:
planted faults in a side-by-side video. A result is `results/<case>.json`. Nothing is chosen by true depth.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import jnrsfm
from experiments.depth_pair import faults, scenes
from experiments.harness import Work, main_of_works
from experiments.tables import markdown, replace_between
from jnrsfm.config import to_plain
from jnrsfm.depth_maps import ArrayPairs
from jnrsfm.inputs import at_size
from jnrsfm.methods import DepthPair
from jnrsfm.metrics import depth as metrics

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data")) / "images" / "depth"
CLIPS, TESTS, STEPS, BATCH = 240, 48, 400, 8
CONFIG = DepthPair(size=(80, 48), preset="small", steps=STEPS, batch=BATCH, holdout=0.05, chunk=20)
FRAMES = {"two": "two frames and flow", "same": "the frame twice, no flow", "one": "one frame"}


def aligned(q: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Inverse depth by the scale and shift that fit it best to the true one; 0 or less is the farthest true one."""
    x, y = q[valid], truth[valid]
    away = x - x.mean()
    slope = float((away * y).sum() / max(float((away**2).sum()), 1e-12))
    return np.maximum(slope * (q - x.mean()) + y.mean(), y.min())


def scores(
    q: np.ndarray, depth: np.ndarray, moves: np.ndarray | None = None, valid: np.ndarray | None = None
) -> dict:
    """Errors of inverse depths `(image, y, x)`, affinely aligned to the true ones and (`median_`) by the median alone;
    `moving_`, `static_`: the root mean square log error, less the mean of the whole image, on the regions."""
    every = np.ones(q.shape, bool) if valid is None else valid
    found = metrics.depth_errors(1 / q, depth, every, align="affine")
    found |= {f"median_{k}": v for k, v in metrics.depth_errors(1 / q, depth, every, align="median").items()}
    if moves is not None:
        parts: dict[str, list[float]] = {"moving": [], "static": []}
        for i in range(len(q)):
            gap = np.log(aligned(q[i], 1 / depth[i], every[i])) + np.log(depth[i])
            gap = gap - gap[every[i]].mean()
            for name, mask in (("moving", moves[i] & every[i]), ("static", ~moves[i] & every[i])):
                if mask.sum() >= 20:
                    parts[name].append(float(np.sqrt(np.mean(gap[mask] ** 2))))
        found |= {name: float(np.mean(values)) for name, values in parts.items() if values}
    return found


def row_means(pairs: ArrayPairs, height: int) -> np.ndarray:
    """`(height,)`: the mean disparity of each row, each image's brought to mean 0 and deviation 1 first; above 0."""
    total, count = np.zeros(pairs.size[1]), np.zeros(pairs.size[1])
    for d, valid in zip(pairs.disparity, pairs.valid, strict=True):
        z = np.where(valid, (d - d[valid].mean()) / max(d[valid].std(), 1e-6), 0)
        total, count = total + z.sum(1), count + valid.sum(1)
    rows = total / np.maximum(count, 1)
    rows = rows[((np.arange(height) + 0.5) * len(rows) / height).astype(int)]
    return rows - rows.min() + 0.5


def beside(q: np.ndarray, rows: np.ndarray, pairs: ArrayPairs) -> dict[str, dict]:
    """Scores of the network's inverse depth, of one value for each row, and of a flat map, on pairs whose label stands
    for their inverse depth."""
    depth = 1 / np.where(pairs.valid, np.maximum(pairs.disparity, 1e-3), 1e-3)
    guesses = {"network": q, "rows": np.broadcast_to(rows[None, :, None], q.shape), "flat": np.ones_like(q)}
    result = {n: scores(np.asarray(x, np.float64), depth, valid=pairs.valid) for n, x in guesses.items()}
    for found in result.values():  # a flat map has no gradients to scale
        found |= {k: None for k, v in found.items() if not np.isfinite(v)}
    return result


def rendered(loss: str, frames: str, seed: int) -> dict[str, Any]:
    """Train on rendered pairs, score other scenes; with `nmg` real pairs too, which it has not seen the like of."""
    train, test = scenes.rendered(CLIPS, 1), scenes.rendered(TESTS, 1001)
    config = dataclasses.replace(CONFIG, loss=loss, frames=frames)  # type: ignore[arg-type]
    found = jnrsfm.fit(train.pairs, config, seed=seed, progress=False)
    assert found.model is not None
    q = np.asarray(found.model.lift(test.pairs).inverse_depth)
    small = [at_size({**test.pairs.read(i), "disparity": test.depth[i]}, config.size) for i in range(len(q))]
    moves = [
        at_size({**test.pairs.read(i), "valid": test.moves[i]}, config.size)["valid"] for i in range(len(q))
    ]
    depth = np.stack([s["disparity"] for s in small])
    more = {}
    if loss == "nmg":
        names, pairs = scenes.real_pairs(FOLDER, (config.size[0], config.size[1]))
        rows = row_means(train.pairs, config.size[1])
        found_q = np.asarray(found.model.lift(pairs).inverse_depth)
        more = {"real": beside(found_q, rows, pairs), "real_pairs": names}
    return {
        "test": scores(q, depth, np.stack(moves)), "train_pairs": len(train.pairs), "test_pairs": len(q),
        "heldout": found.diagnostics["criteria"], "config": to_plain(config), **more,
    }  # fmt: skip


def real(seed: int) -> dict[str, Any]:
    """Train on crops of real scenes and on rendered ones, one frame; score scenes that were held out. Few crops among
    many rendered frames, and strong colours: by cross-validation within the training scenes, what is left of the
    variance of disparity is 0.75 with 60 crops of each alone, 0.51 with rendered frames, 0.45 with 15 crops."""
    folder, size = FOLDER / "stereo", (CONFIG.size[0], CONFIG.size[1])
    crops = scenes.stereo_crops(folder, scenes.TRAIN_SCENES, 15, (90, 54), seed)
    test = scenes.stereo_crops(folder, scenes.TEST_SCENES, 1, size, seed)
    train = scenes.mixed(crops, scenes.rendered(CLIPS, 1).pairs, (90, 54))
    config = dataclasses.replace(CONFIG, frames="one", holdout=0.0, colour=0.5)
    found = jnrsfm.fit(train, config, seed=seed, progress=False)
    assert found.model is not None
    q = np.asarray(found.model.lift(test).inverse_depth)
    return {
        "scores": beside(q, row_means(crops, size[1]), test), "train_pairs": len(train),
        "test_scenes": list(scenes.TEST_SCENES), "config": to_plain(config),
    }  # fmt: skip


def _cases() -> dict[str, Work]:
    """The works by name."""
    cases: dict[str, Work] = {}
    about = f"rendered scenes, {2 * CLIPS} pairs, labels of random slope and offset"
    wanted = [("nmg", "two"), ("ordinal", "two"), ("nmg", "one"), ("nmg", "same")]
    wanted += [(loss, "two") for loss in ("ranking", "affine", "silog")]
    for seed in (0, 1, 2):
        for loss, frames in wanted:
            run = lambda loss=loss, frames=frames, seed=seed: rendered(loss, frames, seed)
            cases[f"rendered_{loss}_{frames}_{seed}"] = Work(
                about, f"{loss}; {FRAMES[frames]}", "depth-pair", run
            )
        cases[f"real_{seed}"] = Work(
            "real stereo scenes, crops",
            "crops and rendered scenes, one frame; two scenes held out",
            "depth-pair",
            lambda seed=seed: real(seed),
        )
    cases["faults"] = Work(
        "side-by-side videos of rendered clips", "planted faults", "depth-pair", faults.run
    )
    return cases


CASES = _cases()
SHOWN = ("abs_rel", "silog", "nmg", "delta_1", "moving", "static", "median_abs_rel", "median_silog")


def _mean(rows: list[dict], key: str) -> str:
    values = [r["test"][key] for r in rows if key in r["test"]]
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}" if values else "–"


def _beside(part: dict[str, dict]) -> list[tuple[str, ...]]:
    keys = ("nmg", "abs_rel", "silog", "delta_1")
    return [(who, *("–" if s[k] is None else f"{s[k]:.3f}" for k in keys)) for who, s in part.items()]


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    groups: dict[str, list[dict]] = {}
    for name, row in rows.items():
        if name.startswith("rendered_"):
            groups.setdefault(row["setting"], []).append(row)
    minutes = lambda part: f"{np.mean([r['cpu_seconds'] for r in part]) / 60:.1f}"
    lines = [
        (what, str(len(part)), *(_mean(part, k) for k in SHOWN), minutes(part))
        for what, part in groups.items()
    ]
    head = ("loss; input", "seeds", *(k.replace("_", " ") for k in SHOWN), "CPU minutes")
    text = (HERE / "README.md").read_text()
    text = replace_between(text, "rendered", markdown(head, lines) if lines else "Not run.")
    lines = []
    for name, row in rows.items():
        if name.startswith("real_"):
            lines += [(name, *line) for line in _beside(row["scores"])]
    text = replace_between(
        text,
        "real",
        markdown(("case", "who", "NMG error", "abs rel", "SILog", "delta 1"), lines) if lines else "Not run.",
    )
    lines = [
        (name, *line)
        for name, row in rows.items() if "real" in row
        for line in _beside(row["real"])
    ]  # fmt: skip
    head = ("case", "who", "NMG error", "abs rel", "SILog", "delta 1")
    text = replace_between(text, "pairs", markdown(head, lines) if lines else "Not run.")
    lines = [
        (r["fault"], r["found"], str(r["shots"]), "yes" if r["right"] else "no")
        for r in rows.get("faults", {}).get("rows", ())
    ]  # fmt: skip
    head = ("planted", "verdict on its shots", "shots", "right")
    text = replace_between(text, "faults", markdown(head, lines) if lines else "Not run.")
    when = sorted({(r["device"], r["date"]) for r in rows.values()})
    text = replace_between(text, "when", "; ".join(f"{d}, {t}" for d, t in when) or "–")
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main_of_works(sys.argv[1:], HERE, CASES, write_tables))
