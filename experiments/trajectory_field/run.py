"""Run the experiments on filmed scenes and rewrite this folder's README from their results.

    python -m experiments.trajectory_field.run                 every case that has no result yet
    python -m experiments.trajectory_field.run NAME ...        these cases, anew
    python -m experiments.trajectory_field.run --tables        only the README

`walk_<variant>_<seed>`: a rendered figure that walks, one moving camera to train on, eleven still ones to test;
`walk_paths`: rivals without a field; `lego`, `shelf_<variant>`: the sets of the development data. A result is
`results/<case>.json`. Nothing is chosen by 3D or by test images.
"""

import dataclasses
import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import Work, main_of_works
from experiments.tables import markdown, replace_between
from experiments.trajectory_field import scoring
from experiments.trajectory_field.hand import arm
from jnrsfm import io
from jnrsfm.config import to_plain
from jnrsfm.datasets.render import RenderedFigures, RenderedRig, render_rig
from jnrsfm.methods import METHODS, TrajectoryFieldSettings
from jnrsfm.methods.trajectory_field import preparing
from jnrsfm.scenes import DynamicScene
from jnrsfm.training import Session

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data")) / "images" / "dynamic"
WALK = RenderedFigures(
    images=24, clip=24, size=(128, 96), fps=12.0, travel=True, occluders=0.0, rooms=1.0, fill=(0.85, 0.85),
    distance=(2.0, 2.0), off_centre=0.0, roll=0.0, turning=0.0, flow=True, elevation=(8.0, 8.0),
)  # fmt: skip
STEPS, LEGO = 1500, 2000  # of the rendered walk and of the hand; of lego
WALKER = (
    2  # the first seed whose figure moves: where it stands still, half of its points are 15 % of its size off
)
VIEWS = 12  # held-out images that are scored, of 264
SHELF = 4  # times smaller than the photographs of the hand


@functools.cache
def walk(seed: int) -> RenderedRig:
    """The rendered walk and its rig of twelve cameras."""
    return render_rig(dataclasses.replace(WALK, seed=seed))


def fit(scene: DynamicScene, settings: TrajectoryFieldSettings, seed: int) -> Any:
    """By the method alone, without page."""
    return METHODS["trajectory-field"].fit(scene, "perspective", settings, seed, Session(progress=True))


def rendered(
    settings: TrajectoryFieldSettings, seed: int, given: bool = True, depth: bool = False
) -> dict[str, Any]:
    """Fit the moving camera's images, score the still cameras' and the paths. `given`: exact flow and masks; `depth`:
    inverse depth too, by a scale and an offset of its own in each image, as a depth network gives it."""
    rig = walk(WALKER)
    scene = rig.scene(motion=True) if given else io.scenes.with_motion(rig.scene())
    if depth:
        rng = np.random.default_rng(seed)
        scale, offset = rng.uniform(0.5, 2.0, (len(scene), 1, 1)), rng.uniform(-1.0, 1.0, (len(scene), 1, 1))
        inverse = scale / np.maximum(rig.path.depth, 1e-3) + offset
        scene = dataclasses.replace(scene, depth=inverse.astype(np.float32))
    found = fit(scene, settings, seed)
    field = found.reconstruction
    scores, count = scoring.views(field, rig.held_out(), rig.held_out_masks(), VIEWS, rig)
    return {
        "views": scores, "images": count, "paths": scoring.paths(field, rig), "config": to_plain(settings),
        **scoring.about(found),
    }  # fmt: skip


def rivals() -> dict[str, Any]:
    """Paths without a field: none, and chained flow, exact and by dense inverse search."""
    rig = walk(WALKER)
    exact = rig.scene(motion=True).motion
    dis = io.scenes.with_motion(rig.scene()).motion
    assert exact is not None
    assert dis is not None
    return {
        "paths_still": scoring.still(rig), "paths_exact_flow": scoring.chained(rig, (exact.forward, exact.backward)),
        "paths_flow": scoring.chained(rig, (dis.forward, dis.backward)), "config": {},
    }  # fmt: skip


def lego(settings: TrajectoryFieldSettings, seed: int) -> dict[str, Any]:
    """50 training images at 50 times, 11 test images."""
    scene = io.read_scene(DATA / "lego")
    found = fit(scene, settings, seed)
    scores, count = scoring.views(found.reconstruction, scene.part("test"), None, 11)
    return {"views": scores, "images": count, "config": to_plain(settings), **scoring.about(found)}


def shelf(settings: TrajectoryFieldSettings, seed: int) -> dict[str, Any]:
    """Every eighth frame held out. Flow of the training frames trains; in the test frames the arm is what moves, as
    outlined by eye, for scoring alone."""
    scene = io.read_scene(DATA / "hand_shelf", hold_out=8)
    train = io.scenes.with_motion(scene.part("train"))
    test = preparing.smaller(scene.part("test"), settings.downscale)
    masks = np.stack([arm(name, test.size) for name in test.pixels.names])
    found = fit(train, settings, seed)
    scores, count = scoring.views(found.reconstruction, test, masks, 8)
    return {"views": scores, "images": count, "config": to_plain(settings), **scoring.about(found)}


def _cases() -> dict[str, Work]:
    base = TrajectoryFieldSettings(steps=STEPS)
    change = lambda **changes: dataclasses.replace(base, **changes)
    variants = {
        "full": ("full", base), "local": ("rendered from neighbours only", change(variant="local")),
        "tnerf": ("no paths, static part", change(variant="t-nerf")),
        "tnerf_alone": ("no paths, no static part", change(variant="t-nerf", static_part=False)),
        "static": ("no time", change(variant="static")),
        "no_static": ("no static part", change(static_part=False)),
        "no_occlusion": ("without p_occ", change(occlusion=False)),
        "no_cycle": ("without cycles", change(cycle_weight=0.0)),
        "no_surface": ("without single surface", change(surface_weight=0.0)),
        "no_path": ("without regularised paths", change(path_weight=0.0)),
        "no_chains": ("flow to the neighbouring frames alone", change(flow_reach=1)),
        "no_flow": ("without flow", change(flow_weight=0.0)),
    }  # fmt: skip
    cases = {}
    for name, (about, settings) in variants.items():
        run = lambda settings=settings: rendered(settings, 0)
        cases[f"walk_{name}_0"] = Work(
            "rendered walk", f"{about}; exact flow and masks", "trajectory-field", run
        )
    for name in ("full", "tnerf", "local"):
        run = lambda settings=variants[name][1]: rendered(settings, 0, depth=True)
        cases[f"walk_{name}_depth_0"] = Work(
            "rendered walk", f"{variants[name][0]}; exact flow, masks and depth of unknown scale and offset",
            "trajectory-field", run,
        )  # fmt: skip
    cases["walk_dis_0"] = Work(
        "rendered walk",
        "full; flow and masks from the images",
        "trajectory-field",
        lambda: rendered(base, 0, False),
    )
    cases["walk_paths"] = Work("rendered walk", "rivals without a field", "none", rivals)
    cases["lego"] = Work("lego", "small preset", "trajectory-field", lambda: lego(change(steps=LEGO), 0))
    small = change(downscale=SHELF)
    for name in ("full", "static"):
        settings = dataclasses.replace(small, variant=name)  # type: ignore[arg-type]
        run = lambda settings=settings: shelf(settings, 0)
        cases[f"shelf_{name}"] = Work("hand_shelf", f"{name}, 128 x 96", "trajectory-field", run)
    return cases


CASES = _cases()


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    head = (
        "case",
        "setting",
        "PSNR",
        "SSIM",
        "LPIPS",
        "moving: PSNR",
        "SSIM",
        "co-visible: PSNR",
        "moving",
        "paths: median",
        "mean",
        "pixels",
        "CPU minutes",
    )
    value = lambda part, key, form=".2f": format(part[key], form) if key in part else "–"
    lines = []
    for name, r in rows.items():
        if "views" in r:
            v, p = r["views"], r.get("paths", {})
            p = p if r["config"].get("variant") in ("full", "local") else {}
            lines.append((
                name, r["setting"], value(v, "psnr"), value(v, "ssim", ".3f"),
                value(v, "lpips", ".3f"), value(v, "psnr_moving"),
                value(v, "ssim_moving", ".3f"), value(v, "psnr_covisible"), value(v, "psnr_moving_covisible"),
                value(p, "median", ".1%"), value(p, "mean", ".1%"), value(p, "pixels", ".1f"),
                f"{r['cpu_seconds'] / 60:.1f}",
            ))  # fmt: skip
    text = (HERE / "README.md").read_text()
    text = replace_between(text, "views", markdown(head, lines))
    lines = [
        (
            key.removeprefix("paths_").replace("_", " "), *(value(r[key], k, ".1%") for k in ("median", "mean")),
            value(r[key], "pixels", ".1f"),
        )
        for r in rows.values() for key in r if key.startswith("paths_")
    ]  # fmt: skip
    text = replace_between(text, "paths", markdown(("paths", "median", "mean", "pixels"), lines))
    when = sorted({(r["device"], r["date"]) for r in rows.values()})
    text = replace_between(text, "when", "; ".join(f"{d}, {t}" for d, t in when))
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main_of_works(sys.argv[1:], HERE, CASES, write_tables))
