"""The quality report: what a fit says about itself where there is no 3D to compare with.

Every item has a value, a verdict and a sentence on what it means. The thresholds (`THRESHOLDS`) are rules of
thumb, set so that motion-capture bodies reconstructed to a few percent come out good and visibly broken ones
poor; they judge no method. No item alone proves a reconstruction right.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.by_type import ByType
from jnrsfm.errors import InputError
from jnrsfm.geometry.skeleton import twin_bones
from jnrsfm.metrics import quality, verdict
from jnrsfm.metrics.protocols import camera_points
from jnrsfm.types import Landmarks, Reconstruction, Result


class Threshold(NamedTuple):
    """Good up to (or, where `higher`, from) `good`; fair up to (from) `fair`; poor beyond."""

    good: float
    fair: float
    higher: bool = False

    def verdict(self, value: float) -> str:
        """`"good"`, `"fair"`, `"poor"`, or `"unknown"` for NaN."""
        if not np.isfinite(value):
            return "unknown"
        sign = -1.0 if self.higher else 1.0
        if sign * value <= sign * self.good:
            return "good"
        return "fair" if sign * value <= sign * self.fair else "poor"


THRESHOLDS: dict[str, Threshold] = {
    "reprojection": Threshold(0.01, 0.03),
    "held_out_reprojection": Threshold(0.03, 0.08),
    "held_out_against_baseline": Threshold(0.4, 0.8),
    "bone_length_variation": Threshold(0.08, 0.2),
    "size_variation": Threshold(0.1, 0.3),
    "left_right_asymmetry": Threshold(0.1, 0.25),
    "restart_spread": Threshold(0.05, 0.15),
    "mirror_margin": Threshold(0.5, 0.2, higher=True),
    "camera_motion": Threshold(30.0, 10.0, higher=True),
    "depth_evidence": Threshold(0.02, 0.005, higher=True),
    "missing_points": Threshold(0.2, 0.5),
    "outliers": Threshold(0.02, 0.15),
}
"""Rules of thumb. Fractions, except `camera_motion` in degrees."""

FLAT, DEEP = 0.1, 3.0  # depth over width beyond which a shape is suspicious, whatever the object
FEWEST_HELD_OUT = 20
MOST_FRAMES = 2000
FEW_OUTLIERS = 1e-3  # of the observed points: so many a clean set may show, and they weigh little
NEEDED_VISIBLE = 4  # fewer visible points in a frame cannot fix a camera and a shape

REPROJECTION_IS_NOT_PROOF = (
    "A lower reprojection error alone does not prove better 3D: any depth fits the image it was made from. "
    "Held-out points, bones, restarts and views from the side say more."
)


CHECKS: ByType[Callable[..., dict[str, Any]]] = ByType("quality checks")
"""What is checked of each type of result: `(input, result, **)` with the keywords of `assess`, to a quality report."""


def assess(
    landmarks: Any,
    reconstruction: Result,
    *,
    heldout: Mapping[str, Any] | None = None,
    restarts: Any = None,
    reliability: Any = None,
    exchanged: Any = None,
    remarks: Sequence[str] = (),
    said: Sequence[str] = (),
    keeps_lengths: bool = False,
) -> dict[str, Any]:
    """The quality report of a fit, which needs no 3D labels: data that JSON holds, by the checks of the result's type.

    Returns `{"verdict": {"word", "text", "error", ...}, "items": [{"name", "value", "unit", "verdict", "explain"},
    ...], "warnings": [str, ...]}`: the verdict on the whole (`metrics.verdict.judge`); of each item the `verdict`, one
    of good, fair, poor, unknown, and `value`, a number or None. Items that need what is not there (edges,
    symmetric pairs, restarts, held-out points) are left out. Edges, pairs and names come from the reconstruction, else
    from the landmarks.

    `heldout`: what the trainer measured on observed points that it hid: `{"error", "baseline", "count",
    "note"}`, error and baseline (a prediction without any 3D) in the same unit (`"unit"`, by default a
    fraction of the object's size in the image). `restarts (restart, frame, point, 3)`: camera-frame shapes of
    the fits from other seeds; where absent the reconstruction's `score` serves. `reliability`: what the tracks said of
    their own points (`inputs.Reliability`: `weights`, `doubted`, `noise`). `exchanged (frame,)`: frames in which left
    and right are exchanged and were fitted so. `remarks`: what is wrong with the coordinates, a line each: they lead
    the warnings, and no fit to them is called anything but poor; `said`: lines that come next, with which no fit is
    better than fair. `keeps_lengths`: the method keeps the lengths of bones (`methods.Fitted`).

    Raises `InputError` where landmarks and reconstruction do not match or a visible point projects nowhere.
    """
    return CHECKS[type(reconstruction)](
        landmarks, reconstruction, heldout=heldout, restarts=restarts, reliability=reliability, exchanged=exchanged,
        remarks=remarks, said=said, keeps_lengths=keeps_lengths,
    )  # fmt: skip


def _of_points(
    landmarks: Landmarks,
    reconstruction: Reconstruction,
    *,
    heldout: Mapping[str, Any] | None = None,
    restarts: Any = None,
    reliability: Any = None,
    exchanged: Any = None,
    remarks: Sequence[str] = (),
    said: Sequence[str] = (),
    keeps_lengths: bool = False,
) -> dict[str, Any]:
    """The quality report of 3D points."""
    if landmarks.points2d.shape[:2] != reconstruction.points3d.shape[:2]:
        raise InputError(
            f"the landmarks have {landmarks.n_frames} frames of {landmarks.n_points} points, the "
            f"reconstruction {reconstruction.n_frames} of {reconstruction.n_points}; pass the landmarks that "
            "it was made from"
        )
    report = _PointChecks(landmarks, reconstruction)
    report.reprojection()
    if heldout is not None:
        report.held_out(heldout)
    report.bones()
    report.restarts(restarts)
    report.mirror()
    report.motion()
    report.depth()
    report.missing()
    report.outliers(reliability)
    weights = None if reliability is None else reliability.weights
    return {
        "verdict": verdict.judge(
            landmarks,
            reconstruction,
            report.items,
            weights,
            doubtful_input=bool(remarks),
            warned=bool(said or report.warnings),
            exchanged=exchanged,
            repeated=restarts is not None,
            keeps_lengths=keeps_lengths,
        ),
        "items": report.items,
        "warnings": [*remarks, *said, *report.warnings, REPROJECTION_IS_NOT_PROOF],
    }


CHECKS.register(Reconstruction, _of_points)


class _PointChecks:
    """Collects items and warnings; one method for each question."""

    def __init__(self, landmarks: Landmarks, reconstruction: Reconstruction):
        self.landmarks, self.reconstruction = landmarks, reconstruction
        self.items: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.visible = np.asarray(landmarks.visible, bool)
        self.defined = (
            np.ones_like(self.visible) if landmarks.defined is None else np.asarray(landmarks.defined, bool)
        )
        category = reconstruction.category if reconstruction.category is not None else landmarks.category
        self.category = np.zeros(len(self.visible), int) if category is None else np.asarray(category)

    def add(self, name: str, value: float, unit: str, explain: str, verdict: str | None = None) -> str:
        verdict = THRESHOLDS[name].verdict(value) if verdict is None else verdict
        plain = float(value) if np.isfinite(value) else None
        self.items.append(
            {"name": name, "value": plain, "unit": unit, "verdict": verdict, "explain": explain}
        )
        return verdict

    def either(self, field: str):
        """A field of the reconstruction, else of the landmarks, as an array; None where neither has any."""
        for record in (self.reconstruction, self.landmarks):
            value = getattr(record, field)
            if value is not None and len(value):
                return np.asarray(value)
        return None

    def name(self, point: int) -> str:
        names = self.either("names")
        return f"point {point}" if names is None else str(names[point])

    def listed(self, points, most: int = 5) -> str:
        text = ", ".join(self.name(int(p)) for p in points[:most])
        return text + (f" and {len(points) - most} more" if len(points) > most else "")

    def reprojection(self) -> None:
        errors = quality.reprojection_errors(self.landmarks, self.reconstruction)
        used = errors[np.isfinite(errors)]
        value = float(used.mean()) if len(used) else float("nan")
        worst = f"; worst frame {int(np.nanargmax(errors))} at {used.max():.1%}" if len(used) else ""
        self.add(
            "reprojection",
            value,
            "fraction of object size",
            "residual of the visible points over the longer side of their box, root mean square in each "
            f"frame, mean over frames{worst}",
        )

    def held_out(self, heldout: Mapping[str, Any]) -> None:
        error = _number(heldout.get("error"))
        baseline = _number(heldout.get("baseline"))
        count = int(heldout.get("count") or 0)
        explain = f"error at {count} observed points that were hidden from the fit and predicted by it"
        if np.isfinite(baseline) and baseline > 0:
            verdict = THRESHOLDS["held_out_against_baseline"].verdict(error / baseline)
            explain += (
                f"; a prediction without 3D leaves {baseline:.3g}, this fit {error / baseline:.0%} of it"
            )
            if error >= baseline:
                self.warnings.append(
                    "Hidden points are predicted no better than without any 3D: the shape model has not "
                    "learned this object (train longer, change its size, or collect more views)."
                )
        else:
            verdict = THRESHOLDS["held_out_reprojection"].verdict(error)
        if count < FEWEST_HELD_OUT:
            verdict, explain = "unknown", explain + "; too few to judge by"
        if heldout.get("note"):
            explain += f"; {heldout['note']}"
        unit = str(heldout.get("unit") or "fraction of object size")
        self.add("held_out_reprojection", error, unit, explain, verdict)

    def bones(self) -> None:
        edges = self.either("edges")
        if edges is None or not len(edges):
            return
        points = np.asarray(self.reconstruction.points3d, float)
        # an orthographic camera does not zoom: a scale there belongs to the shape
        if self.reconstruction.scale is not None and self.reconstruction.cameras.model == "orthographic":
            points = points * np.asarray(self.reconstruction.scale, float)[:, None, None]
        lengths = quality.bone_lengths(points, edges)
        has = self.defined[:, edges[:, 0]] & self.defined[:, edges[:, 1]]
        lengths = np.where(has, lengths, np.nan)
        several = "; individuals of different build differ too" if self._individuals() else ""
        if len(edges) >= 2:
            variation = quality.bone_variation(lengths, self.category)
            known = np.flatnonzero(np.isfinite(variation.edges))
            if len(known):
                worst = known[np.argmax(variation.edges[known])]
                between = " - ".join(self.name(int(p)) for p in edges[worst])
                self.add(
                    "bone_length_variation",
                    float(np.median(variation.edges[known])),
                    "fraction",
                    "deviation over mean of each edge's length over the frames of a category, overall size "
                    f"removed, median over {len(known)} edges; most in {between} "
                    f"({variation.edges[worst]:.0%}){several}",
                )
                self.add(
                    "size_variation",
                    variation.size,
                    "fraction",
                    f"deviation over mean of the overall size of the shape over frames{several}",
                )
        symmetric = self.either("symmetric")
        if symmetric is None:
            return
        pairs = twin_bones(edges, symmetric)
        values = quality.asymmetry(lengths, pairs)
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            worst = known[np.argmax(values[known])]
            between = " - ".join(self.name(int(p)) for p in edges[pairs[worst, 0]])
            self.add(
                "left_right_asymmetry",
                float(np.median(values[known])),
                "fraction",
                "difference of left and right edges over their mean length, mean over frames, median over "
                f"{len(known)} pairs; most in {between} ({values[worst]:.0%})",
            )

    def _individuals(self) -> bool:
        return self.landmarks.sequence is None and self.reconstruction.sequence is None

    def restarts(self, restarts: Any) -> None:
        shape = camera_points(self.reconstruction)
        if restarts is not None and len(restarts) >= 2:
            if np.shape(restarts)[1:] != shape.shape:
                raise InputError(
                    f"restarts have shape {np.shape(restarts)}; expected (restart, {shape.shape})"
                )
            score = quality.restart_spread(restarts, defined=self.defined)
        elif self.reconstruction.score is not None:
            score = np.asarray(self.reconstruction.score, float)
            if self.reconstruction.scale is not None:  # from the units of points3d to those of the camera
                score = score * np.asarray(self.reconstruction.scale, float)[:, None]
        else:
            return
        size = quality.shape_size(shape, self.defined)
        score = np.where(self.defined, score, np.nan) / (size if size > 0 else np.nan)
        if not np.isfinite(score).any():
            return
        by_point = np.array([np.nanmean(c) if np.isfinite(c).any() else -1.0 for c in score.T])
        order = np.argsort(-by_point)[:3]
        self.add(
            "restart_spread",
            float(np.nanmedian(score)),
            "fraction of shape size",
            "standard deviation of a point over fits from other seeds, each frame in its nearer reflection (of one fit "
            "alone: as its method gives it), over the root mean square radius of the shape, median over points; most "
            "in " + self.listed(order),
        )

    def mirror(self) -> None:
        how, margin = self.reconstruction.mirror, self.reconstruction.mirror_margin
        if how == "perspective" and margin is None:
            explain = "a perspective camera tells z from -z, but no comparison of the shapes has confirmed it"
            self.add("mirror_margin", float("nan"), "", explain, "unknown")
            return
        if how == "none" or margin is None:
            self.add(
                "mirror_margin",
                float("nan") if margin is None else float(np.median(margin)),
                "",
                "under an orthographic camera z and -z have the same image; "
                + ("nothing chose between them" if how == "none" else f"resolved by {how}, margin not given"),
                "poor" if how == "none" else "unknown",
            )
            if how == "none":
                self.warnings.append(
                    "Each frame may be reflected in depth on its own: left and right, near and far can swap "
                    "from frame to frame. Give the frames' order (`sequence`) so that continuity can decide."
                )
            return
        margin = np.asarray(margin, float)
        weak = margin < 0.1
        self.add(
            "mirror_margin",
            float(np.median(margin)),
            "",
            ("the perspective images tell z from -z; agreement of the shapes with their neighbours" if
             how == "perspective" else f"z or -z chosen by {how}")
            + f": 0 is a coin toss, 1 certain; median over frames, {weak.mean():.0%} of frames below 0.1",
        )  # fmt: skip
        if weak.mean() > 0.1:
            self.warnings.append(
                f"The depth reflection is close to a coin toss in {weak.mean():.0%} of the frames "
                f"(first: frame {int(np.argmax(weak))})."
            )

    def motion(self) -> None:
        rotations = np.asarray(self.reconstruction.rotations, float)
        groups = [self.category == c for c in np.unique(self.category)]
        spread = min(quality.view_spread(rotations[g]) for g in groups)
        verdict = self.add(
            "camera_motion",
            spread,
            "degrees",
            "root mean square angle of the viewing directions from their main axis, in the object's frame"
            + (", of the category with the least" if len(groups) > 1 else "")
            + "; a full turntable has 45",
        )
        if verdict == "poor":
            self.warnings.append(
                f"The cameras turn too little ({spread:.1f} degrees) to tell shape from motion: depth is "
                "mostly guessed. Add views from other directions."
            )
        shares = []
        for g in groups:
            frames = np.flatnonzero(g)
            frames = frames[:: -(-len(frames) // MOST_FRAMES)]  # a share needs no more of them
            seen = np.asarray(self.landmarks.points2d)[frames].astype(float)
            shares.append(quality.beyond_rank(seen, self.visible[frames]))
        known = [s for s in shares if np.isfinite(s[0])]
        if known:
            two, three = min(known)
            verdict = self.add(
                "depth_evidence",
                two,
                "fraction of 2D motion",
                "what views of a flat or never turning object could not show (beyond rank 2 of the tracks); "
                f"deformation and noise, beyond rank 3, are {three:.1%}",
            )
            if verdict == "poor":
                self.warnings.append(
                    "The tracks look like affine copies of one image (almost rank 2): a flat object, or "
                    "views that do not turn. They hold little evidence of depth."
                )

    def depth(self) -> None:
        ratio = quality.depth_ratio(camera_points(self.reconstruction), self.defined)
        odd = not FLAT <= ratio <= DEEP
        verdict = "unknown" if not np.isfinite(ratio) else "poor" if odd else "good"
        self.add("depth_over_width", ratio, "", "root mean square depth over that of x and y", verdict)
        if verdict == "poor":
            word = "flat" if ratio < FLAT else "stretched in depth"
            self.warnings.append(
                f"The shapes are almost certainly too {word} (depth {ratio:.2g} of the width)."
            )

    def missing(self) -> None:
        gone = self.defined & ~self.visible
        total = max(int(self.defined.sum()), 1)
        few = self.visible.sum(1) < NEEDED_VISIBLE
        share = np.divide(
            (self.visible & self.defined).sum(0),
            self.defined.sum(0),
            out=np.full(self.visible.shape[1], np.nan),
            where=self.defined.sum(0) > 0,
        )
        rare = np.flatnonzero(share < 0.05)
        self.add(
            "missing_points",
            gone.sum() / total,
            "fraction",
            f"points without an observation; {int(few.sum())} frames have fewer than {NEEDED_VISIBLE}, "
            f"{len(rare)} points are seen in fewer than 5 % of the frames",
        )
        if few.any():
            self.warnings.append(
                f"{int(few.sum())} frames have fewer than {NEEDED_VISIBLE} visible points (first: frame "
                f"{int(np.argmax(few))}): their 3D rests on other frames alone."
            )
        if len(rare):
            self.warnings.append(f"Hardly ever observed, do not trust: {self.listed(rare)}.")

    def outliers(self, reliability: Any) -> None:
        if reliability is None:
            return
        doubted = np.asarray(reliability.doubted, bool)
        share = doubted.sum() / max(int(self.visible.sum()), 1)
        by_point, frames = doubted.sum(0), np.flatnonzero(doubted.any(1))
        order = [int(p) for p in np.argsort(-by_point, kind="stable")[:5] if by_point[p]]
        explain = "observed points that jump off their own track and off what the others predict; they weighed little"
        if len(frames):
            named = ", ".join(f"{self.name(p)} ({by_point[p]})" for p in order)
            explain += f"; most at {named}, in {len(frames)} frames"
            pairs = ", ".join(f"{self.name(int(p))} in frame {f}" for f, p in np.argwhere(doubted)[:5])
            pairs += f" and {doubted.sum() - 5} more" if doubted.sum() > 5 else ""
            if share > FEW_OUTLIERS:
                self.warnings.append(f"Wrong points: {pairs}.")
            explain += f": {pairs}"
        self.add("outliers", float(share), "fraction", explain)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
