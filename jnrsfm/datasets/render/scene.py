"""One clip on the host: subject, room, things in the way, lamp and camera path, drawn from a seed of its own.

World frame: x right, y down, z forward, as the object frame; the ground is a plane y = const.
"""

import dataclasses
from typing import Any

import numpy as np

from jnrsfm.datasets.motion import Motion, drift
from jnrsfm.datasets.render import colours
from jnrsfm.datasets.render.anatomy import Body, Figure, Material, basis, unit
from jnrsfm.datasets.render.appearance import WIDTHS
from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.datasets.views import look, object_size

BODY_CONES, BODY_BOXES = 56, 8
CONES, BOXES, PLANES = 8, 8, 3  # of the surroundings


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """All of one clip: shapes in the world (`linear (frame, shape, 3, 3)`, `origin (frame, shape, 3)`),
    their looks, the cameras (`rotations`, `translations` world to camera, `camera (3,)`: focal length and
    principal point), the light.

    Shapes: the body's cones, those around it, boxes, planes, dome. `label (shape,)`: 0 for surroundings,
    else one more than the index of the body's label. `subject`: world from object frame, (R, t). `baseline`
    in metres; `convergence`: over the depth in metres at which disparity is 0 (0: parallel cameras)."""

    linear: Any
    origin: Any
    size: Any
    live: Any
    looks: Any
    label: Any
    label_names: tuple[str, ...]
    rotations: Any
    translations: Any
    camera: Any
    light: dict
    subject: tuple
    motion: Motion
    body: Body
    baseline: float
    convergence: float
    scale: float


def _camera(config: RenderedFigures, figure: Figure, aim, scale: float, ground: float, rng):
    """Rotations, translations, and (focal, cx, cy) of the camera that looks at `aim (frame, 3)`."""
    n = len(aim)
    time = np.arange(n) / config.fps
    width, height = config.shape
    side = min(width, height)
    low, high = np.radians(config.elevation or figure.elevation)
    azimuth = rng.uniform(0, 2 * np.pi) * np.ones(n)
    elevation = rng.uniform(low, high) * np.ones(n)
    roll = np.radians(config.roll) * rng.normal() * np.ones(n)
    distance = np.exp(rng.uniform(*np.log(config.distance))) * np.ones(n)
    fill = rng.uniform(*config.fill)
    shift = config.off_centre * side * np.clip(rng.normal(size=(2, 1)), -2.5, 2.5) * np.ones((2, n))
    focal = fill * side * distance[0]
    sense, walk = rng.choice([-1.0, 1.0]), [drift(rng, time) for _ in range(6)]
    if n > 1 and config.path != "fixed":
        step = np.radians(config.degrees_per_frame) * sense
        if config.path == "orbit":
            azimuth = azimuth + step * np.arange(n)
        else:
            azimuth = azimuth + np.cumsum(step * (0.6 + 0.6 * walk[0]))
        sway = np.radians(4) * (walk[1] - walk[1][0])
        elevation = np.clip(elevation + sway, low, high)
        roll = roll + np.radians(0.4 * config.roll) * (walk[2] - walk[2][0])
        distance = distance * (1 + 0.05 * np.clip(walk[3] - walk[3][0], -2, 2))
        shift = shift + 0.25 * config.off_centre * side * np.stack([walk[4], walk[5]])
    if figure.standing:
        # The camera stays above the ground by a twelfth of the figure.
        least = (aim[:, 1] - ground) / scale + 0.08
        elevation = np.maximum(elevation, np.arcsin(np.clip(least / distance, -1, 1)))
    rotations = look(azimuth, elevation, roll)
    depth = distance * scale
    offset = np.stack([shift[0] / focal * depth, shift[1] / focal * depth, depth], 1)
    translations = offset - np.einsum("fij,fj->fi", rotations, aim)
    return rotations, translations, np.array([focal, (width - 1) / 2, (height - 1) / 2])


class _Set:
    """Shapes of the surroundings, collected."""

    def __init__(self):
        self.cones, self.boxes, self.planes = [], [], []

    def cone(self, start, end, radii, material):
        d = end - start
        z = unit(d)

        self.cones.append((basis(z), start, (np.linalg.norm(d), *radii), material))

    def box(self, linear, centre, material):
        self.boxes.append((linear, centre, (0, 0, 0), material))

    def plane(self, normal, point, material):
        z = unit(np.asarray(normal, float))
        self.planes.append((basis(z), point, (0, 0, 0), material))


def _turned(rng, upright: bool):
    """A random rotation, about the vertical alone where `upright`."""
    a = np.array([rng.uniform(0, 2 * np.pi)])
    if upright:
        return look(a, 0 * a, 0 * a)[0]
    return look(a, rng.uniform(-1.5, 1.5, 1), rng.uniform(-1.5, 1.5, 1))[0]


def _surroundings(config: RenderedFigures, standing: bool, ground: float, middle, scale, eyes, target, rng):
    """Floor, walls, things and occluders around a figure of size `scale` at `middle`; cameras at `eyes
    (frame, 3)`."""
    out = _Set()
    material = lambda f: colours.surface(rng, f / scale)
    towards = unit((eyes.mean(0) - middle) * [1, 0, 1])
    floor = standing or rng.uniform() < 0.5
    level = ground if standing else max(middle[1], eyes[:, 1].max()) + scale * rng.uniform(0.6, 1.5)
    if floor:
        out.plane((0, -1, 0), np.array([middle[0], level, middle[2]]), material(1.6))
    if rng.uniform() < config.rooms:
        turn = rng.uniform(-0.9, 0.9)
        for side in (turn, turn + np.pi / 2 * (1 if turn < 0 else -1)):
            normal = np.array(
                [
                    towards[0] * np.cos(side) - towards[2] * np.sin(side),
                    0,
                    towards[0] * np.sin(side) + towards[2] * np.cos(side),
                ]
            )
            point = middle - normal * scale * rng.uniform(0.9, 3.0)
            if ((eyes - point) @ normal).min() > 0.3 * scale:
                out.plane(normal, point, material(1.2))
    for _ in range(min(int(rng.poisson(config.clutter)), 6)):
        angle, far = rng.uniform(0.7, 2 * np.pi - 0.7), scale * rng.uniform(0.9, 3.2)
        way = np.array(
            [
                towards[0] * np.cos(angle) - towards[2] * np.sin(angle),
                0,
                towards[0] * np.sin(angle) + towards[2] * np.cos(angle),
            ]
        )
        place = middle + way * far
        place[1] = level if floor else middle[1] + scale * rng.uniform(-1, 1)
        if np.linalg.norm(eyes - place, axis=1).min() < 0.9 * scale:
            continue
        kind, big = rng.integers(3), scale * rng.uniform(0.12, 0.45)
        up = np.array([0, -1.0, 0])
        if kind == 0:
            half = big * rng.uniform(0.4, 1.0, 3)
            out.box(_turned(rng, floor) * half, place + up * half[1] * floor, material(2.5))
        elif kind == 1:
            out.cone(place + up * big, place + up * big * 1.001, (big, big), material(2.5))
        else:
            tall = scale * rng.uniform(0.3, 1.6)
            thin = big * rng.uniform(0.2, 0.8)
            out.cone(place, place + up * tall, (thin, thin * rng.uniform(0.4, 1.1)), material(2.5))
    if rng.uniform() < config.occluders:
        for _ in range(1 + (rng.uniform() < 0.3)):
            share = rng.uniform(0.35, 0.65)
            eye = eyes[len(eyes) // 2]
            point = target[rng.integers(len(target))] + 0.08 * scale * rng.normal(size=3)
            place = eye + share * (point - eye)
            big = share * scale * rng.uniform(0.05, 0.14)
            kind = rng.integers(3)
            if kind == 0:
                out.box(_turned(rng, False) * big * rng.uniform(0.5, 1.5, 3), place, material(6))
            elif kind == 1:
                out.cone(place, place + np.array([0, -1e-3 * big, 0]), (big, big), material(6))
            else:
                tip = rng.normal(size=3) * [0.35, 1, 0.35]
                tip = unit(tip) * scale * rng.uniform(0.3)
                out.cone(place - tip, place + tip, (0.5 * big, 0.5 * big), material(6))
    return out


def _look(material: Material) -> np.ndarray:
    """The numbers of `appearance.Looks` of one material, short of the texture map."""
    if material.mark_radius is None:  # its ellipsoid is put where no point lies
        at, size = np.full(3, 1e6), np.full(3, 1e-5)
    else:
        at, size = np.array(material.mark_at, float), 1 / np.array(material.mark_radius, float)
    m = material
    return np.array(
        [*m.base, *m.second, *m.mark, *m.weights, *m.frequency, *m.along, *at, *size, m.gloss, m.seed], float
    )


def _row(material: Material, linear) -> np.ndarray:
    """The same with a texture map without origin."""
    return np.concatenate([_look(material), np.concatenate([linear, np.zeros((3, 1))], 1).ravel()])


def _light(config: RenderedFigures, rotations, rng) -> dict:
    """Fields of `appearance.Light`, each with a frame axis."""
    n = len(rotations)
    if not config.lighting:
        one, none = np.ones((n, 3)), np.zeros((n, 3))
        up = np.tile([0.0, -1.0, 0.0], (n, 1))
        rng.uniform(size=8)
        return {
            "direction": up,
            "up": up,
            "lamp": none,
            "sky": one,
            "ground": one,
            "grain": np.zeros(n),
            "seed": np.zeros(n, np.uint32),
        }
    height = np.radians(rng.uniform(20, 75))
    # Mostly from behind the camera.
    aside = rng.normal(0, 0.9) + (np.pi if rng.uniform() < 0.12 else 0.0)
    lamp = np.array([np.sin(aside) * np.cos(height), -np.sin(height), -np.cos(aside) * np.cos(height)])
    yaw = rotations[0].T @ np.array([0, 0, 1.0])
    yaw = np.arctan2(yaw[0], yaw[2])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    lamp = turn @ lamp
    warm = np.clip(np.array([1.0, 0.96, 0.9]) + rng.normal(0, 0.04) * np.array([1, 0, -1.5]), 0, 1.2)
    strong, fill = rng.uniform(0.5, 0.95), rng.uniform(0.45, 0.75)
    sky = fill * (1 + rng.normal(0, 0.05, 3))
    return {
        "direction": rotations @ lamp,
        "up": rotations @ np.array([0, -1.0, 0]),
        "lamp": np.tile(strong * warm, (n, 1)),
        "sky": np.tile(sky, (n, 1)),
        "ground": np.tile(sky * rng.uniform(0.45, 0.85), (n, 1)),
        "grain": np.full(n, rng.uniform(0, 0.02)),
        "seed": rng.integers(0, 2**32, n, dtype=np.uint32),
    }


def _travel(figure: Figure, motion: Motion, turn) -> np.ndarray:
    """The path `(frame, 3)` on the ground that keeps the feet from sliding, from 0.

    A foot near the ground stands still: the figure moves by minus the mean step of its feet, weighed by how low
    each is, `exp(-height / (0.01 size))`.
    """
    feet = [motion.names.index(name) for name in figure.feet]
    world = np.einsum("fij,fpj->fpi", turn, motion.points[:, feet])
    height = -(world[..., 1] - world[..., 1].max(1, keepdims=True))
    weight = np.exp(-height / (0.01 * object_size(motion.points)))
    weight = weight[:-1] + weight[1:]
    step = np.diff(world, axis=0)
    mean = (weight[..., None] * step).sum(1) / weight.sum(1)[:, None]
    mean[:, 1] = 0
    return np.concatenate([np.zeros((1, 3)), -np.cumsum(mean, 0)])


def make_clip(config: RenderedFigures, figure: Figure, motion: Motion, body: Body, looks, rng) -> Clip:
    """The clip of a body: its surroundings, cameras and light."""
    n = len(motion.points)
    scale = object_size(motion.points, motion.defined)
    turn = look(motion.heading, 0 * motion.heading, 0 * motion.heading)
    path = _travel(figure, motion, turn) if config.travel and figure.feet else np.zeros((n, 3))
    path = path - (path[0] + path[-1]) / 2
    known = np.ones(motion.points.shape[:2], bool) if motion.defined is None else motion.defined
    turned = np.einsum("fij,fpj->fpi", turn, motion.points)
    world = turned + path[:, None]
    middle = np.stack([x[k].mean(0) for x, k in zip(turned, known, strict=True)])
    # The camera follows evenly, not step by step.
    aim = middle.mean(0) + np.linspace(path[0], path[-1], n)
    ground = figure.ground
    for_camera, for_scene, for_light = rng.spawn(3)
    rotations, translations, camera = _camera(config, figure, aim, scale, ground, for_camera)
    eyes = -np.einsum("fji,fj->fi", rotations, translations)
    target = world[n // 2][known[n // 2]]
    around = _surroundings(config, figure.standing, ground, aim.mean(0), scale, eyes, target, for_scene)
    light = _light(config, rotations, for_light)

    total = BODY_CONES + CONES + BODY_BOXES + BOXES + PLANES + 1
    linear, origin = np.tile(np.eye(3), (n, total, 1, 1)), np.zeros((n, total, 3))
    size, live, label = np.zeros((total, 3)), np.zeros(total, bool), np.zeros(total, np.int32)
    rows = np.zeros((total, sum(WIDTHS)))
    # A body's cones, then those around it; its boxes, then those around it.
    box = np.array(body.box)
    slot = np.where(box, BODY_CONES + CONES + np.cumsum(box) - 1, np.cumsum(~box) - 1)
    if (~box).sum() > BODY_CONES or box.sum() > BODY_BOXES:
        raise ValueError(
            f"a body of {(~box).sum()} cones and {box.sum()} boxes: raise BODY_CONES or BODY_BOXES"
        )
    linear[:, slot] = turn[:, None] @ body.linear
    origin[:, slot] = np.einsum("fij,fkj->fki", turn, body.origin) + path[:, None]
    size[slot], live[slot] = body.size, True
    label[slot] = [1 + figure.labels.index(x) for x in body.labels]
    known_looks = {name: _look(material) for name, material in looks.items()}
    rows[slot] = np.concatenate(
        [np.stack([known_looks[m] for m in body.materials]), body.texture.reshape(len(slot), 12)], 1
    )
    start = BODY_CONES + CONES + BODY_BOXES
    for first, found, room in (
        (BODY_CONES, around.cones, CONES),
        (start, around.boxes, BOXES),
        (start + BOXES, around.planes, PLANES),
    ):
        for i, (m, o, s, material) in enumerate(found[:room], first):
            linear[:, i], origin[:, i], size[i], live[i] = m, o, s, True
            rows[i] = _row(material, m)
    radius = 14 * scale
    linear[:, -1], origin[:, -1], live[-1] = radius * np.eye(3), aim.mean(0), True
    dome = colours.surface(for_scene, 0.15 / scale)
    dome = colours.marked(dome, colours.pale(for_scene), (0, -radius, 0), (1.1 * radius,) * 3)
    rows[-1] = _row(dome, linear[0, -1])
    baseline = scale * float(for_camera.uniform(*config.baseline))
    converge = 0.0
    if config.convergence is not None:
        away = float(np.linalg.norm(eyes - aim, axis=1).mean())
        converge = 1 / (away * float(for_camera.uniform(*config.convergence)))
    return Clip(
        linear=linear,
        origin=origin,
        size=size,
        live=live,
        looks=rows,
        label=label,
        label_names=figure.labels,
        rotations=rotations,
        translations=translations,
        camera=camera,
        light=light,
        subject=(turn, path),
        motion=motion,
        body=body,
        baseline=baseline,
        convergence=converge,
        scale=scale,
    )
