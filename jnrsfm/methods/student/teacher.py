"""The teacher: a landmark method on the labels of the images, and what its 3D says of the depths of each."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import yaml

from jnrsfm.config import from_plain
from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import Normalizer
from jnrsfm.losses import CodeTerms, code_terms
from jnrsfm.methods.base import MethodInfo
from jnrsfm.methods.student.settings import Student
from jnrsfm.shape_prior import condition_depths, learn_shape_normal
from jnrsfm.training import Session
from jnrsfm.types import Landmarks, Reconstruction

FILE = "teacher.npz"
LEAST_MARGIN = 0.05  # a frame whose depth reflection is a coin toss counts this much


class DepthTargets(NamedTuple):
    """What an image's label teaches; leading axis image, lengths in units of the object's size.

    `pixels (image,)`: pixels of that unit in the image; `depth (image, point)`: depths, each image's mean taken out;
    `factor (image, point, point)`: F of `shape_prior.depth_conditional` (the identity where only the depths count);
    `spread (image, point)`: standard deviation of each depth (0: not known);
    `confidence (image,)` in [0, 1]: how surely the depth reflection is right; `codes`: `losses.CodeTerms`, or None;
    `points (image, point, 2)`: the labels relative to the mean of the visible ones.
    """

    pixels: np.ndarray
    depth: np.ndarray
    factor: np.ndarray
    spread: np.ndarray
    confidence: np.ndarray
    codes: CodeTerms | None
    points: np.ndarray


class TeacherResult(NamedTuple):
    """The teacher's 3D, its `targets`, and the dictionary `(point, 3, k)` of the codes, or None."""

    reconstruction: Reconstruction
    targets: DepthTargets
    dictionary: Any
    diagnostics: dict[str, Any]


def run_teacher(
    landmarks: Landmarks, camera: str, config: Student, seed: int, session: Session
) -> TeacherResult:
    """Fit the teacher to labels (every frame shows enough points), or take up its stored result, and find what it says.

    Raises InputError for an unknown teacher, or what the teacher raises.
    """
    info, settings = _settings(config)
    stored = None if session.folder is None else session.folder / FILE
    fitted = None
    if config.distill == "codes" or not (session.resume and stored is not None and stored.is_file()):
        session.say(f"teacher: {info.name} on {landmarks.n_frames} labelled images")
        if info.kind == "solver" and camera != "orthographic":
            found = of_one_size(info, settings, landmarks, seed, session)
        else:
            name = camera if camera in info.cameras else info.cameras[-1]
            fitted = info.fit(landmarks, name, settings, seed, session)
            found = fitted.reconstruction
        if stored is not None and session.first:
            found.save(stored)
    else:
        found = Reconstruction.load(stored)
    targets, about = depth_targets(landmarks, found, config)
    dictionary = None
    if config.distill == "codes":
        assert fitted is not None
        dictionary, codes = _codes(fitted.model, landmarks)
        targets = targets._replace(codes=codes)
    margin = found.mirror_margin
    about |= {"teacher": info.name, "reflection": found.mirror}
    if margin is not None:
        about["reflection_margin"] = float(np.median(np.asarray(margin)))
    return TeacherResult(found, targets, dictionary, about)


def of_one_size(
    info: MethodInfo, settings: Any, landmarks: Landmarks, seed: int, session: Session
) -> Reconstruction:
    """A solver's reconstruction of landmarks whose frames were brought to one image size first, under an orthographic
    camera: with a free scale for each of many loose photographs solvers may diverge."""
    normalizer = Normalizer("weak-perspective", "rms")
    seen, frames = normalizer(landmarks)
    unit = landmarks.replace(points2d=np.asarray(seen.points))
    found = info.fit(unit, "orthographic", settings, seed, session).reconstruction
    shapes = np.asarray(found.points3d)
    if found.scale is not None:
        shapes = shapes * np.asarray(found.scale)[:, None, None]
    record = normalizer.reconstruction(landmarks, frames, shapes, found.rotations, np.asarray(seen.depth))
    return record.replace(mirror=found.mirror, mirror_margin=found.mirror_margin)


def depth_targets(
    landmarks: Landmarks, found: Reconstruction, config: Student
) -> tuple[DepthTargets, dict[str, Any]]:
    """What a reconstruction of labels says of their depths, by `config.distill`."""
    visible = np.asarray(landmarks.visible)
    shapes = np.asarray(found.points3d, np.float64)
    shapes = shapes - shapes.mean(1, keepdims=True)
    size = np.sqrt((shapes**2).sum(-1).mean())
    camera = found.cameras
    pixels = np.full(len(shapes), size)
    if camera.scale is not None:
        pixels = pixels * np.asarray(camera.scale, np.float64)
    if camera.model == "perspective":  # near enough to its image, whatever the teacher's camera
        k = np.broadcast_to(np.asarray(camera.intrinsics, np.float64), (len(shapes), 3, 3))
        middle = np.asarray(found.camera_points, np.float64)[..., 2].mean(1)
        pixels = pixels * k[:, 0, 0] / middle
    rotations = np.asarray(camera.rotations, np.float64)
    weight = visible[..., None].astype(np.float64)
    xy = np.where(visible[..., None], np.asarray(landmarks.points2d, np.float64), 0.0)
    centre = (weight * xy).sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), 1)
    points = np.where(visible[..., None], (xy - centre) / pixels[:, None, None], 0.0)
    depth = np.einsum("fpj,fj->fp", shapes / size, rotations[:, 2])
    n = len(depth)
    factor, spread = np.zeros((n, 0, 0), np.float32), np.zeros(depth.shape, np.float32)
    about: dict[str, Any] = {}
    if config.distill == "conditional":
        normal = learn_shape_normal(shapes / size, rotations, points, visible, noise=config.label_noise)
        frames = (jnp.asarray(np.asarray(x, np.float32)) for x in (rotations, points, visible))
        given = jax.jit(condition_depths, static_argnums=4)(normal, *frames, config.firmness)
        depth, factor = np.asarray(given.mean, np.float64), np.asarray(given.factor)
        spread = np.asarray(given.spread)
        about["depth_spread"] = float(np.sqrt(np.mean(np.asarray(given.spread) ** 2)))
    depth = depth - depth.mean(1, keepdims=True)
    confidence = np.ones(n) if found.mirror_margin is None else np.asarray(found.mirror_margin)
    confidence = np.clip(confidence, LEAST_MARGIN, 1.0)
    f32 = lambda x: np.asarray(x, np.float32)
    return DepthTargets(
        f32(pixels), f32(depth), f32(factor), f32(spread), f32(confidence), None, f32(points)
    ), about


def _settings(config: Student) -> tuple[MethodInfo, Any]:
    """The teacher's entry of the registry, and its settings."""
    from jnrsfm.methods import METHODS  # the registry holds this method too

    known = {name: m for name, m in METHODS.items() if m.takes is Landmarks}
    if config.teacher not in known:
        raise InputError(f"teacher {config.teacher!r} is unknown: choose from {', '.join(known)}")
    info = known[config.teacher]
    plain = {}
    for text in config.teacher_settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"teacher_settings {text!r}: expected name=value, such as steps=500")
        plain[name] = yaml.safe_load(value)
    return info, from_plain(plain, info.config(), f"teacher {info.name}")


def _codes(model: Any, landmarks: Landmarks) -> tuple[Any, CodeTerms]:
    """The centred dictionary of a Deep NRSfM++ network and the codes of the labels, in units of the object's size.

    The dictionary takes the unit, and the codes stay: D phi is then of size one.
    """
    from jnrsfm.geometry.cameras import camera_model
    from jnrsfm.methods.deep_nrsfm_pp import forward

    seen, _ = model.observed(landmarks)
    terms = jax.jit(forward, static_argnums=(0, 1))(
        model.network, camera_model(model.camera), model.params, seen
    )
    dictionary = jnp.asarray(model.params["first"])
    dictionary = dictionary - dictionary.mean(0, keepdims=True)
    shapes = jnp.einsum("pik,fk->fpi", dictionary, terms.first_code)
    dictionary = dictionary / jnp.sqrt((shapes**2).sum(-1).mean())
    return dictionary, code_terms(dictionary, terms.first_code, terms.rotation)
