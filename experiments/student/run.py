"""Run the experiments with images and rewrite this folder's README from their results.

    python -m experiments.student.run                 every case that has no result yet
    python -m experiments.student.run NAME ...        these cases, anew
    python -m experiments.student.run --tables        only the README

`rendered_<labels>_<what>_<seed>`: students on 32 rendered people, `many_...`: on 800; `teacher_<labels>`,
`many_teacher_<labels>`: their teacher alone; `prn_labels`, `prn_images`: Procrustean regression through the network,
beside `prn` on the labels; `real_<set>`: 2D of real labelled sets, the last fifth held out; `pretrained_<set>`: those
of under a hundred images by the frozen pretrained trunk. A result is `results/<case>.json`. Nothing is chosen by 3D.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import jnrsfm
from experiments.harness import Work, main_of_works
from experiments.student import scores, sets
from experiments.tables import markdown, replace_between
from jnrsfm.config import to_plain
from jnrsfm.inputs import label_boxes
from jnrsfm.methods import METHODS, PrnImages, Student
from jnrsfm.methods.student.teacher import of_one_size
from jnrsfm.training import Session
from jnrsfm.types import LabelledImages

HERE = Path(__file__).resolve().parent
SETS = {"rendered": (32, 150, 125), "many": (800, 6, 5)}  # people, photographs of each, of them trained on
OTHERS = 400  # photographs of other people
LABELS = {"exact": (0.0, 0.0), "clicked": (0.2, 0.02), "sparse": (0.4, 0.02)}  # missing, noise
STEPS = {"rendered": 3000, "many": 6000}
SMALL = ("fly_top", "mirror_mouse", "openfield_mouse", "reaching_mouse")  # under a hundred images


def rendered(
    labels: str, seed: int, which: str = "rendered"
) -> tuple[sets.Rendered, dict[str, sets.Rendered]]:
    """Training images with labels spoilt; test images: later ones of the same people, and of other people elsewhere."""
    people, clip, seen = SETS[which]
    made = sets.people(people * clip, 5, clip=clip)
    late = np.arange(people * clip) % clip >= seen
    train = sets.spoilt(made.select(~late), *LABELS[labels], seed)
    return train, {"later": made.select(late), "others": sets.people(OTHERS, 100)}


def without_labels(images: LabelledImages) -> LabelledImages:
    """Images with their boxes alone."""
    hidden = np.zeros(np.shape(images.landmarks.visible), bool)
    return dataclasses.replace(
        images, landmarks=images.landmarks.replace(visible=hidden), boxes=label_boxes(images)
    )


def student(labels: str, config: Student, seed: int, which: str = "rendered") -> dict[str, Any]:
    """Train, and score training and test images."""
    train, tests = rendered(labels, seed, which)
    found = jnrsfm.fit(train.images, config, seed=seed)
    result = {"train": scores.report(found.reconstruction, train.points3d, train.points2d, train.images)}
    for name, test in tests.items():
        lifted = found.model.lift(without_labels(test.images))
        result[name] = scores.report(lifted, test.points3d, test.points2d, test.images)
    return result | {"diagnostics": found.diagnostics, "config": to_plain(config)}


def teacher(labels: str, seed: int, which: str = "rendered") -> dict[str, Any]:
    """The teacher of the students on the same labels; there is nothing that it says of new photographs."""
    train, _ = rendered(labels, seed, which)
    info = METHODS["pnd"]
    found = of_one_size(info, info.config(), train.images.landmarks, seed, Session())
    return {
        "train": scores.shape_errors(found.camera_points, train.points3d),
        "config": to_plain(info.config()),
    }


def prn_on_labels(seed: int) -> dict[str, Any]:
    """`prn` on the labels of the training and test images together, as landmarks."""
    train, _ = rendered("exact", seed)
    found = jnrsfm.fit(train.images.landmarks, "prn", camera="weak-perspective", seed=seed)
    return {"train": scores.shape_errors(found.reconstruction.camera_points, train.points3d), "config": {}}


def real(name: str, seed: int, backbone: Any = "small") -> dict[str, Any]:
    """2D on the last fifth of a real set, trained on the rest."""
    folder = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data"))
    images = sets.real(name, folder)
    few = np.asarray(images.landmarks.visible).sum(1) >= 4
    images = images.select(np.flatnonzero(few))
    cut = int(0.8 * len(images))
    train, test = images.select(slice(0, cut)), images.select(slice(cut, len(images)))
    config = Student(teacher="rigid", steps=600, holdout=0.0, locate="no", backbone=backbone)
    found = jnrsfm.fit(train, config, seed=seed)
    boxed = found.model.lift(without_labels(test))
    return {
        "train_images": len(train),
        "test": scores.point_errors(boxed.points2d, np.asarray(test.landmarks.points2d), test),
        "test_images": len(test),
        "config": to_plain(config),
    }


def _cases() -> dict[str, Work]:
    """The works by name."""
    about = {
        "exact": "exact labels", "clicked": "20 % of the labels missing, noise 2 %",
        "sparse": "40 % of the labels missing, noise 2 %",
    }  # fmt: skip
    cases: dict[str, Work] = {}
    for which, (count, _, seen) in SETS.items():
        people = f"{count} rendered people, {count * seen} images"
        for labels in LABELS:
            start = f"teacher_{labels}" if which == "rendered" else f"{which}_teacher_{labels}"
            for seed in (0, 1, 2) if labels == "clicked" else (0,):
                run = lambda args=(labels, seed, which): teacher(*args)
                cases[f"{start}_{seed}" if seed else start] = Work(people, about[labels], "pnd", run)
        wanted = [("clicked", s) for s in (0, 1, 2)]
        wanted += [("exact", 0), ("sparse", 0)] if which == "rendered" else []
        for labels, seed in wanted:
            for distill in ("depths", "conditional"):
                config = Student(distill=distill, steps=STEPS[which], locate="no")  # type: ignore[arg-type]
                run = lambda args=(labels, config, seed, which): student(*args)
                name = f"{which}_{labels}_{distill}_{seed}"
                cases[name] = Work(people, f"{about[labels]}; {distill}", "student", run)
    prn = PrnImages(steps=STEPS["rendered"], locate="no")
    people = "32 rendered people, 4000 images"
    cases["prn_labels"] = Work(people, "exact labels, landmarks alone", "prn", lambda: prn_on_labels(0))
    cases["prn_images"] = Work(people, "exact labels", "prn-images", lambda: student("exact", prn, 0))
    for name in sets.REAL:
        cases[f"real_{name}"] = Work(name, "last fifth held out", "student", lambda name=name: real(name, 0))
    for name in SMALL:
        run = lambda name=name: real(name, 0, "alexnet")
        cases[f"pretrained_{name}"] = Work(name, "last fifth held out, pretrained trunk", "student", run)
    return cases


CASES = _cases()


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    percent = lambda part, key: f"{100 * part[key]:.2f}" if key in part else "–"
    keys = ("depth", "mpjpe", "pa_mpjpe")
    tests = ("later", "others")
    head = ["case", "images", "labels, depth targets", "training: depth", "MPJPE", "PA-MPJPE"]
    for name in tests:
        head += [f"{name}: depth", "MPJPE", "PA-MPJPE", "PCK@0.1"]
    lines = []
    for name, r in rows.items():
        if "train" in r:
            line = [name, r["set"], r["setting"], *(percent(r["train"], k) for k in keys)]
            for test in tests:
                line += [percent(r.get(test, {}), k) for k in (*keys, "pck_0.1")]
            lines.append([*line, f"{r['cpu_seconds'] / 60:.1f}"])
    head.append("CPU minutes")
    text = (HERE / "README.md").read_text()
    text = replace_between(text, "rendered", markdown(head, lines))
    head = ("set", "images: training, test", "PCK@0.1", "PCK@0.05", "pretrained: PCK@0.1", "PCK@0.05")
    share = lambda r: [percent(r.get("test", {}), f"pck_{s}") for s in (0.1, 0.05)]
    other = lambda r: rows.get(f"pretrained_{r['set']}", {})
    lines = [
        (r["set"], f"{r['train_images']}, {r['test_images']}", *share(r), *share(other(r)))
        for n, r in rows.items()
        if n.startswith("real_")
    ]
    text = replace_between(text, "real", markdown(head, lines))
    when = sorted({(r["device"], r["date"]) for r in rows.values()})
    text = replace_between(text, "when", "; ".join(f"{d}, {t}" for d, t in when))
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main_of_works(sys.argv[1:], HERE, CASES, write_tables))
