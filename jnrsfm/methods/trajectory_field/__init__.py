r"""Neural trajectory fields: a scene in motion from one moving camera, every point with a DCT path through time.

A field over space and time gives density, a colour, and the coefficients of each point's path (`models.field`).
A pixel of time t0 is rendered from the field at t0; from the field at a neighbouring time, and from the field at any
other time, both queried where the paths lead (eq. 6.7), with what comes into empty space in between left out
(eq. 6.10-6.12). A static field beside it takes what does not move. Regularisers: cycles, one visible surface, paths,
optical flow, inverse depth (`losses.field`).

The rivals are variants: `local` renders from neighbours only, `t-nerf` has no paths, `static` has no time.

Source: Wang, thesis, 2022, ch. 6. Ours: planes in place of the perceptron, samples found by a coarse pass, the weights
of the small preset, motion masks from epipolar distance that hold the static field to what stands still.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.trajectory_field import preparing
from jnrsfm.methods.trajectory_field.objective import Objective
from jnrsfm.methods.trajectory_field.settings import TrajectoryFieldSettings as TrajectoryFieldSettings
from jnrsfm.methods.trajectory_field.views import View as View
from jnrsfm.models.field import init_field
from jnrsfm.scenes import DynamicScene, TrajectoryField, check_scene
from jnrsfm.training import Engine, Phase, Problem, Resident, Session, scheduled

METHOD = "trajectory-field"
JUDGED = 4096  # pixels over which the fit is judged


def look_of(scene: DynamicScene) -> tuple[np.ndarray, float]:
    """The middle of what the cameras see: half a median depth between the bounds along the axes, and that depth."""
    poses, bounds = np.asarray(scene.camera_to_world), np.asarray(scene.bounds)
    eyes, axes = poses[:, :, 3], poses[:, :, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(0)
    depth = float(np.median(2 / (1 / bounds).sum(1)))
    if np.linalg.eigvalsh(total)[0] > 1e-2 * len(poses):
        point = np.linalg.solve(total, np.einsum("fij,fj->i", across, eyes))
        found = float(np.median(((point - eyes) * axes).sum(1)))
        if bounds[:, 0].min() < found < bounds[:, 1].max():
            return point, found
    return np.median(eyes + depth * axes, axis=0), depth


def optimizer_of(settings: TrajectoryFieldSettings) -> optax.GradientTransformation:
    """Adam; planes at the learning rate, decoders at a share of it; a perceptron alone at a fortieth."""
    rate = 1.0 if settings.kind == "planes" else 1 / 40

    def labels(params):
        name = lambda path, _: (
            "planes" if any(getattr(k, "key", "") in ("planes", "coarse") for k in path) else "rest"
        )
        return jax.tree_util.tree_map_with_path(name, params)

    adam = lambda share: optax.chain(
        optax.scale_by_adam(eps=1e-12), scheduled(lambda step, steps: share * settings.rate(step, steps))
    )
    small = settings.decoder_rate if settings.kind == "planes" else rate
    groups = optax.multi_transform({"planes": adam(rate), "rest": adam(small)}, labels)
    return (
        optax.chain(optax.clip_by_global_norm(settings.clip_norm), groups) if settings.clip_norm else groups
    )


def fit(
    scene: DynamicScene, camera: str, config: TrajectoryFieldSettings, seed: int, session: Session
) -> Fitted:
    """Fit a field to the training images of a scene (`camera` is perspective): the module docstring.

    Raises InputError for a scene that no field can be made of (`jnrsfm.scenes.check_scene`)."""
    check_scene(scene)
    train = preparing.smaller(scene.part("train"), config.downscale)
    structure = preparing.field_config(train, config)
    space = preparing.space_of(train, config.space, look_of(train))
    sampling = preparing.sampling_of(space, config)
    objective = Objective(
        config, structure, space, sampling, preparing.track_of(train, structure.n_times), train.path,
        float(train.size[0]), train.background,
    )  # fmt: skip
    session.say(
        f"{METHOD}: {len(train)} images of {train.size[0]} x {train.size[1]} pixels, {space.kind} coordinates"
    )
    reach = config.flow_reach if config.paths and config.flow_weight else 1
    pixels = preparing.pixels_of(train, config.moving_share, reach, seed)
    problem = Problem(lambda key: (init_field(key, structure), {}), objective, objective.criteria)
    engine = Engine(problem, config, session, optimizer=optimizer_of(config))
    source = Resident(pixels, config.batch, JUDGED, judge=JUDGED)
    trained = engine.train(Phase(METHOD, config.steps, source), jax.random.key(seed))
    found = TrajectoryField(
        jax.tree.map(np.asarray, trained.params), structure, space, sampling._asdict(),
        np.asarray(train.camera_to_world, np.float32), np.asarray(train.intrinsics, np.float32),
        np.asarray(train.time, np.float32), np.asarray(train.bounds, np.float32), train.size, train.background,
    )  # fmt: skip
    error = trained.criteria[0]["objective"]
    moving = None if train.motion is None else float(train.motion.moving.mean())
    about: dict[str, Any] = {"train_psnr": float(-10 * np.log10(max(error, 1e-12))), "moving_pixels": moving}
    about |= {"field": dataclasses.asdict(structure), "space": space.kind}
    return Fitted(found, diagnostics=about)  # type: ignore[arg-type]


INFO = MethodInfo(
    name=METHOD,
    kind="learned",
    summary="field of a moving scene with a DCT path at every point; images with poses in, new views and paths out",
    cameras=("perspective",),
    missing=True,
    needs_order=True,
    unseen=False,
    source="Wang, thesis, 2022, ch. 6",
    cites=("wang2022thesis",),
    state="experimental",
    config=TrajectoryFieldSettings,
    fit=fit,
    takes=DynamicScene,
    gives=TrajectoryField,
)
