"""Run the experiments of the keypoint transformer and rewrite this folder's README from their results.

    python -m experiments.keypoint_transformer.run             every case that has no result yet
    python -m experiments.keypoint_transformer.run NAME ...    these cases, anew
    python -m experiments.keypoint_transformer.run --tables    only the README

`<lifter>_<how>_<seed>` on rendered figures of four kinds: `apart` (transformer and lifter trained apart), `plain`
(together, without context), `context` (together, with it). They begin with the same transformer, trained alone, which
is kept beside the rendered sets; each then goes on in its own way for as many steps. `real_together`: six real labelled
sets as categories of one network; `real_<set>`: that set alone. A result is `results/<case>.json`. Nothing is chosen by
3D.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from experiments.harness import Work, main_of_works
from experiments.keypoint_transformer import sets
from experiments.student.run import without_labels
from experiments.student.sets import SCRATCH
from experiments.tables import markdown, replace_between
from jnrsfm.config import to_plain
from jnrsfm.inputs import label_boxes
from jnrsfm.methods import KeypointTransformer
from jnrsfm.methods import keypoint_transformer as kt
from jnrsfm.methods.keypoint_transformer import Found2D, KeypointTransformerModel
from jnrsfm.methods.student import pck
from jnrsfm.training import Session
from jnrsfm.types import LabelledImages

METHOD = KeypointTransformerModel.METHOD
HERE = Path(__file__).resolve().parent
TRAIN, TEST, REAL_STEPS = 16000, 400, 900
STEPS = {0: 12000}
OTHER_STEPS = 2000  # of the other seeds
HOW = ("apart", "plain", "context")


def errors(found: np.ndarray, truth: np.ndarray, defined: np.ndarray) -> dict[str, float]:
    """MPJPE and stress over the points `defined (image, point)`: shapes centred, scaled to the truth by least squares
    (the unit of one image is free), the better of the two depth reflections of each image; in shares of the truth's
    root mean square size. Stress: mean | |x_i - x_j| - |y_i - y_j| | over pairs."""
    mpjpe, stress = [], []
    for x, g, has in zip(np.asarray(found, np.float64), np.asarray(truth, np.float64), defined, strict=True):
        x, g = x[has] - x[has].mean(0), g[has] - g[has].mean(0)
        size = np.sqrt((g**2).sum(-1).mean())
        best = np.inf
        for sign in (1.0, -1.0):
            y = x * [1, 1, sign]
            y = y * max((y * g).sum(), 0.0) / max((y * y).sum(), 1e-12)
            best = min(best, float(np.linalg.norm(y - g, axis=-1).mean() / size))
        mpjpe.append(best)
        y = x * max((x * g)[:, :2].sum(), 0.0) / max((x * x)[:, :2].sum(), 1e-12)
        a, b = (np.linalg.norm(z[:, None] - z[None], axis=-1) for z in (y, g))
        count = len(g) * (len(g) - 1)
        stress.append(np.abs(a - b).sum() / count / size)
    return {"mpjpe": float(np.mean(mpjpe)), "stress": float(np.mean(stress))}


def two_d(found: Found2D, images: LabelledImages) -> dict[str, float]:
    """PCK over labelled points (a wrong category misses them all), and the category's accuracy."""
    marks = images.landmarks
    visible = np.asarray(marks.visible)
    distance = np.linalg.norm(
        found.points - np.where(visible[..., None], np.asarray(marks.points2d), 0), axis=-1
    )
    distance = np.where(visible, np.where(found.defined, distance, np.inf), 0.0)
    boxes = label_boxes(images)
    right = found.category == np.asarray(marks.category)
    share = {f"pck_{s:g}": pck(distance, boxes, visible.astype(float), s) for s in (0.1, 0.05)}
    return share | {"category": float(right.mean())}


def alone(
    train: LabelledImages, config: KeypointTransformer, steps: int, seed: int
) -> KeypointTransformerModel:
    """The transformer trained alone, and a lifter: kept, since several cases begin with it."""
    path = SCRATCH / f"transformer-{len(train)}-{steps}-{config.lifter}-{seed}.npz"
    if not path.is_file():
        session = Session(None)
        setup = kt.prepare(train, config, seed, session)
        params, _ = kt.find(setup, config, steps, seed, session)
        model, _ = kt.model_of(setup, config, params, setup.lifter.model["nets"], False)
        beside = path.with_name(f"{os.getpid()}-{path.name}")
        model.save(beside)
        beside.replace(path)
    return KeypointTransformerModel.load(path)


def rendered(lifter: str, how: str, seed: int) -> dict[str, Any]:
    """Train on rendered figures; score new figures: 2D, 3D from what is found, 3D from the true keypoints."""
    train, test = sets.figures(TRAIN, 11), sets.figures(TEST, 500)
    steps, session = STEPS.get(seed, OTHER_STEPS), Session(None)
    config = KeypointTransformer(lifter=lifter, steps=steps)  # type: ignore[arg-type]
    if how == "plain":
        config = dataclasses.replace(config, context=0)
    joint = round(config.together * steps)
    first = KeypointTransformer(lifter="ours", steps=steps)
    begun = alone(train.images, first, steps - joint, seed).params["detector"]
    setup = kt.prepare(train.images, config, seed, session)
    # the context's own numbers begin anew, so that networks of all lengths of context can go on from one
    fresh = setup.system.detector.init(jax.random.key(seed))[0]
    begun = {**begun, "context": fresh["context"]}
    nets = setup.lifter.model["nets"]
    if how == "apart":
        params, criteria = kt.find(setup, config, joint, seed, session, begun)
    else:
        params, nets, criteria = kt.together(setup, config, joint, seed, session, begun)
    model, _ = kt.model_of(setup, config, params, nets, how == "context")
    defined = np.asarray(test.images.landmarks.defined)
    found = model.find(without_labels(test.images))
    result = {"test": two_d(found, test.images), "criteria": criteria, "kinds": {}}
    lifted = model.reconstruct(test.images.landmarks, found)
    result["test"] |= errors(lifted.camera_points, test.points3d, defined)
    kind = np.asarray(test.images.landmarks.category)
    for number, name in enumerate(sets.KINDS):
        own = np.flatnonzero(kind == number)
        result["kinds"][name] = two_d(part_of(found, own), test.images.select(own))
        result["kinds"][name] |= errors(
            np.asarray(lifted.camera_points)[own], test.points3d[own], defined[own]
        )
    true = dataclasses.replace(
        found, category=kind, points=np.where(defined[..., None], test.points2d, 0), defined=defined,
        spread=np.zeros_like(found.spread),
    )  # fmt: skip
    result["true_keypoints"] = errors(
        model.reconstruct(test.images.landmarks, true).camera_points, test.points3d, defined
    )
    # kinds of figures that the training did not have
    strange = sets.figures(100, 900, kinds=("chair", "car"))
    flags = model.unfamiliar(model.find(without_labels(strange.images)))
    result["unfamiliar"] = {"other kinds": float(flags.mean()), "test": float(model.unfamiliar(found).mean())}
    result["flicker"] = flicker(model)
    return result | {"config": to_plain(config)}


def flat() -> dict[str, Any]:
    """What a shape without depth would have: the true x and y."""
    test = sets.figures(TEST, 500)
    shapes, defined = np.array(test.points3d), np.asarray(test.images.landmarks.defined)
    shapes[..., 2] = 0
    kind, kinds = np.asarray(test.images.landmarks.category), {}
    for number, name in enumerate(sets.KINDS):
        own = np.flatnonzero(kind == number)
        kinds[name] = errors(shapes[own], test.points3d[own], defined[own])
    return {"test": errors(shapes, test.points3d, defined), "kinds": kinds}


def converges(steps: int = 500, seeds: int = 5) -> dict[str, Any]:
    """Distances of labels and of held-out labels (crop units) after some steps of the transformer alone, for several
    seeds; and of what knows nothing, the mean place of each keypoint."""
    train, session = sets.figures(TRAIN, 11), Session(None)
    config = KeypointTransformer(lifter="ours", steps=steps, lifter_steps=1)
    lifter, ends = None, []
    for seed in range(seeds):
        setup = kt.prepare(train.images, config, seed, session, lifter)
        lifter = setup.lifter
        ends.append(kt.find(setup, config, steps, seed, session)[1][0])
    points, shown = (np.asarray(x) for x in (setup.samples.points, setup.samples.labelled))
    category = np.asarray(setup.samples.category)
    gaps = []
    for kind in np.unique(category):
        own, there = points[category == kind], shown[category == kind][..., None]
        mean = (own * there).sum(0) / np.maximum(there.sum(0), 1)
        gaps.append(np.linalg.norm(own - mean, axis=-1)[there[..., 0]])
    return {"steps": steps, "seeds": ends, "mean_place": float(np.concatenate(gaps).mean())}


def part_of(found: Found2D, rows: np.ndarray) -> Found2D:
    """Some of the images."""
    return Found2D(*(np.asarray(getattr(found, f.name))[rows] for f in dataclasses.fields(Found2D)))


def flicker(model: KeypointTransformerModel) -> float:
    """Share of left-right pairs that change sides between neighbouring frames of rendered clips, where the truth does
    not."""
    clips = sets.figures(160, 700, clip=40)
    found = model.find(without_labels(clips.images))
    same = np.diff(np.asarray(clips.images.landmarks.sequence)) == 0
    swapped, count = 0, 0
    for a, b in np.asarray(clips.images.landmarks.symmetric):
        both = found.defined[:, a] & found.defined[:, b]
        own = found.points[:, [a, b]]
        keep = np.linalg.norm(own[1:] - own[:-1], axis=-1).sum(1)
        cross = np.linalg.norm(own[1:] - own[:-1, ::-1], axis=-1).sum(1)
        true = clips.points2d[:, [a, b]]
        moved = np.linalg.norm(true[1:] - true[:-1], axis=-1).sum(1) > np.linalg.norm(
            true[1:] - true[:-1, ::-1], axis=-1
        ).sum(1)
        ok = same & both[1:] & both[:-1] & ~moved
        swapped, count = swapped + int((ok & (cross < keep)).sum()), count + int(ok.sum())
    return swapped / max(count, 1)


def real(which: str | None, seed: int) -> dict[str, Any]:
    """2D on the last fifth of the real sets, one network for all or for one of them."""
    folder = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data"))
    images, last = sets.real_together(folder)
    category = np.asarray(images.landmarks.category)
    if which is not None:
        own = np.flatnonzero(category == sets.REAL.index(which))
        images, last, category = images.select(own), last[own], category[own]
    train, test = images.select(np.flatnonzero(~last)), images.select(np.flatnonzero(last))
    steps = REAL_STEPS if which is None else REAL_STEPS // 3
    config = KeypointTransformer(
        lifter="ours", together=0.0, context=0, lifter_steps=50, steps=steps, holdout=0.0
    )
    fitted = jnrsfm.fit(train, config, seed=seed)
    model = fitted.model.model
    assert isinstance(model, KeypointTransformerModel)
    found = model.find(without_labels(test))
    if which is not None:
        found = dataclasses.replace(found, category=np.full(len(found.category), sets.REAL.index(which)))
    result: dict[str, Any] = {
        "test": two_d(found, test),
        "train_images": len(train),
        "test_images": len(test),
    }
    for number, name in enumerate(sets.REAL):
        own = np.flatnonzero(np.asarray(test.landmarks.category) == number)
        if len(own):
            result[name] = two_d(part_of(found, own), test.select(own))
    return result | {"config": to_plain(config)}


def _cases() -> dict[str, Work]:
    """The works by name."""
    cases: dict[str, Work] = {}
    about = f"rendered figures of {len(sets.KINDS)} kinds, {TRAIN} images"
    for seed in (0, 1, 2):
        for lifter in ("ours", "procrustean"):
            for how in HOW:
                run = lambda lifter=lifter, how=how, seed=seed: rendered(lifter, how, seed)
                cases[f"{lifter}_{how}_{seed}"] = Work(about, f"lifter {lifter}, {how}", METHOD, run)
    cases["flat"] = Work(about, "no depth: the true x and y", METHOD, flat)
    cases["converges"] = Work(about, "transformer alone, five seeds", METHOD, converges)
    cases["real_together"] = Work("six real sets", "one network", METHOD, lambda: real(None, 0))
    for name in sets.REAL:
        cases[f"real_{name}"] = Work(name, "a network of its own", METHOD, lambda name=name: real(name, 0))
    return cases


CASES = _cases()


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    percent = lambda part, key: f"{100 * part[key]:.1f}" if key in part else "–"
    head = ["case", "PCK@0.1", "category", "MPJPE", "stress", "MPJPE of true keypoints"]
    head += ["flagged: other kinds", "flagged: test", "flicker", "CPU minutes"]
    lines = []
    for name, r in rows.items():
        if "mpjpe" in r.get("test", {}):
            line = [name, *(percent(r["test"], k) for k in ("pck_0.1", "category", "mpjpe", "stress"))]
            line.append(percent(r.get("true_keypoints", {}), "mpjpe"))
            line += [percent(r.get("unfamiliar", {}), k) for k in ("other kinds", "test")]
            lines.append([*line, percent(r, "flicker"), f"{r['cpu_seconds'] / 60:.1f}"])
    text = (HERE / "README.md").read_text()
    text = replace_between(text, "rendered", markdown(head, lines))
    kinds = [
        (name, kind, *(percent(part, k) for k in ("pck_0.1", "pck_0.05", "category", "mpjpe")))
        for name, r in rows.items() for kind, part in r.get("kinds", {}).items()
    ]  # fmt: skip
    head = ["case", "kind", "PCK@0.1", "PCK@0.05", "category", "MPJPE"]
    text = replace_between(text, "kinds", markdown(head, kinds))
    if "converges" in rows:
        known = rows["converges"]
        per = [(str(k), f"{e['objective']:.3f}", f"{e['heldout']:.3f}") for k, e in enumerate(known["seeds"])]
        per.append(("mean place of each keypoint", f"{known['mean_place']:.3f}", ""))
        text = replace_between(text, "seeds", markdown(("seed", "labels", "held-out labels"), per))
    lines, whole = [], rows.get("real_together", {})
    for name in sets.REAL:
        alone = rows.get(f"real_{name}", {}).get("test", {})
        one = whole.get(name, {})
        lines.append((name, percent(one, "pck_0.1"), percent(alone, "pck_0.1"), percent(one, "category")))
    text = replace_between(
        text, "real", markdown(("set", "PCK@0.1, one network", "a network each", "category"), lines)
    )
    when = sorted({(r["device"], r["date"]) for r in rows.values()})
    text = replace_between(text, "when", "; ".join(f"{d}, {t}" for d, t in when))
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main_of_works(sys.argv[1:], HERE, CASES, write_tables))
