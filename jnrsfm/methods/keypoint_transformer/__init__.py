r"""Photographs of several kinds of objects: what each shows, where its keypoints are, and their 3D, by networks trained
together from 2D keypoints and categories alone.

A transformer (`models.vision.transformer`) proposes keypoints, each of a type of its category, and gives the category
and a context vector. Proposals are matched one to one to labels; the matched places, softly by the category, are the
input of the multi-category lifter (`methods.multicategory`), together with the context. Three phases: the transformer
alone; the lifter on the labels; both on what the transformer finds,

    J = w |place - label|_1 + types + category + lift_weight (the lifter's losses on the found places and the context).

With the Procrustean prior the lifter learns the rotation that the prior's fit found for the labels, turned and flipped
as the patch is, and the shape is the mean of the prior given the places, of which uncertain ones weigh less. With the
published lifter the losses are reprojection, camera and shape of the cycle; the cycle's camera is asked for without the
context, which knows the image's own camera.

New photographs: the likeliest category, and for each of its keypoints the proposal that most likely is it.

Source: Can et al., End-to-End Learning of Multi-category 3D Pose and Shape Estimation, 2021, section 4; Carion et al.,
ECCV 2020. Maps of the queries, spreads, labels that are missing, and the Procrustean lifter are ours.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnrsfm.errors import InputError
from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Squares
from jnrsfm.inputs.observations import Normalizer
from jnrsfm.methods import multicategory
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.keypoint_transformer.model import Found2D as Found2D
from jnrsfm.methods.keypoint_transformer.model import KeypointTransformerModel as KeypointTransformerModel
from jnrsfm.methods.keypoint_transformer.model import System as System
from jnrsfm.methods.keypoint_transformer.model import SystemConfig as SystemConfig
from jnrsfm.methods.keypoint_transformer.model import found_2d
from jnrsfm.methods.keypoint_transformer.network import Objective, Samples, Slots
from jnrsfm.methods.keypoint_transformer.settings import KeypointTransformer as KeypointTransformer
from jnrsfm.methods.multicategory.objectives import Objectives
from jnrsfm.methods.recipe import Stream
from jnrsfm.methods.student import pck
from jnrsfm.training import Engine, Phase, Problem, Resident, Session, stacked
from jnrsfm.training.optimizers import averaged
from jnrsfm.types import LabelledImages, Landmarks

LEAST_IMAGES = 24
LEAST_POINTS = 4  # visible, for a label to be of use to the lifter


def fit(
    images: LabelledImages, camera: str, config: KeypointTransformer, seed: int, session: Session
) -> Fitted:
    """Train: the module docstring. The reconstruction is of all images.

    Raises InputError where too few images are labelled, or what the lifter raises.
    """
    name = KeypointTransformerModel.METHOD
    landmarks = images.landmarks
    labelled = np.flatnonzero(np.asarray(landmarks.visible).sum(1) >= LEAST_POINTS)
    if len(labelled) < LEAST_IMAGES:
        raise InputError(
            f"{name}: {len(labelled)} of {len(images)} images have {LEAST_POINTS} labelled points: label at least "
            f"{LEAST_IMAGES}"
        )
    chosen = images.select(labelled)
    key = jax.random.key(seed)
    lifter = multicategory.fit_lifter(
        chosen.landmarks, "weak-perspective", config.lifter_config(), seed, session, config.context
    )
    keypoints = np.asarray(lifter.model["points"]) > 0
    slots = Slots.of(keypoints, landmarks.symmetric)
    boxes = crops.label_boxes(chosen)
    where = crops.squares(boxes, chosen.pixels.sizes)
    session.say(f"{name}: cutting {len(labelled)} patches")
    canvas = crops.canvases(chosen, where, config.size)
    samples = samples_of(chosen.landmarks, where, canvas, slots, lifter, config, seed)

    system = System(
        SystemConfig(config.network(slots.columns.shape[1], len(keypoints)), lifter.network.config)
    )
    detector = system.detector
    objectives = Objectives(lifter.network, config.lifter_config(), session)
    layout = slots.layout(landmarks.n_points)
    flips = landmarks.symmetric is not None
    objective = Objective(
        detector, lifter.network, config, layout, objectives, flips, mirrors(lifter, keypoints, landmarks)
    )
    joint = round(config.together * config.steps)
    source = Resident(samples, config.batch, 256)
    diagnostics: dict[str, Any] = {"lifter": lifter.diagnostics}
    params: Any = {"detector": detector.init(jax.random.fold_in(key, Stream.INITIAL))[0]}
    alone = config.steps - joint
    if alone:
        fresh = Problem(lambda k: ({"detector": detector.init(k)[0]}, {}), objective.find, objective.criteria)
        engine = Engine(fresh, config, session)
        phase = Phase("find", alone, source, {"fixed": config.fixed})
        trained = engine.train(phase, jax.random.fold_in(key, Stream.SEARCH))
        params, diagnostics["find"] = trained.params, list(trained.criteria)
    nets, state = lifter.model["nets"], lifter.model["model_state"]
    if joint:
        start = ({**params, "nets": nets}, state)
        both = Engine(Problem(lambda k: start, objective.together, objective.criteria), config, session)
        fixed = 0.0 if alone else config.fixed
        phase = Phase("together", joint, source, {"fixed": fixed}, grouped(config), stacked(start))
        trained = both.train(phase, jax.random.fold_in(key, Stream.SEARCH + 1))
        params, diagnostics["together"] = trained.params, list(trained.criteria)
        nets = params["nets"]

    pairs = lambda x: () if x is None else tuple((int(a), int(b)) for a, b in np.asarray(x))
    found = found_2d(detector, params["detector"], canvas, where, slots, landmarks.n_points)
    arrays = {
        "detector": params["detector"],
        "lifter": lifter.model | {"nets": nets},
        "confident": jnp.asarray(np.quantile(found.confidence, [0.01]), jnp.float32),
    }
    model = KeypointTransformerModel(
        system, arrays, Normalizer("weak-perspective", "rms"), landmarks.names, lifter.mirror, lifter.categories,
        bool(config.context and joint), pairs(landmarks.edges), pairs(landmarks.symmetric),
    )  # fmt: skip
    whole = found if len(labelled) == len(images) else model.find(images)
    item, about = _heldout(found, chosen.landmarks, samples, boxes, slots, where, lifter)
    return Fitted(model.reconstruct(landmarks, whole), model, item, diagnostics=diagnostics | about)


def grouped(config: KeypointTransformer) -> optax.GradientTransformation:
    """The optimiser of both: the transformer goes on slowly."""
    rate = config.learning_rate
    plain = lambda r: dataclasses.replace(config, learning_rate=r, average=0.0).optimizer()
    both = optax.multi_transform(
        {"detector": plain(config.slow * rate), "nets": plain(0.1 * rate)},
        lambda params: {name: name for name in params},
    )
    return averaged(both, config.average) if config.average else both


def samples_of(
    landmarks: Landmarks,
    where: Squares,
    canvas: np.ndarray,
    slots: Slots,
    lifter: multicategory.LifterFit,
    config: KeypointTransformer,
    seed: int,
) -> Samples:
    """The samples of labelled images, on the device; some images are held out as a whole."""
    category = np.asarray(lifter.samples.category)
    columns, defined, swap = (x[category] for x in slots)
    take = lambda x: np.take_along_axis(x, columns.reshape(*columns.shape, *[1] * (x.ndim - 2)), 1)
    visible = take(np.asarray(landmarks.visible)) & defined
    points = take(where.to_crop(np.asarray(landmarks.points2d, np.float64)))
    points = np.where(visible[..., None], points, 0.0).astype(np.float32)
    held = np.zeros(len(visible), bool)
    held[np.random.default_rng(seed).permutation(len(held))[: int(config.holdout * len(held))]] = True
    shown, hidden = visible & ~held[:, None], visible & held[:, None]
    made = Samples(canvas, points, shown, hidden, defined, swap, lifter.samples.category, lifter.samples)
    return jax.tree.map(jnp.asarray, made)


def mirrors(lifter: multicategory.LifterFit, keypoints: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    """`(category, 3, 3)` reflections M of the object frames that exchange left and right: of all reflections the one
    that brings the mean shape nearest to itself with its left-right pairs exchanged; diag(1, 1, -1) without a prior."""
    found = np.tile(np.diag([1.0, 1.0, -1.0]), (len(keypoints), 1, 1))
    if "prior" not in lifter.model:
        return found
    swap = crops.swap_of(keypoints.shape[1], landmarks.symmetric)
    for c, mean in enumerate(np.asarray(lifter.model["prior"]["mean"], np.float64)):
        both = keypoints[c] & keypoints[c][swap]
        x, y = mean[both], mean[swap][both]
        u, _, vt = np.linalg.svd((y - y.mean(0)).T @ (x - x.mean(0)))
        sign = -np.sign(np.linalg.det(u @ vt))
        found[c] = u @ np.diag([1.0, 1.0, sign]) @ vt
    return found


def _heldout(
    found: Found2D, landmarks: Landmarks, samples: Samples, boxes: np.ndarray, slots: Slots, where: Squares,
    lifter: multicategory.LifterFit,
) -> tuple[dict[str, Any] | None, dict[str, Any]]:  # fmt: skip
    """The held-out error of x and y for the quality report, PCK at a tenth of the box, and the category's accuracy on
    held-out images. A wrong category counts as every point missed."""
    held = np.any(np.asarray(samples.heldout), axis=1)
    if not held.any():
        return None, {}
    visible = np.asarray(landmarks.visible) & held[:, None]
    truth = np.asarray(landmarks.points2d, np.float64)
    distance = np.where(found.defined, np.linalg.norm(found.points - truth, axis=-1), np.inf)
    side = where.side[:, None] / crops.BOX
    known = np.isfinite(distance) & visible
    crop = np.where(visible[..., None], where.to_crop(truth), 0.0)
    guess = crop.sum(0) / np.maximum(visible.sum(0), 1)[:, None]
    baseline = np.linalg.norm(crop - guess, axis=-1) * crops.BOX
    images = int(held.sum())
    accuracy = float((found.category == np.asarray(lifter.samples.category))[held].mean())
    share = pck(np.where(visible, distance, 0.0), boxes, visible.astype(float))
    item = {
        "error": float((distance / side)[known].mean()) if known.any() else float("inf"),
        "baseline": float(baseline[visible].mean()),
        "count": int(known.sum()),
        "unit": "longer sides of the box",
        "note": f"labels of {images} images that training did not see; the baseline is the mean place of each point",
    }
    about = {
        "heldout_images": images,
        "pck": share,
        "heldout_error": item["error"],
        "category_accuracy": accuracy,
    }
    return item, about


INFO = MethodInfo(
    name=KeypointTransformerModel.METHOD,
    kind="learned",
    summary="photographs of several kinds of objects: category, keypoints and 3D by a transformer and a lifter",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Can et al. 2021, section 4",
    cites=("can2021multicategory", "carion2020detr", "novotny2019c3dpo", "lee2013pnd"),
    state="experimental",
    config=KeypointTransformer,
    fit=fit,
    load=KeypointTransformerModel.load,
    takes=LabelledImages,
)
