"""The cases: what is trained, on which categories, with which settings, and how a training is scored."""

from typing import Any

import numpy as np

from experiments.degrade import Change, Data, degraded, hide_share, perspective_views
from experiments.harness import Case, Fit, Split
from jnrsfm import Landmarks, Reconstruction, metrics
from jnrsfm.inputs.category_samples import category_names
from jnrsfm.methods.multicategory import low_confidence

STEPS = 3000  # of all methods; a batch is 256 samples
CATEGORIES = ("chair", "car", "human", "cheetah", "mouse")


HIDDEN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def held_out_tenth(*categories: str, seed: int = 0) -> Split:
    """Hold back of each category about a tenth of the samples, split by source: samples of one 3D shape, seen by
    several cameras, stand on one side. (The 3D is used to tell sources apart, and for no more.) Of all samples those
    of the `categories` named are used."""

    def split(data: Data) -> tuple[np.ndarray, np.ndarray]:
        landmarks, reference = data
        rng, names = np.random.default_rng(seed), category_names(landmarks)
        held = np.zeros(len(names), bool)
        for name in np.unique(names):
            rows = np.flatnonzero(names == name)
            shapes = np.round(np.asarray(reference.points3d)[rows], 4).reshape(len(rows), -1)
            source = np.unique(shapes, axis=0, return_inverse=True)[1].reshape(-1)
            left = len(rows) // 10
            for group in rng.permutation(source.max() + 1):
                if 0 < (size := (source == group).sum()) <= left:
                    held[rows[source == group]] = True
                    left -= size
        used = np.isin(names, categories) if categories else np.ones(len(names), bool)
        return np.flatnonzero(used & ~held), np.flatnonzero(used & held)

    return split


def annotated(split: Split) -> Change:
    """The samples that `split` fits with the 2D of every keypoint that they have, hidden ones too (the reference's own
    projection); those that it holds back as they are."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        rows = split(data)[0]
        visible, points = np.array(landmarks.visible), np.array(landmarks.points2d)
        visible[rows] = np.asarray(landmarks.defined)[rows]
        image = np.asarray(reference.points2d, points.dtype)[rows]
        points[rows] = np.where(visible[rows][..., None], image, 0)
        return landmarks.replace(points2d=points, visible=visible), reference

    return change


def protocols(landmarks: Landmarks, found: Reconstruction, reference: Reconstruction) -> dict[str, Any]:
    """Protocols over the set (means over categories where the protocol says so) and by category."""
    reference = reference.replace(valid3d=np.asarray(landmarks.defined))
    named = reference.replace(sequence=np.asarray(landmarks.category))  # one mirror for each category
    overwritten = metrics.overwrite_visible_xy(found, landmarks)
    names = ["c3dpo", "frame-mirror", "deep-nrsfm++"]
    by_category = metrics.protocols.evaluate_by_category(overwritten, named, [*names, "one-mirror"])
    return {
        "protocols": metrics.evaluate(overwritten, named, [*names, "one-mirror"]),
        "by_category": by_category,
        "c3dpo_own_xy": metrics.evaluate(found, named, ["c3dpo"])["c3dpo"],
    }


def score(fit: Fit) -> dict[str, Any]:
    """On the held-out tenth; on what was trained on; and the rest of the tables' columns."""
    assert fit.held is not None
    test, truth = fit.held
    model = fit.result.model
    names = np.unique(category_names(fit.landmarks)).tolist()
    return {
        **protocols(test, model.lift(test), truth),
        "train": protocols(fit.landmarks, fit.result.reconstruction, fit.reference)["protocols"]["c3dpo"],
        "heldout_points": fit.diagnostics["heldout"], "coherence": coherence(model.model), "curve": {},
        "samples": {"train": fit.landmarks.n_frames, "test": test.n_frames},
        "categories": names if len(names) < len(CATEGORIES) else [],
    }  # fmt: skip


def score_with_curve(fit: Fit) -> dict[str, Any]:
    """`score`, and the held-out samples lifted with more of their points hidden."""
    assert fit.held is not None
    truth, model, curve = fit.held[1], fit.result.model, {}
    for share in (*HIDDEN, 1.0):
        seen, _ = degraded(hide_share(share, least=3))(fit.held)
        found = model.lift(seen)
        error = protocols(seen, found, truth)["protocols"]["c3dpo"]["mpjpe"]
        curve[str(share)] = error
    del curve["1.0"]
    curve["three points"] = {
        "mpjpe": error,
        "finite": bool(np.isfinite(np.asarray(found.points3d)).all()),
        "flagged": float(low_confidence(found).mean()),
        "flagged_when_all_is_seen": float(low_confidence(model.lift(fit.held[0])).mean()),
    }
    return score(fit) | {"curve": curve}


def score_scaled(fit: Fit) -> dict[str, Any]:
    """On the held-out tenth, by the protocols that take any scale of a sample, which near cameras leave free."""
    assert fit.held is not None
    test, truth = fit.held
    named = truth.replace(valid3d=np.asarray(test.defined), sequence=np.asarray(test.category))
    found, names = fit.result.model.lift(test), ["deep-nrsfm++", "one-mirror-scaled"]
    return {
        "protocols": metrics.evaluate(found, named, names),
        "by_category": metrics.protocols.evaluate_by_category(found, named, names),
        "heldout_points": fit.diagnostics["heldout"],
        "samples": {"train": fit.landmarks.n_frames, "test": test.n_frames},
    }


def coherence(model: Any) -> float | None:
    """Largest absolute cosine between two of the rows that make the coefficients (Table 5), None with a prior."""
    nets = model.params["nets"]["lifter"]
    if "coefficients" not in nets:
        return None
    w = np.asarray(nets["coefficients"]["kernel"]).T
    w = w / np.linalg.norm(w, axis=1, keepdims=True)
    return float(np.max(np.abs(w @ w.T) - np.eye(len(w))))


def _case(
    name: str, what: str, variant: str, steps: int = STEPS, settings: dict | None = None, *,
    only: str = "", table: str = "methods", curve: bool = False, **more: Any,
) -> Case:  # fmt: skip
    """A training. `only`: on one category; `curve`: also lift with more hidden; `table`: where the README shows it."""
    return Case(
        name, "mixed5, held-out tenth" + (f", {only}" if only else ""), what, "multi_category/mixed5_train",
        overrides={"variant": variant, "steps": steps, "batch": 256} | (settings or {}), method="multicategory",
        split=held_out_tenth(only) if only else held_out_tenth(), table=table,
        **{"score": score_with_curve if curve else score} | more,
    )  # fmt: skip


_SHORT = STEPS // 5
_DISTANCE = 3.0  # of a near camera, in sizes of the objects

CASES = [
    _case("c3dpo_base", "C3DPO-base", "c3dpo-base"),
    _case("c3dpo", "C3DPO", "c3dpo", curve=True),
    _case("ours_base", "Ours-base", "ours-base"),
    _case("ours", "Ours (cycle)", "ours", curve=True),
    # shares of hidden points uniform in [0, 0.2]: their mean is that of the set, a tenth
    _case(
        "ours_all", "Ours-A: all keypoints annotated", "ours", settings={"hide": 0.2},
        change=annotated(held_out_tenth()), curve=True,
    ),
    _case("ours_batch", "Ours, frozen batch normalisation", "ours", settings={"norm": "batch"}),
    _case("procrustean", "Procrustean prior", "procrustean", curve=True, headline=True),
    # each class sees as many samples alone as it does among the five
    *(
        _case(f"only_{c}", f"{c} alone", "procrustean", _SHORT, table="alone", only=c)
        for c in CATEGORIES
    ),
    # the transformer, on people as long as the residual network above
    _case(
        "human_transformer", "human alone, transformer", "procrustean", _SHORT, {"trunk": "transformer"},
        table="trunk", only="human",
    ),
    _case(
        "procrustean_transformer", "Procrustean prior, transformer", "procrustean",
        settings={"trunk": "transformer"}, table="trunk",
    ),
    _case(
        "ours_transformer", "Ours (cycle), transformer", "ours", settings={"trunk": "transformer"}, table="trunk",
    ),
    # seen from three times the objects' size, taken for far away and as it is
    *(
        _case(
            name, what, "procrustean", _SHORT, table="perspective", camera=camera,
            change=perspective_views(_DISTANCE), score=score_scaled,
        )
        for name, what, camera in (
            ("perspective_weak", "fitted as weak perspective", "weak-perspective"),
            ("perspective", "fitted as perspective", "perspective"),
        )
    ),
    *(
        _case(f"cycle_{s}", f"layer normalisation, seed {s}", "ours", _SHORT, table="cycle", seed=s)
        for s in range(3)
    ),
    _case(
        "cycle_batch", "frozen batch normalisation, seed 0", "ours", _SHORT, {"norm": "batch"}, table="cycle",
    ),
    _case(
        "cycle_published", "as published: that, exponential coordinates, any rotation", "ours", _SHORT,
        {"norm": "batch", "rotation": "exponential", "cycle_cameras": "any", "cycle_weight": 1.0}, table="cycle",
    ),
]  # fmt: skip
