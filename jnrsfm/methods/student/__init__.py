r"""The student: an image network that learns 3D from a landmark method, its teacher, on the labels of the images.

The *teacher* lifts the labels. For each image it leaves the depths a cost: their conditional distribution given the 2D
labels (`shape_prior.depth_conditional`), which says along which directions the image leaves them open; the bound of the
thesis on the codes of its dictionary (`losses.distillation`); or plainly the distance to its own depths. The *student*
sees the pixels of a patch around the object and gives x, y and z of every point: x and y follow the labels, z the cost.
Where labels are ambiguous the cost is flat, and what the network has learned from the look of other images decides.

A locator finds the object where photographs come without a box. Held-out images measure the error of x and y.

Source: Wang, thesis, 2022, ch. 4; the network follows Sun et al., Integral human pose regression, ECCV 2018, with a
head of our choice. The conditional, missing labels, images without labels, and any teacher are ours.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Squares
from jnrsfm.inputs.observations import Normalizer
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.recipe import Stream
from jnrsfm.methods.student import locator
from jnrsfm.methods.student.network import Objective, Samples, found_poses
from jnrsfm.methods.student.settings import Student as Student
from jnrsfm.methods.student.teacher import TeacherResult, run_teacher
from jnrsfm.models.functional import Network
from jnrsfm.models.saved import NetworkModel
from jnrsfm.models.vision import DEPTH, BackboneConfig, PoseNetwork, PoseNetworkConfig, with_weights
from jnrsfm.training import Engine, Phase, Problem, Resident, Session
from jnrsfm.types import Cameras, LabelledImages, Landmarks, Reconstruction, reconstruction_of

LEAST_IMAGES = 8
LEAST_POINTS = 4  # visible, for a label to be of use


@dataclasses.dataclass(frozen=True, eq=False)
class StudentModel(NetworkModel):
    """A trained student: lifts photographs that it has not seen. `params`: `pose`, and `locator` where it has one."""

    METHOD = "student"
    TAKES = LabelledImages

    locates: bool = False
    edges: tuple[tuple[int, int], ...] = ()
    symmetric: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        config = {**config, "backbone": BackboneConfig(**config["backbone"])}
        return Network.of(PoseNetwork, PoseNetworkConfig(**config))

    @staticmethod
    def blank(network: Network) -> Any:
        """Parameters of the right shapes."""
        second = Network.of(PoseNetwork, dataclasses.replace(network.config, n_points=2))
        return {"pose": network.init(jax.random.key(0))[0], "locator": second.init(jax.random.key(0))[0]}

    def lift(self, images: LabelledImages) -> Reconstruction:  # type: ignore[override]
        """3D of photographs: from their boxes or labels where they have them, else the object is looked for.

        `points2d` of the result are in pixels of the photographs, depths in pixels too; `score` is the spread that the
        network gives.
        """
        boxes = crops.label_boxes(images)
        unknown = np.flatnonzero(~np.isfinite(boxes).all(1))
        if self.locates and len(unknown):
            part = images.select(unknown)
            boxes[unknown] = self._located(part)
        where = crops.squares(boxes, images.pixels.sizes)
        canvas = crops.canvases(images, where, self.network.config.size)
        return self.record(images, where, *self._poses(canvas))

    def _poses(self, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and spreads in crop units."""
        swap: tuple[int, ...] = ()
        if self.symmetric:
            order = crops.swap_of(self.network.config.n_points, np.array(self.symmetric))
            swap = tuple(int(p) for p in order)
        return found_poses(self.network, self.params["pose"], canvas, swap)

    def _located(self, images: LabelledImages) -> np.ndarray:
        """Boxes of photographs without one: the locator's, then around the points that are found there."""
        second = Network.of(PoseNetwork, dataclasses.replace(self.network.config, n_points=2))
        size = self.network.config.size
        boxes = locator.found_boxes(second, self.params["locator"], images, size)
        where = crops.squares(boxes, images.pixels.sizes)
        points, _ = self._poses(crops.canvases(images, where, size))
        points = where.to_pixels(points[..., :2])
        return np.concatenate([points.min(1), points.max(1)], 1)

    def record(
        self, images: LabelledImages, where: Squares, points: np.ndarray, spread: np.ndarray
    ) -> Reconstruction:
        """The reconstruction of poses in crop units: shapes of size one in one object frame, cameras in pixels."""
        side = where.side[:, None, None]
        xy = where.to_pixels(points[..., :2])
        shape = np.concatenate([xy, points[..., 2:] * side], -1)
        middle = shape.mean(1, keepdims=True)
        shape = shape - middle
        scale = np.maximum(np.sqrt((shape**2).sum(-1).mean(1)), 1e-6)
        aligned, turns = jax.jit(align)(jnp.asarray(shape / scale[:, None, None], jnp.float32))
        cameras = Cameras(
            rotations=np.swapaxes(np.asarray(turns), 1, 2),
            translations=np.concatenate([middle[:, 0, :2], np.zeros((len(xy), 1))], 1).astype(np.float32),
            scale=scale.astype(np.float32),
            model="weak-perspective",
        )
        landmarks = images.landmarks
        if landmarks.n_points != points.shape[1]:  # photographs without any labels
            n, p = points.shape[:2]
            landmarks = Landmarks(
                np.zeros((n, p, 2), np.float32), np.zeros((n, p), bool), sequence=landmarks.sequence, names=self.names,
                edges=np.array(self.edges, int).reshape(-1, 2) if self.edges else None,
                symmetric=np.array(self.symmetric, int).reshape(-1, 2) if self.symmetric else None,
            )  # fmt: skip
        found = reconstruction_of(
            landmarks, np.asarray(aligned), cameras, gauge="each shape has size 1", mirror=self.mirror
        )
        deviation = 2**0.5 * np.sqrt((spread**2).sum(-1) / 3) * where.side[:, None] / scale[:, None]
        return found.replace(score=deviation.astype(np.float32))


def fit(images: LabelledImages, camera: str, config: Student, seed: int, session: Session) -> Fitted:
    """Teach and train: the module docstring. The reconstruction is of all images.

    Raises InputError where fewer than 8 images have 4 labelled points.
    """
    return fit_network(images, camera, config, seed, session, Objective, StudentModel)


def fit_network(
    images: LabelledImages,
    camera: str,
    config: Student,
    seed: int,
    session: Session,
    kind: type[Objective],
    model_kind: type[StudentModel],
) -> Fitted:
    """`fit` for an objective of this `kind`, whose model is a `model_kind`."""
    landmarks = images.landmarks
    visible = np.asarray(landmarks.visible)
    labelled = np.flatnonzero(visible.sum(1) >= LEAST_POINTS)
    if len(labelled) < LEAST_IMAGES:
        raise InputError(
            f"{model_kind.METHOD}: {len(labelled)} of {len(images)} images have {LEAST_POINTS} labelled points: "
            f"label at least {LEAST_IMAGES}"
        )
    config = config.resolved(len(labelled))
    boxes = crops.label_boxes(images)
    teacher = run_teacher(landmarks.select(labelled), camera, config, seed, session)
    chosen = images.select(labelled)
    where = crops.squares(boxes[labelled], chosen.pixels.sizes)
    session.say(f"{model_kind.METHOD}: cutting {len(labelled)} patches")
    canvas = crops.canvases(chosen, where, config.size)
    samples = samples_of(chosen, where, canvas, teacher, config, seed)
    network = Network.of(PoseNetwork, config.network(landmarks.n_points))
    swap = crops.swap_of(landmarks.n_points, landmarks.symmetric)
    objective = kind(network, config, swap, teacher.dictionary, landmarks.symmetric is not None)
    engine = Engine(Problem(initial(network), objective, objective.criteria), config, session)
    key = jax.random.key(seed)
    source = Resident(samples, config.batch, 256)
    assert config.steps is not None
    trained = engine.train(
        Phase(model_kind.METHOD, config.steps, source), jax.random.fold_in(key, Stream.SEARCH)
    )
    params = {"pose": trained.params}
    locates = locator.is_needed(images, boxes, config)
    if locates:
        params["locator"] = locator.train(
            images, boxes, config, jax.random.fold_in(key, Stream.INITIAL), session
        )
    else:
        params["locator"] = StudentModel.blank(network)["locator"]
    pairs = lambda x: () if x is None else tuple((int(a), int(b)) for a, b in np.asarray(x))
    model = model_kind(
        network, params, Normalizer("weak-perspective", "rms"), landmarks.names, teacher.reconstruction.mirror, locates,
        pairs(landmarks.edges), pairs(landmarks.symmetric),
    )  # fmt: skip
    found = model.lift(images)
    heldout, about = _heldout(found, landmarks.select(labelled), labelled, samples, where)
    diagnostics = teacher.diagnostics | about | {model_kind.METHOD: list(trained.criteria)}
    return Fitted(found, model, heldout, diagnostics=diagnostics)


def initial(network: Network) -> Any:
    """How parameters begin: a pretrained trunk in its place."""
    if not network.config.backbone.trunk:
        return network.init

    def init(key):
        params, state = network.init(key)
        return with_weights(params), state

    return init


def samples_of(
    images: LabelledImages,
    where: Squares,
    canvas: np.ndarray,
    teacher: TeacherResult,
    config: Student,
    seed: int,
) -> Samples:
    """The samples of labelled images, on the device; some images are held out as a whole.

    Depths that the network's head cannot reach are brought to where it can: a teacher whose camera hardly turned may
    make the object many times as deep as it is wide.
    """
    landmarks, targets = images.landmarks, teacher.targets
    deepest = np.maximum(np.abs(targets.depth).max(1), 1e-6)
    unit = np.minimum(targets.pixels / where.side, DEPTH / deepest)
    weights = np.asarray(landmarks.weights, np.float32)
    points = np.where(weights[..., None] > 0, where.to_crop(np.asarray(landmarks.points2d, np.float64)), 0.0)
    n = len(weights)
    held = np.zeros(n, bool)
    count = int(config.holdout * n)
    held[np.random.default_rng(seed).permutation(n)[:count]] = True
    kept = ~held[:, None]
    return jax.tree.map(
        jnp.asarray,
        Samples(
            canvas=canvas,
            points=points.astype(np.float32),
            weights=weights * kept,
            heldout=weights * held[:, None],
            unit=unit.astype(np.float32),
            depth=targets.depth,
            factor=targets.factor,
            spread=targets.spread,
            confidence=targets.confidence * kept[:, 0],
            codes=targets.codes,
            centred=targets.points,
        ),
    )


def pck(distance: np.ndarray, boxes: np.ndarray, weights: np.ndarray, share: float = 0.1) -> float:
    """Share of the labelled points that are found within `share` of the longer side of their box."""
    side = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), 1e-6)[:, None]
    return float((weights * (distance <= share * side)).sum() / max(weights.sum(), 1e-9))


def _heldout(
    found: Reconstruction, landmarks: Landmarks, labelled: np.ndarray, samples: Samples, where: Squares
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The held-out error of x and y for the quality report, and PCK at a tenth of the box."""
    held = np.asarray(samples.heldout)
    if not held.sum():
        return None, {}
    truth = np.asarray(landmarks.points2d, np.float64)
    gap = np.where(held[..., None] > 0, np.asarray(found.points2d)[labelled] - truth, 0.0)
    distance = np.linalg.norm(gap, axis=-1)
    side = where.side[:, None] / crops.BOX
    middle = np.where(held[..., None] > 0, where.to_crop(truth), 0.0)
    guess = (held[..., None] * middle).sum(0) / np.maximum(held.sum(0), 1)[:, None]
    baseline = np.where(held > 0, np.linalg.norm(middle - guess, axis=-1) * crops.BOX, 0.0)
    images = int((held.sum(1) > 0).sum())
    boxes = crops.label_boxes(LabelledImages(None, landmarks))
    item = {
        "error": float((held * distance / side).sum() / held.sum()),
        "baseline": float((held * baseline).sum() / held.sum()),
        "count": int((held > 0).sum()),
        "unit": "longer sides of the box",
        "note": f"labels of {images} images that training did not see; the baseline is the mean place of each point",
    }
    return item, {"heldout_images": images, "pck": pck(distance, boxes, held), "heldout_error": item["error"]}


INFO = MethodInfo(
    name=StudentModel.METHOD,
    kind="learned",
    summary="image network that learns depth from a landmark method; labelled photographs in, 3D of new ones out",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Wang, thesis, 2022, ch. 4",
    cites=("wang2022thesis", "sun2018integral"),
    state="experimental",
    config=Student,
    fit=fit,
    load=StudentModel.load,
    takes=LabelledImages,
)
