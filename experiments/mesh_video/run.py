"""Run the experiments with moving meshes and rewrite this folder's README from their results.

    python -m experiments.mesh_video.run                 every case that has no result yet
    python -m experiments.mesh_video.run NAME ...        these cases, anew
    python -m experiments.mesh_video.run --tables        only the README

`rendered_<template>_<evidence>_<seed>`: clips with exact truth; `handles_<number>_0`: how many handles; `horse_walk_0`:
the real clip, by labelled points, every fourth of them and the last frames held out; `horse_walk_named_0`: with the
points alone that the template names; `supervised_<motion or masks>_0`: a row of the paper's table 3; `stills_0`:
horses by their masks alone; `masks_0`: masks of horses by the mask network. A result is `results/<case>.json`. Nothing
is chosen by 3D.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from experiments.harness import Work, main_of_works
from experiments.mesh_video import clips
from experiments.tables import markdown, replace_between
from jnrsfm.config import to_plain
from jnrsfm.geometry.mesh import MeshSequence, rasterise
from jnrsfm.inputs import label_boxes
from jnrsfm.inputs.crops import squares
from jnrsfm.methods import MeshVideo
from jnrsfm.methods.mesh_video import segmenting
from jnrsfm.methods.mesh_video.clip import around_points
from jnrsfm.metrics import mesh as metrics
from jnrsfm.training import Session
from jnrsfm.types import LabelledImages

HERE = Path(__file__).resolve().parent
FRAMES = 24
EVIDENCE = {
    "keypoints": "keypoints, masks, motion", "points": "keypoints and masks, no motion", "masks": "masks and motion",
    "still": "masks, no motion",
}  # fmt: skip
WALK, LATER = slice(110, 182), slice(182, 206)  # fitted; for the network alone
HELD = slice(1, None, 4)  # of the points that template and labels share


def settings(name: str, **changes: Any) -> MeshVideo:
    """The defaults, for a template."""
    return MeshVideo(**{"template": str(clips.template(name)), "up": clips.UP[name], **changes})


def plain(config: MeshVideo) -> dict[str, Any]:
    """The settings as they are kept: the template by its name."""
    return to_plain(config) | {"template": Path(config.template).stem}


def boxes_of(masks: Any) -> np.ndarray:
    """`(frame, 4)` boxes of masks."""
    out = []
    for mask in masks:
        y, x = np.nonzero(mask)
        out.append((x.min(), y.min(), x.max(), y.max()))
    return np.array(out, float)


def rendered(name: str, evidence: str, seed: int, **changes: Any) -> dict[str, Any]:
    """One rendered clip, by the optimisation alone."""
    images, truth = clips.rendered(name, seed, FRAMES)
    given = clips.without(images, keypoints=evidence in ("masks", "still"))
    config = settings(name, use_motion=evidence in ("keypoints", "masks"), network_steps=0, **changes)
    found = jnrsfm.fit(given, config, seed=seed, progress=True)
    result: Any = found.result
    errors = metrics.vertex_error(np.asarray(result.camera_vertices), truth.vertices)
    angles = metrics.camera_error(np.asarray(result.cameras.rotations), truth.rotations)
    boxes = boxes_of([images.masks.read(i)[..., 0] > 127 for i in range(len(images))])
    visible = np.ones(truth.points.shape[:2], bool)
    shown = {
        "vertex_error": errors.mean(), "worst_frame": errors.max(), "camera_within_20": (angles < 20).mean(),
        "camera_median": np.median(angles), "iou": np.nanmean(np.asarray(result.iou)),
        "pck": metrics.pck(np.asarray(result.points2d), truth.points, visible, boxes),
    }  # fmt: skip
    shown = {k: round(float(v), 5) for k, v in shown.items()}
    print(shown, angles.round().astype(int).tolist(), file=sys.stderr)
    return {"scores": shown, "diagnostics": found.diagnostics, "config": plain(config)}


def overlap(images: LabelledImages, result: MeshSequence, masks: list[np.ndarray]) -> np.ndarray:
    """`(frame,)` IoU of the meshes with masks that the fit did not see."""
    camera, faces = np.asarray(result.camera_vertices), np.asarray(result.faces)
    drawn = [rasterise(v, faces, m.shape).face >= 0 for v, m in zip(camera, masks, strict=True)]
    return metrics.iou(np.stack(drawn), np.stack(masks))


def walk(points: str) -> dict[str, Any]:
    """The walking horse: every fourth shared point held out, masks made from the others, and the last frames held out
    altogether, of which the network is shown the box. `points`: all 22, or those that the template names."""
    whole = clips.horse_walk()
    masks = clips.walker_masks(whole)
    vertices = clips.horse_keypoints()
    if points == "named":
        vertices = {n: v for n, v in vertices.items() if n in clips.HORSE}
    names = [n for n in whole.landmarks.names if n in vertices]
    columns = [whole.landmarks.names.index(n) for n in names]
    held = columns[HELD]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "points.yaml"
        file.write_text("".join(f"{n}: {v}\n" for n, v in vertices.items()))
        config = settings("horse", keypoints=str(file))
        found = jnrsfm.fit(clips.without(whole.select(WALK), points=held), config, progress=True)
    hidden = np.isin(columns, held)

    def scores(result: MeshSequence, part: slice) -> tuple[dict[str, float], dict[str, float]]:
        images = whole.select(part)
        order = [result.names.index(n) for n in names]  # type: ignore[union-attr]
        places = np.asarray(result.points2d)[:, order]
        labels = np.asarray(images.landmarks.points2d)[:, columns]
        visible, boxes = np.asarray(images.landmarks.visible)[:, columns], label_boxes(images)
        near = lambda k: metrics.pck(places[:, k], labels[:, k], visible[:, k], boxes)
        overlaps = float(overlap(images, result, masks[part]).mean())
        shown = {"pck_held_out": near(hidden), "pck_fitted": near(~hidden), "iou": overlaps}
        return shown, {names[k]: near([k]) for k in np.flatnonzero(hidden)}

    result: Any = found.result
    shown, each = scores(result, WALK)
    shown |= {
        "iou_with_made_masks": float(np.nanmean(np.asarray(result.iou))),
        "frames": len(result.vertices),
    }
    shown["held_out"] = int(np.asarray(whole.landmarks.visible)[WALK][:, held].sum())
    later = whole.select(LATER)
    boxed = dataclasses.replace(clips.without(later, keypoints=True), boxes=around_points(label_boxes(later)))
    assert found.model is not None
    alone, _ = scores(found.model.lift(boxed), LATER)
    shown |= {
        "later_pck": alone["pck_fitted"],
        "later_pck_held_out": alone["pck_held_out"],
        "later_iou": alone["iou"],
    }
    print(shown, each, file=sys.stderr)
    kept = {k: v for k, v in plain(config).items() if k != "keypoints"}
    return {"scores": shown, "held_out": each, "diagnostics": found.diagnostics, "config": kept}


def supervised(motion: bool, seed: int = 0) -> dict[str, Any]:
    """One row of the paper's table 3: trained on blocks of a rendered clip by masks, with or without motion; on the
    blocks between them the network alone, refined by masks, and by masks and motion. PCK@0.1 of all keypoints."""
    images, truth = clips.rendered("horse", seed, 60)
    block = np.arange(60) // 6
    parts = {"train": np.flatnonzero(block % 3 < 2), "test": np.flatnonzero(block % 3 == 2)}

    def part(which: np.ndarray) -> LabelledImages:
        chosen = clips.without(images.select(which), keypoints=True)
        runs = np.cumsum(np.r_[0, np.diff(which) > 1]).astype(np.int32)
        return dataclasses.replace(chosen, landmarks=chosen.landmarks.replace(sequence=runs))

    config = settings("horse", use_motion=motion)
    found = jnrsfm.fit(part(parts["train"]), config, seed=seed, progress=True)
    assert found.model is not None
    model: Any = found.model.model
    test = part(parts["test"])
    boxes = boxes_of([test.masks.read(i)[..., 0] > 127 for i in range(len(test))])
    boxed = dataclasses.replace(test, masks=None, boxes=boxes)
    ways = {"alone": (boxed, motion), "masks": (test, False), "masks_motion": (test, True)}
    shown: dict[str, float] = {}
    for name, (given, moving) in ways.items():
        one = dataclasses.replace(model, config=dataclasses.replace(config, use_motion=moving))
        result = one.lift(given)
        points, wanted = np.asarray(result.points2d), truth.points[parts["test"]]
        shown[f"pck_{name}"] = metrics.pck(points, wanted, np.ones(wanted.shape[:2], bool), boxes)
        errors = metrics.vertex_error(np.asarray(result.camera_vertices), truth.vertices[parts["test"]])
        shown[f"vertex_{name}"] = float(errors.mean())
    print(shown, file=sys.stderr)
    return {"scores": shown, "diagnostics": found.diagnostics, "config": plain(config)}


def stills(count: int = 40) -> dict[str, Any]:
    """Horses of all kinds by their masks alone; cameras by trying eight."""
    whole = clips.horses_masked()
    images = whole.select(np.linspace(0, len(whole) - 1, count).astype(int))
    config = settings("horse")
    found = jnrsfm.fit(images, config, progress=True)
    result: Any = found.result
    masks = [images.masks.read(i)[..., 0] > 127 for i in range(count)]
    against = overlap(images, result, masks)
    shown = {"iou": float(against.mean()), "worst": float(against.min()), "images": count}
    print(shown, file=sys.stderr)
    return {"scores": shown, "diagnostics": found.diagnostics, "config": plain(config)}


def segmented() -> dict[str, Any]:
    """The mask network on stills of horses: trained on three of four, scored on the fourth, whose box it is given."""
    images = clips.horses_masked()
    masks = [images.masks.read(i)[..., 0] > 127 for i in range(len(images))]
    test = np.arange(len(images)) % 4 == 3
    where = squares(boxes_of(masks), np.asarray(images.pixels.sizes))
    config = settings("horse", mask_steps=800)
    given = [None if t else m for m, t in zip(masks, test, strict=True)]
    session = Session(progress=True)
    params = segmenting.train(images, where, given, config, jax.random.key(0), session)
    found = segmenting.predict(images, where, params, config, np.flatnonzero(test))
    truth = np.stack([m for m, t in zip(masks, test, strict=True) if t])
    box = np.zeros_like(truth)
    for drawn, b in zip(box, boxes_of(truth).astype(int), strict=True):
        drawn[b[1] : b[3] + 1, b[0] : b[2] + 1] = True
    against = metrics.iou(np.stack(found), truth)
    shown = {
        "iou": float(against.mean()), "worst": float(against.min()), "images": int(test.sum()),
        "iou_box": float(metrics.iou(box, truth).mean()),
    }  # fmt: skip
    print(shown, file=sys.stderr)
    return {"scores": shown, "diagnostics": {}, "config": plain(config)}


def _cases() -> dict[str, Work]:
    """The works by name, those that tell most first."""
    cases: dict[str, Work] = {}
    for name, evidence, seed in (
        ("horse", "keypoints", 0), ("horse", "masks", 0), ("cow", "masks", 1), ("cow", "keypoints", 1),
        ("horse", "points", 0), ("horse", "still", 0), ("tiger", "masks", 2), ("tiger", "keypoints", 2),
    ):  # fmt: skip
        run = lambda name=name, evidence=evidence, seed=seed: rendered(name, evidence, seed)
        cases[f"rendered_{name}_{evidence}_{seed}"] = Work(
            f"rendered {name}", EVIDENCE[evidence], "mesh-video", run
        )
    for name, points in (("horse_walk_0", "all"), ("horse_walk_named_0", "named")):
        about = f"{'22' if points == 'all' else '11'} keypoints, masks made from them, motion"
        cases[name] = Work("horse_walk", about, "mesh-video", lambda points=points: walk(points))
    cases["stills_0"] = Work("horses_masked", "masks of stills", "mesh-video", stills)
    cases["masks_0"] = Work(
        "horses_masked", "the mask network, every fourth still held out", "U-Net", segmented
    )
    for name, motion in (("supervised_motion_0", True), ("supervised_masks_0", False)):
        about = "trained by masks and motion" if motion else "trained by masks"
        run = lambda motion=motion: supervised(motion)
        cases[name] = Work("rendered horse, blocks of a clip", about, "mesh-video", run)
    for count in (8, 16, 32, 64):
        run = lambda count=count: rendered("horse", "keypoints", 0, handles=count)
        cases[f"handles_{count}_0"] = Work("rendered horse", f"{count} handles", "mesh-video", run)
    return cases


CASES = _cases()


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    text = (HERE / "README.md").read_text()
    show = lambda r, key: f"{100 * r['scores'][key]:.1f}" if key in r["scores"] else "–"
    head = (
        "case",
        "evidence",
        "handles",
        "vertex error",
        "worst frame",
        "cameras within 20°",
        "PCK@0.1",
        "mIoU",
        "CPU minutes",
    )
    keys = ("vertex_error", "worst_frame", "camera_within_20", "pck", "iou")
    lines = [
        (
            n, r["setting"], str(r["config"]["handles"]), *(show(r, k) for k in keys),
            f"{r['cpu_seconds'] / 60:.1f}",
        )
        for n, r in rows.items() if n.startswith(("rendered_", "handles_"))
    ]  # fmt: skip
    text = replace_between(text, "rendered", markdown(head, lines))
    head = (
        "case",
        "evidence",
        "handles",
        "frames",
        "PCK@0.1, held-out points",
        "PCK@0.1, fitted points",
        "mIoU",
        "later frames, network alone: PCK@0.1",
        "mIoU",
        "CPU minutes",
    )
    lines = [
        (
            n, r["setting"], str(r["config"]["handles"]),
            str(r["scores"].get("frames", r["scores"].get("images"))), show(r, "pck_held_out"),
            show(r, "pck_fitted"), show(r, "iou"), show(r, "later_pck"), show(r, "later_iou"),
            f"{r['cpu_seconds'] / 60:.1f}",
        )
        for n, r in rows.items() if n.startswith(("horse_walk", "stills", "masks"))
    ]  # fmt: skip
    text = replace_between(text, "real", markdown(head, lines))
    head = ("case", "trained by", "network alone: PCK@0.1", "vertex error", "refined by masks: PCK@0.1", "vertex error",
            "by masks and motion: PCK@0.1", "vertex error", "CPU minutes")  # fmt: skip
    keys = [f"{what}_{way}" for way in ("alone", "masks", "masks_motion") for what in ("pck", "vertex")]
    lines = [
        (n, r["setting"].removeprefix("trained by "), *(show(r, k) for k in keys), f"{r['cpu_seconds'] / 60:.1f}")
        for n, r in rows.items() if n.startswith("supervised_")
    ]  # fmt: skip
    text = replace_between(text, "supervised", markdown(head, lines) if lines else "Not run.")
    when = sorted({(r["device"], r["date"]) for r in rows.values()})
    text = replace_between(text, "when", "; ".join(f"{d}, {t}" for d, t in when))
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main_of_works(sys.argv[1:], HERE, CASES, write_tables))
