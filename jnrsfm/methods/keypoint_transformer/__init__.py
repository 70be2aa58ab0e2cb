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

New photographs: the likeliest category, and for each of its keypoints the proposal that most likely is it, at the peak
of its map; where left and right are known, photograph and mirror image both have a say.

Source: Can et al., End-to-End Learning of Multi-category 3D Pose and Shape Estimation, 2021, section 4; Carion et al.,
ECCV 2020. Maps of the queries, spreads, labels that are missing, and the Procrustean lifter are ours.
"""

import dataclasses
from typing import Any, NamedTuple

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


class Setup(NamedTuple):
    """What the phases of training share: the labelled images, the lifter trained on their labels, which keypoint is
    which type, the patches and where they were cut, the samples, both networks and their losses."""

    images: LabelledImages
    lifter: multicategory.LifterFit
    slots: Slots
    boxes: np.ndarray
    where: Squares
    canvas: np.ndarray
    samples: Samples
    system: System
    objective: Objective

    def source(self, config: KeypointTransformer) -> Resident:
        """Batches."""
        return Resident(self.samples, config.batch, 256)


def fit(
    images: LabelledImages, camera: str, config: KeypointTransformer, seed: int, session: Session
) -> Fitted:
    """Train: the module docstring. The reconstruction is of all images.

    Raises InputError where too few images are labelled, or what the lifter raises.
    """
    setup = prepare(images, config, seed, session)
    joint = round(config.together * config.steps)
    diagnostics: dict[str, Any] = {"lifter": setup.lifter.diagnostics}
    params, nets = None, setup.lifter.model["nets"]
    if config.steps > joint:
        params, diagnostics["find"] = find(setup, config, config.steps - joint, seed, session)
    if joint:
        params, nets, diagnostics["together"] = together(setup, config, joint, seed, session, params)
    model, found = model_of(setup, config, params, nets, bool(config.context and joint))
    whole = found if len(setup.images) == len(images) else model.find(images)
    item, about = _heldout(found, setup)
    return Fitted(model.reconstruct(images.landmarks, whole), model, item, diagnostics=diagnostics | about)


def prepare(
    images: LabelledImages,
    config: KeypointTransformer,
    seed: int,
    session: Session,
    lifter: multicategory.LifterFit | None = None,
) -> Setup:
    """The lifter trained on the labels (unless one is given), and patches of the labelled images.

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
    if lifter is None:
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
    objectives = Objectives(lifter.network, config.lifter_config(), session)
    layout = slots.layout(landmarks.n_points)
    flips = landmarks.symmetric is not None
    turned = mirrors(lifter, keypoints, landmarks)
    objective = Objective(system.detector, lifter.network, config, layout, objectives, flips, turned)
    return Setup(chosen, lifter, slots, boxes, where, canvas, samples, system, objective)


def find(
    setup: Setup, config: KeypointTransformer, steps: int, seed: int, session: Session, params: Any = None
) -> tuple[Any, list[dict[str, float]]]:
    """Parameters of the transformer after `steps` alone, and its criteria; from `params` on at the slow rate, as it
    trains together with a lifter, else anew."""
    detector, key = setup.system.detector, jax.random.key(seed)
    problem = Problem(
        lambda k: ({"detector": detector.init(k)[0]}, {}), setup.objective.find, setup.objective.criteria
    )
    phase = Phase("find", steps, setup.source(config), {"fixed": config.fixed})
    stream = int(Stream.SEARCH)
    if params is not None:
        slow = dataclasses.replace(config, learning_rate=config.slow * config.learning_rate)
        start = stacked(({"detector": params}, {}))
        phase = phase._replace(name="more", hyper={"fixed": 0.0}, optimizer=slow.optimizer(), start=start)
        stream = Stream.SEARCH + 1
    trained = Engine(problem, config, session).train(phase, jax.random.fold_in(key, stream))
    return trained.params["detector"], list(trained.criteria)


def together(
    setup: Setup, config: KeypointTransformer, steps: int, seed: int, session: Session, params: Any = None
) -> tuple[Any, Any, list[dict[str, float]]]:
    """Parameters of transformer and lifter after `steps` of both, and the criteria; the transformer from `params` on,
    else anew."""
    key, fresh = jax.random.key(seed), params is None
    if fresh:
        params = setup.system.detector.init(jax.random.fold_in(key, Stream.INITIAL))[0]
    lifter = setup.lifter.model
    start = ({"detector": params, "nets": lifter["nets"]}, lifter["model_state"])
    problem = Problem(lambda k: start, setup.objective.together, setup.objective.criteria)
    hyper = {"fixed": config.fixed if fresh else 0.0}
    phase = Phase("together", steps, setup.source(config), hyper, grouped(config), stacked(start))
    trained = Engine(problem, config, session).train(phase, jax.random.fold_in(key, Stream.SEARCH + 1))
    return trained.params["detector"], trained.params["nets"], list(trained.criteria)


def model_of(
    setup: Setup, config: KeypointTransformer, params: Any, nets: Any, uses_context: bool
) -> tuple[KeypointTransformerModel, Found2D]:
    """The model of trained parameters, and what it finds on the images it was trained on."""
    landmarks, lifter = setup.images.landmarks, setup.lifter
    pairs = lambda x: () if x is None else tuple((int(a), int(b)) for a, b in np.asarray(x))
    found = found_2d(
        setup.system.detector, params, setup.canvas, setup.where, setup.slots, landmarks.n_points
    )
    arrays = {
        "detector": params,
        "lifter": lifter.model | {"nets": nets},
        "confident": jnp.asarray(np.quantile(found.confidence, [0.01]), jnp.float32),
    }
    model = KeypointTransformerModel(
        setup.system, arrays, Normalizer("weak-perspective", "rms"), landmarks.names, lifter.mirror,
        lifter.categories, uses_context, pairs(landmarks.edges), pairs(landmarks.symmetric),
    )  # fmt: skip
    return model, found


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


def _heldout(found: Found2D, setup: Setup) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The held-out error of x and y for the quality report, PCK at a tenth of the box, and the category's accuracy on
    held-out images. A wrong category counts as every point missed."""
    landmarks, samples, where = setup.images.landmarks, setup.samples, setup.where
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
    accuracy = float((found.category == np.asarray(setup.lifter.samples.category))[held].mean())
    share = pck(np.where(visible, distance, 0.0), setup.boxes, visible.astype(float))
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
