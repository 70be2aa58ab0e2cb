"""From moving points to moving bodies: frames at the joints, and the shapes that ride on them.

A frame has axes forward, left, up (columns of its rotation) in the object frame, found from the points of
every frame of a clip. A body is a list of `Part`: rounded cones in the coordinates of a frame, so that each
moves rigidly with its bones; all that is random about a body (girth, clothes, ears) is drawn once for a
subject."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jnrsfm.datasets.articulated import Skeleton
from jnrsfm.datasets.motion import Motion

Triple = tuple[float | int, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """A rounded cone from `start` to `end` with two radii, in a frame's coordinates (forward, left, up),
    metres.

    `squeeze` stretches the radii along the three axes of the frame, about the line. `label` names it in
    part masks, `material` in the looks of the body. With `box` it is a box about `start` instead, `squeeze`
    its half lengths."""

    label: str
    frame: str
    start: Triple
    end: Triple
    radii: Triple
    material: str
    squeeze: Triple = (1, 1, 1)
    box: bool = False


def block(label: str, frame: str, at: Triple, half: Triple, material: str) -> Part:
    """A box with edges along the axes of its frame; `half` its lengths."""
    return Part(label, frame, at, at, (0, 0), material, half, box=True)


def ball(label: str, frame: str, at: Triple, radii: Triple, material: str) -> Part:
    """An ellipsoid with axes along those of its frame."""
    return Part(label, frame, at, at, (1, 1), material, radii)


def unit(x):
    """`x (..., 3)` divided by its length."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def basis(z):
    """A rotation whose third column is the unit vector `z (3,)`; which of them is fixed, and no more."""
    x, y, w = (float(c) for c in z)
    # Of the axes the one that is farthest from z, made perpendicular to it.
    k = min(range(3), key=lambda i: abs((x, y, w)[i]))
    a = [-x * z[k], -y * z[k], -w * z[k]]
    a[k] += 1
    size = (a[0] ** 2 + a[1] ** 2 + a[2] ** 2) ** 0.5
    a = [c / size for c in a]
    b = (y * a[2] - w * a[1], w * a[0] - x * a[2], x * a[1] - y * a[0])
    return np.array([[a[0], b[0], x], [a[1], b[1], y], [a[2], b[2], w]])


def axes(*, up=None, left=None, forward=None, keep: str):
    """Rotations `(frame, 3, 3)` with columns forward, left, up, from two of them; `keep` is exact, the
    other made perpendicular to it."""
    given = {"up": up, "left": left, "forward": forward}
    names = ("forward", "left", "up")
    (other,) = (n for n in names if given[n] is not None and n != keep)
    a = unit(given[keep])
    b = given[other]
    b = unit(b - a * (a * b).sum(-1, keepdims=True))
    found = {keep: a, other: b}
    (last,) = (n for n in names if n not in found)
    i = names.index(last)
    # forward x left = up, and so round.
    found[last] = np.cross(found[names[(i + 1) % 3]], found[names[(i + 2) % 3]])
    return np.stack([found[n] for n in names], -1)


def carried(rotation, rest, direction):
    """`rotation (frame, 3, 3)` turned by the least that takes its vector `rest (3,)` to `direction (frame, 3)`.

    With a = R rest and b the direction, unit: G = I + [a x b] + [a x b]^2 / (1 + a b). Not defined for b = -a.
    """
    a, b = rotation @ unit(np.asarray(rest, float)), unit(direction)
    v, c = np.cross(a, b), (a * b).sum(-1)
    k = np.zeros((*c.shape, 3, 3))
    k[..., 0, 1], k[..., 0, 2], k[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    k -= np.swapaxes(k, -1, -2)
    turn = np.eye(3) + k + k @ k / np.maximum(1 + c, 1e-6)[..., None, None]
    return turn @ rotation


class Frames:
    """The points of a clip by name, the frames found so far, and mean bone lengths."""

    def __init__(self, points, names: Sequence[str]):
        self.points = np.asarray(points, float)
        self.index = {name: i for i, name in enumerate(names)}
        self.placed: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, name: str):
        """Where the point `name` is, `(frame, 3)`."""
        return self.points[:, self.index[name]]

    def length(self, a: str, b: str) -> float:
        """Mean distance of two points."""
        return float(np.linalg.norm(self.at(a) - self.at(b), axis=-1).mean())

    def add(self, name: str, origin, rotation) -> None:
        """A frame with its origin at the point `origin`."""
        self.placed[name] = (self.at(origin), rotation)

    def bone(self, name: str, a: str, b: str, parent: str, rest: Triple) -> float:
        """A frame at `a` that turns with the bone to `b`, whose direction at rest in the parent frame is
        `rest`.

        Gives the bone's length.
        """
        self.add(name, a, carried(self.placed[parent][1], rest, self.at(b) - self.at(a)))
        return self.length(a, b)


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """A subject in motion: `linear (frame, part, 3, 3)` and `origin (frame, part, 3)` map a part's local
    coordinates to the object frame; `size (part, 3)` length and radii; `texture (part, 3, 4)` to the rest
    pose. Labels and materials by part. `radius (point,)`: how deep each landmark lies under the surface."""

    linear: np.ndarray
    origin: np.ndarray
    size: np.ndarray
    texture: np.ndarray
    labels: tuple[str, ...]
    materials: tuple[str, ...]
    box: tuple[bool, ...]
    radius: np.ndarray


def posed(skeleton: Skeleton, points, angles: Mapping[str, float | int]) -> np.ndarray:
    """A pose `(1, point, 3)` in the object frame of a skeleton whose bones are as long as in `points
    (frame, point, 3)`; `angles` in degrees, those not named 0."""
    index = {n: i for i, n in enumerate(skeleton.names)}
    joints = []
    for joint in skeleton.joints:
        if joint.parent is not None:
            offset = np.array(joint.offset, float)
            bone = np.linalg.norm(
                points[:, index[joint.name]] - points[:, index[joint.parent]], axis=-1
            ).mean()
            x, y, z = (float(c) for c in offset * (bone / max(np.linalg.norm(offset), 1e-9)))
            joint = dataclasses.replace(joint, offset=(x, y, z))
        joints.append(joint)
    sized = dataclasses.replace(skeleton, joints=tuple(joints))
    pose = sized.pose({name: np.full(1, float(a)) for name, a in angles.items()}, 1)
    return np.asarray(sized.motion(pose, np.zeros(1), np.zeros(1, np.int32)).points)


def rest_of(skeleton: Skeleton, points) -> np.ndarray:
    """The rest pose of `posed`."""
    return posed(skeleton, points, {})


def _along(start, end):
    """A rotation whose third column runs from `start` to `end`, and the distance."""
    d = end - start
    length = np.linalg.norm(d)
    if length < 1e-9:
        return np.eye(3), 0.0
    return basis(d / length), float(length)


def assemble(parts: Sequence[Part], frames: Frames) -> Body:
    """The body of `parts` on `frames`, whose first frame is the rest pose and is left out of the result."""
    linear, origin, size = [], [], []
    for part in parts:
        squeeze = np.array(part.squeeze, float)
        at, rotation = frames.placed[part.frame]
        turn, length, (a, b), first = np.eye(3), 0.0, part.radii, part.start
        if not part.box:
            turn, length = _along(np.array(part.start) / squeeze, np.array(part.end) / squeeze)
            if length <= abs(a - b):  # one ball holds the other
                first, a, b, length = (part.end if b > a else part.start), max(a, b), max(a, b), 0.0
        linear.append(rotation @ (squeeze[:, None] * turn))
        origin.append(at + rotation @ np.array(first, float))
        size.append((length, a, b))
    world = np.stack(linear, 1), np.stack(origin, 1)
    texture = np.concatenate([world[0][0], world[1][0][..., None]], -1)
    sizes = np.array(size)
    return Body(
        linear=world[0][1:],
        origin=world[1][1:],
        size=sizes,
        texture=texture,
        labels=tuple(p.label for p in parts),
        materials=tuple(p.material for p in parts),
        box=tuple(p.box for p in parts),
        radius=_radius(frames.points[0], world[0][0], world[1][0], sizes, np.array([p.box for p in parts])),
    )


def _radius(points, linear, origin, size, box):
    """How deep each of `points (point, 3)` lies in the deepest of the shapes that hold it; 0 outside all of
    them."""
    q = np.einsum("kij,kpj->kpi", np.linalg.inv(linear), points[None] - origin[:, None])
    length, a, b = (size[:, i, None] for i in range(3))
    s = np.clip((length * q[..., 2] - a * (a - b)) / np.maximum(length**2 - (a - b) ** 2, 1e-12), 0, 1)
    gap = a - s * (a - b) - np.linalg.norm(q - np.stack([0 * s, 0 * s, s * length], -1), axis=-1)
    stretch = np.linalg.norm(linear, axis=1)
    in_cone = gap * stretch.max(-1)[:, None]
    in_box = ((1 - np.abs(q)) * stretch[:, None]).min(-1)
    return np.maximum(np.where(box[:, None], in_box, in_cone), 0).max(0)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A kind of figure that can be drawn.

    `motion(frames, fps, turning, rng)` gives one clip of one subject; `body(motion, rng)` its body and a
    function that draws the looks of its materials. `standing`: it has the ground at y = `ground` below it;
    otherwise it floats before a background. `labels`: all that a part
    may have; `feet`: the points that carry it. `apart`: angles of its `skeleton`
    at which no limb touches another, for a mesh; rigid figures have no skeleton."""

    motion: Callable[[int, float, float, np.random.Generator], Motion]
    body: Callable[[Motion, np.random.Generator], tuple[Body, "Dress"]]
    standing: bool
    ground: float
    elevation: tuple[float, float]
    labels: tuple[str, ...]
    feet: tuple[str, ...] = ()
    skeleton: Skeleton | None = None
    apart: Mapping[str, float | int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Material:
    """How a part looks; see `appearance.Looks`. Frequencies are in cycles per metre of the rest pose."""

    base: Triple
    second: Triple = (0, 0, 0)
    weights: Triple = (0, 0, 0, 0)
    frequency: Triple = (1, 1, 1)
    along: Triple = (0, 1, 0)
    gloss: float | int = 0.1
    mark: Triple = (0, 0, 0)
    mark_at: Triple = (0, 0, 0)
    mark_radius: Triple | None = None
    seed: float | int = 0.0


Dress = Callable[[np.random.Generator], Mapping[str, Material]]
