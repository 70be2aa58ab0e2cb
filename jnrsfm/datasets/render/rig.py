"""One scene seen by a rig of still cameras and by one camera that moves along them: for fields over space and time."""

import dataclasses

import numpy as np

from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.datasets.render.drawing import PARALLEL, _draw, clips, layout_of
from jnrsfm.datasets.render.scene import Clip
from jnrsfm.datasets.render.truth import RenderedImages, record
from jnrsfm.datasets.views import look
from jnrsfm.errors import InputError
from jnrsfm.pixels import ArrayPixels
from jnrsfm.scenes import DynamicScene, Motion2D


@dataclasses.dataclass(frozen=True, eq=False)
class RenderedRig:
    """`path`: the images of the moving camera, with optical flow if asked for; `rig`: those of the still ones, a clip
    each; `where (frame,)`: at which still camera the moving one is in each frame; `size`: the figure's, in metres."""

    path: RenderedImages
    rig: RenderedImages
    where: np.ndarray
    size: float

    @property
    def cameras(self) -> int:
        """Number of still cameras."""
        return len(self.rig.images) // len(self.path.images)

    def scene(self, motion: bool = False) -> DynamicScene:
        """What a method may see: the images of the moving camera with its poses and times; with `motion` the exact
        optical flow and mask of the figure too, which are two-dimensional."""
        p = self.path
        if not motion:
            return scene_of(p)
        if (
            p.flow_forward is None
            or p.flow_backward is None
            or p.hidden_forward is None
            or p.hidden_backward is None
        ):
            raise InputError("the scene was rendered without flow: say flow=True")
        known = Motion2D(p.flow_forward, p.flow_backward, ~p.hidden_forward, ~p.hidden_backward, p.mask)
        return dataclasses.replace(scene_of(p), motion=known)

    def held_out(self) -> DynamicScene:
        """The images of all still cameras but the one where the moving camera is, frame by frame."""
        n, frames = len(self.path.images), np.arange(len(self.rig.images))
        return scene_of(self.rig).select(np.flatnonzero(frames // n != self.where[frames % n]))

    def held_out_masks(self) -> np.ndarray:
        """`(frame, h, w)`: where the figure is in the images of `held_out`."""
        n, frames = len(self.path.images), np.arange(len(self.rig.images))
        return self.rig.mask[frames // n != self.where[frames % n]]


def poses_of(images: RenderedImages) -> np.ndarray:
    """`(frame, 3, 4)` camera to world, float64."""
    r = np.asarray(images.cameras.rotations, np.float64)
    t = np.asarray(images.cameras.translations, np.float64)
    return np.concatenate([r.mT, -(r.mT @ t[..., None])], -1)


def scene_of(images: RenderedImages) -> DynamicScene:
    """Images with poses, times from 0 to 1 in each clip, and bounds a tenth beyond the depths that are seen."""
    n = images.config.clip
    time = np.arange(len(images.images)) % n / max(n - 1, 1)
    near, far = images.depth.min() * 0.9, np.quantile(images.depth, 0.99) * 1.1
    return DynamicScene(
        ArrayPixels(images.images), poses_of(images), np.asarray(images.intrinsics, np.float64), time,
        np.tile([float(near), float(far)], (len(time), 1)), facing=True,
    )  # fmt: skip


def _seen_from(clip: Clip, turn: np.ndarray, aim: np.ndarray) -> Clip:
    """The clip from other cameras: `turn (frame, 3, 3)` rotations about `aim` in the world, then the first camera; the
    lamp stands still."""
    first, shift = clip.rotations[0], clip.translations[0]
    rotations = first @ turn
    translations = shift + first @ aim - rotations @ aim
    relit = rotations @ clip.rotations.mT
    light = {
        k: np.einsum("fij,fj->fi", relit, v) if k in ("direction", "up") else v for k, v in clip.light.items()
    }
    return dataclasses.replace(clip, rotations=rotations, translations=translations, light=light)


def render_rig(
    config: RenderedFigures, cameras: int = 12, degrees: float = 40.0, height: float = 8.0
) -> RenderedRig:
    """One clip of `config` (`images == clip`, one figure), from `cameras` on an arc of `degrees` around the figure, up
    and down by `height` degrees; and from one that goes along the arc and back, a step a frame.

    Raises InputError for several clips or fewer than 2 cameras."""
    if config.images != config.clip or config.clip < 2:
        raise InputError(
            f"images={config.images} in clips of {config.clip}: a rig films one clip of 2 or more frames"
        )
    if cameras < 2:
        raise InputError(f"cameras={cameras}: give at least 2")
    ((which, clip),) = clips(dataclasses.replace(config, path="fixed"))
    n = config.clip
    world = np.einsum("fij,fpj->fpi", clip.subject[0], clip.motion.points) + clip.subject[1][:, None]
    aim = world.mean((0, 1))
    angle = np.radians(np.linspace(-degrees / 2, degrees / 2, cameras))
    lift = np.radians(height / 2) * np.cos(2 * np.pi * np.arange(cameras) / min(cameras, 4))
    around = look(angle, 0 * angle, 0 * angle)
    first = clip.rotations[0]
    over = first.T @ look(0 * lift, lift, 0 * lift) @ first @ around
    sweep = np.concatenate([np.arange(cameras), np.arange(cameras)[::-1]])
    where = sweep[np.arange(n) % len(sweep)]
    path = _seen_from(clip, over[where], aim)
    rig = [_seen_from(clip, np.repeat(over[c : c + 1], n, 0), aim) for c in range(cameras)]
    many = dataclasses.replace(config, images=n * cameras, flow=False)
    return RenderedRig(
        _recorded(config, [(which, path)]),
        _recorded(many, [(which, c) for c in rig]),
        where,
        float(clip.scale),
    )


def _recorded(config: RenderedFigures, found: list[tuple[int, Clip]]) -> RenderedImages:
    layout = layout_of(config)
    waiting = [(clip, f) for _, clip in found for f in range(config.clip)]
    rows = [_draw(waiting[i : i + PARALLEL], config, layout) for i in range(0, len(waiting), PARALLEL)]
    return record(config, found, {name: np.concatenate([r[name] for r in rows]) for name in rows[0]})
