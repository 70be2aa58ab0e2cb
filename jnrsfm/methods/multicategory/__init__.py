r"""Many categories in one network: C3DPO, the cyclic self-supervision of Can et al., and a Procrustean prior.

Every category owns a block of keypoints. A sample gives a residual network (`models.lifter`) its centred landmarks and
which of them are seen; the network gives a rotation R and coefficients of one shape basis for all categories:

    J = reprojection(y, Pi R X + t) + turning loss,    X = c(a) S (+ b_S) at the keypoints of the sample's category,

pseudo-Huber of the distances at visible points, t in closed form. In-plane turns of the image augment; of a sample
turned twice, the shape of one has to explain the image with the rotation of the other. `variant`:

* `c3dpo-base`: no more than that. `c3dpo`: a second network has to find X in X turned at random.
* `ours-base`: the cone of non-negative coefficients. `ours`: then the cycle. X is turned to a camera that the network
  finds for another sample of the category (as published: to any), projected, hidden like the sample, and lifted again:
  it must give the turn back (camera loss) and X (shape loss). With `hide` above 0 the network sees a part of a sample's
  points and the loss is over all that are known (Ours-A: points that the image does not show, but somebody annotated).
* `procrustean`: each category's shapes are a normal distribution (`methods.category_prior`), found by expectation
  maximisation on the training landmarks. The network learns the rotation, from the shapes and cameras that were found,
  projected anew under other cameras with other points hidden; the shape is the mean of the distribution given the
  image, in closed form.

Under perspective (intrinsics needed) y are rays of the camera that looks at the object, times the depth d of its
centre, which the size of the image gives in the unit of the shape: y (1 + z / d) = Pi R X + t, z of R X about its mean.
The residual is that of the left side; images of shapes (cycle, synthetic views) divide by 1 + z / d; the prior is
fitted, and images are lifted, with y corrected for the depths that were found before (POSIT), for each depth reflection
its own, and with d such that the shape has the size of the category's others.

Batch normalisation keeps no running statistics: they are measured on the whole set at the end, and before the cycle,
which sees them frozen and keeps them. Layer normalisation needs neither and is the default of all but C3DPO.

Source: Novotny et al., C3DPO, ICCV 2019; Can et al., End-to-End Learning of Multi-category 3D Pose and Shape
Estimation, 2021, sections 3.1 to 3.4. Departures: Adam in place of SGD; one random turn for the canonicalisation
network, not four; no weight decay; cameras and weight of the cycle. The Procrustean variant and rotations from nine
numbers are ours.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.cameras import camera_model
from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.inputs.category_samples import (
    Samples,
    category_codes,
    category_names,
    kept,
    keypoints_of,
    observe,
)
from jnrsfm.inputs.observations import Frames, Normalizer, hold_out
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.multicategory.network import BLOCK, Found, NetworkConfig, Networks, lifted
from jnrsfm.methods.multicategory.objectives import Objectives, reprojection
from jnrsfm.methods.multicategory.settings import MultiCategory as MultiCategory
from jnrsfm.models.lifter import LifterConfig
from jnrsfm.models.saved import NetworkModel
from jnrsfm.shape_prior import category_prior
from jnrsfm.training import Phase, Resident, Session, stacked
from jnrsfm.types import Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True, eq=False)
class MultiCategoryModel(NetworkModel):
    """A trained network: lifts samples of the categories that it was trained on."""

    METHOD = "multicategory"

    categories: tuple[str, ...] | None = None

    @staticmethod
    def network_of(config: dict[str, Any]) -> Networks:
        """The networks of a config's fields, without arrays."""
        return Networks.of(NetworkConfig(**config | {"lifter": LifterConfig(**config["lifter"])}))

    @staticmethod
    def blank(network: Networks) -> dict[str, Any]:
        """Parameters, statistics and prior of the right shapes."""
        return network.blank()

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """One forward pass. Points that a sample's category does not have come out as 0, with `valid3d` False.

        With a prior, `score` is the standard deviation of each point given the image, and `mirror_margin` how much
        likelier the reflection is than the other; see `low_confidence`. Raises InputError for another number of points,
        or a category that the training did not have.
        """
        self.check_points(landmarks)
        category = category_codes(landmarks, self.categories)
        kinds = {k: np.asarray(self.params[k]) for k in ("points", "size")}
        samples, frames = observe(landmarks, category, kinds["points"] > 0, kinds["size"], self.camera)
        found = lifted(self.network, self.params, samples)
        return reconstruct(landmarks, samples, frames, found, self.normalizer, self.mirror)


def low_confidence(reconstruction: Reconstruction, most: float = 0.25) -> np.ndarray:
    """`(frame,)` bool: fewer than four points were seen, or the scores (`Reconstruction.score`) say that the points
    are uncertain by more than `most` of the shape's size (root mean squares both)."""
    valid = np.asarray(reconstruction.valid3d)
    few = (np.asarray(reconstruction.visible) & valid).sum(1) < 4
    if reconstruction.score is None:
        return few
    count = np.maximum(valid.sum(1), 1)
    x = np.where(valid[..., None], np.asarray(reconstruction.points3d), 0)
    x = np.where(valid[..., None], x - x.sum(1, keepdims=True) / count[:, None, None], 0)
    size = np.sqrt((x**2).sum((1, 2)) / count)
    score = np.sqrt((np.where(valid, reconstruction.score, 0) ** 2).sum(1) * 3 / count)
    return few | (score > most * size)


def reconstruct(
    landmarks: Landmarks, samples: Samples, frames: Frames, found: Found, normalizer: Normalizer, mirror: str
) -> Reconstruction:
    """The record: orthographic shapes in the units of the input, weak-perspective ones in units of their image,
    perspective ones in units of their image times the depth."""
    defined = np.asarray(samples.defined) > 0
    size, shape, depth = frames.size, found.shape, np.ones(len(frames.size))
    if normalizer.model.columns == 3:
        # the centre, whose depth is known, is the mean of the visible points
        depth, axis = 1 / size, found.rotation[:, 2]
        z = jnp.einsum("fpj,fj->fp", shape, axis)[..., None]
        middle = np.asarray(masked_mean(z, samples.weights))
        shape = shape - middle * axis[:, None]
    found = found._replace(shape=np.where(defined[..., None], shape, 0.0))
    frames = frames._replace(size=size.astype(np.float32))
    result = normalizer.reconstruction(landmarks, frames, found.shape, found.rotation, depth)
    spread = None if found.spread is None else np.where(defined, found.spread, 0.0)
    if not normalizer.model.frame_scale:
        result = result.replace(
            points3d=np.asarray(result.points3d) * size[:, None, None].astype(np.float32),
            cameras=result.cameras.replace(scale=None),
            gauge="units of the input",
        )
        spread = None if spread is None else (spread * size[:, None]).astype(np.float32)
    return result.replace(valid3d=defined, score=spread, mirror=mirror, mirror_margin=found.margin)


class LifterFit(NamedTuple):
    """A trained lifter and what it was trained on: its `network` and the arrays of its `model`; `samples`, and `whole`
    with the held-out points in place; `frames`: the way back from them; names of the categories."""

    network: Networks
    model: dict[str, Any]
    samples: Samples
    whole: Samples
    frames: Frames
    categories: tuple[str, ...] | None
    mirror: str
    diagnostics: dict[str, Any]


def fit_lifter(
    landmarks: Landmarks, camera: str, config: MultiCategory, seed: int, session: Session, context: int = 0
) -> LifterFit:
    """The phases of the module docstring; `context`: numbers that the network can take beside the points (0 here)."""
    categories, category = None, np.zeros(landmarks.n_frames, int)
    if landmarks.category is not None:
        names = category_names(landmarks)
        order = landmarks.categories or sorted(set(names))
        categories = tuple(str(name) for name in order if (names == name).any())
        category = category_codes(landmarks, categories)
    count = 1 if categories is None else len(categories)
    keypoints = keypoints_of(landmarks, category, count)
    ones = np.ones(count)
    extent = observe(landmarks, category, keypoints, ones, "weak-perspective")[1].size
    size = ones if camera_model(camera).frame_scale else np.array(
        [np.sqrt(np.mean(extent[category == c] ** 2)) for c in range(count)]
    )  # fmt: skip
    size = size.astype(np.float32)  # as the model keeps it
    whole, frames = observe(landmarks, category, keypoints, size, camera)
    seen, held = map(jnp.asarray, hold_out(np.asarray(whole.weights), config.holdout, 5, seed))
    samples = kept(whole, seen, held)
    kind = config.network(landmarks.n_points, count, int(keypoints.sum(1).max()), context=context)
    network = Networks.of(dataclasses.replace(kind, perspective=camera_model(camera).columns == 3))
    objectives, key = Objectives(network, config, session), jax.random.key(seed)
    diagnostics: dict[str, Any] = {}
    model: dict[str, Any] = {
        "points": jnp.asarray(keypoints, jnp.float32),
        "size": jnp.asarray(size, jnp.float32),
    }
    if network.config.modes:
        nearness = np.asarray(samples.nearness) if network.config.perspective else None
        samples, prior, diagnostics["prior"] = _with_prior(
            samples, nearness, keypoints, categories, config, seed, session
        )
        model["prior"] = prior._asdict()

    cycle = round(config.cycle * config.steps) if config.variant == "ours" else 0
    start = None
    for number, (phase, steps) in enumerate((("lift", config.steps - cycle), ("cycle", cycle))):
        if steps:
            source = Resident(samples, config.batch, BLOCK)
            trained = objectives.engine(phase == "cycle").train(
                Phase(phase, steps, source, start=start), jax.random.fold_in(key, number)
            )
            diagnostics[phase] = list(trained.criteria)
            nets, state = trained.params, trained.model_state
            # the cycle trains under the statistics that it was given: they stay
            if network.config.lifter.norm == "batch" and phase == "lift":
                state = objectives.measured(nets, state, samples)
            start = stacked((nets, state))
    model |= {"nets": nets, "model_state": state}
    mirror = "set" if network.config.modes else "none"
    return LifterFit(network, model, samples, whole, frames, categories, mirror, diagnostics)


def fit(landmarks: Landmarks, camera: str, config: MultiCategory, seed: int, session: Session) -> Fitted:
    """Train on landmarks of one or many categories and reconstruct them: the phases of the module docstring.

    Raises InputError where a category has too few samples or points for the procrustean variant.
    """
    made = fit_lifter(landmarks, camera, config, seed, session)
    normalizer = Normalizer(camera, "rms")
    fitted = MultiCategoryModel(
        made.network, made.model, normalizer, landmarks.names, made.mirror, made.categories
    )
    found = lifted(made.network, made.model, made.samples)
    heldout = _heldout_item(found, made, config)
    found = lifted(made.network, made.model, made.whole)
    best = reconstruct(landmarks, made.whole, made.frames, found, normalizer, made.mirror)
    return Fitted(best, fitted, heldout, None, made.diagnostics | {"heldout": heldout})


def _with_prior(
    samples: Samples,
    nearness,
    keypoints: np.ndarray,
    categories,
    config: MultiCategory,
    seed: int,
    session: Session,
):
    """`(samples, prior, diagnostics)`: the prior of every category, and the shapes and rotations of its samples."""
    points, weights, category = (
        np.asarray(x, np.float64) for x in (samples.points, samples.weights, samples.category)
    )
    prior = jax.tree.map(np.array, category_prior.empty(len(keypoints), keypoints.shape[1], config.modes))
    shape, rotation, diagnostics = np.array(samples.shape), np.array(samples.rotation), {}
    parts = []
    for c, has in enumerate(keypoints):
        rows, columns = np.flatnonzero(category == c), np.flatnonzero(has)
        rows = rows[(weights[np.ix_(rows, columns)] > 0).sum(1) >= 4]
        if len(rows) < 12 or len(columns) < 5:
            raise InputError(
                f"{categories[c] if categories else 'the set'}: {len(rows)} samples with at least 4 of {len(columns)} "
                "points seen: the prior needs 12 samples and 5 points of each category: give more, or take variant ours"
            )
        parts.append((rows, columns))
    n, p = (max(len(part[axis]) for part in parts) for axis in (0, 1))
    for c, (rows, columns) in enumerate(parts):
        name = categories[c] if categories else "the set"
        session.say(f"multicategory: distribution of {name}, {len(rows)} samples")
        # one compiled size for all: samples are repeated, and points that nobody sees are added
        part = np.ix_(np.resize(rows, n), columns)
        more = p - len(columns)
        learned = category_prior.learn(
            np.pad(points[part], ((0, 0), (0, more), (0, 0))), np.pad(weights[part], ((0, 0), (0, more))),
            config.modes, seed, None if nearness is None else nearness[np.resize(rows, n)],
        )  # fmt: skip
        diagnostics[name] = learned.diagnostics
        shape[np.ix_(rows, columns)] = learned.shapes[: len(rows), : len(columns)]
        rotation[rows] = learned.rotations[: len(rows)]
        for field, value in learned.prior._asdict().items():
            target = getattr(prior, field)
            if field in ("mean", "basis"):
                target[c][columns, ..., : value.shape[-1]] = value[: len(columns)]
            else:
                target[c] = value
    f32 = lambda x: jnp.asarray(x, jnp.float32)
    return (
        samples._replace(shape=f32(shape), rotation=f32(rotation)),
        jax.tree.map(f32, prior),
        diagnostics,
    )


def _heldout_item(found: Found, made: LifterFit, config: MultiCategory) -> dict[str, Any] | None:
    """The held-out error for the quality report; its baseline puts every hidden point at the mean of the seen ones."""
    samples, whole = made.samples, made.whole
    held = np.asarray(samples.heldout)
    if not held.sum():
        return None
    nearness = samples.nearness if made.network.config.perspective else None
    shape, rotation = jnp.asarray(found.shape), jnp.asarray(found.rotation)
    gap = reprojection(shape, rotation, whole.points, samples.weights, nearness)
    middle = whole.points - masked_mean(whole.points, samples.weights)
    error, baseline = (
        float((held * np.linalg.norm(np.asarray(x), axis=-1)).sum() / held.sum()) for x in (gap, middle)
    )
    note = f"{config.holdout:.0%} of the observed points, hidden from training and from the lifting"
    return {"error": error, "baseline": baseline, "count": int((held > 0).sum()), "note": note}


INFO = MethodInfo(
    name="multicategory",
    kind="learned",
    summary="one network for many categories, single views; C3DPO, cycle, Procrustean prior; unseen frames",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Can et al. 2021; Novotny et al. (C3DPO), ICCV 2019",
    cites=("can2021multicategory", "novotny2019c3dpo", "lee2013pnd"),
    config=MultiCategory,
    fit=fit,
    load=MultiCategoryModel.load,
)
