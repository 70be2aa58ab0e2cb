"""Skeletons: a tree of joints with limits, and forward kinematics.

Anatomical frame of a joint: x forward, y to the left, z up. A joint turns by
`Ry(flex) @ Rx(abd) @ Rz(twist)`, angles in degrees. Signs are chosen so that the same number means the same
movement left and right: `abd` away from the body, `twist` outward, and `flex` in the direction that
the joint's `bend` states (+1 lifts what hangs below the joint backwards, -1 forwards).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jnrsfm.datasets.motion import Motion

# Anatomical (forward, left, up) to object frame (right, down, forward), facing the camera.
_TO_OBJECT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])

DOFS = ("flex", "abd", "twist")

Number = float | int  # a checker at run time takes no int for a float


@dataclasses.dataclass(frozen=True)
class Joint:
    """A joint: `offset` from its parent in the parent's frame, and limits in degrees.

    `limits` maps `flex`, `abd`, `twist` to (low, high); a degree of freedom that is not there is locked.
    """

    name: str
    parent: str | None
    offset: tuple[Number, Number, Number]
    limits: Mapping[str, tuple[Number, Number]] = dataclasses.field(default_factory=dict)
    bend: int = 1

    @property
    def side(self) -> int:
        """-1 on the right, where abduction and outward twist turn the other way."""
        return -1 if self.name.startswith("right_") else 1


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """A tree of joints, parents before children; its points are the joints, in order.

    `edges` by name; `groups` are the parts that are hidden together.
    """

    joints: tuple[Joint, ...]
    edges: tuple[tuple[str, str], ...]
    groups: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the points."""
        return tuple(j.name for j in self.joints)

    def index(self, name: str) -> int:
        """Index of the point `name`."""
        return self.names.index(name)

    def varied(self, spread: float, rng: np.random.Generator) -> "Skeleton":
        """The skeleton with other bone lengths: `spread` is the standard deviation of their logarithm.

        Left and right stay alike. With 0 nothing is drawn from `rng`.
        """
        if not spread:
            return self
        joints, factors = [], {}
        for joint in self.joints:
            bone = joint.name.removeprefix("left_").removeprefix("right_")
            if bone not in factors:
                factors[bone] = float(np.exp(spread * rng.normal()))
        for joint in self.joints:
            x, y, z = joint.offset
            offset = (x * factors[bone], y * factors[bone], z * factors[bone])
            joints.append(dataclasses.replace(joint, offset=offset))
        return dataclasses.replace(self, joints=tuple(joints))

    def clamp(self, angles: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`angles["joint.dof"] (frame,)` in degrees, within the joint limits; unknown names are an error."""
        limits = {f"{j.name}.{d}": j.limits[d] for j in self.joints for d in j.limits}
        unknown = set(angles) - set(limits)
        if unknown:
            raise KeyError(f"no such degree of freedom: {sorted(unknown)}")
        return {name: np.clip(value, *limits[name]) for name, value in angles.items()}

    def pose(self, angles: Mapping[str, np.ndarray], n_frames: int) -> np.ndarray:
        """Forward kinematics: `(frame, point, 3)` in the anatomical frame, the root joint at the origin.

        `x_child = x_parent + R_parent @ offset`, `R_child = R_parent @ Ry(flex) @ Rx(abd) @ Rz(twist)`.
        `angles` as in `clamp`, which is applied here; what is not named is 0.
        """
        angles = self.clamp(angles)
        zero = np.zeros(n_frames)
        turned: dict[str, np.ndarray] = {}
        placed: dict[str, np.ndarray] = {}
        for joint in self.joints:
            flex, abd, twist = (np.radians(angles.get(f"{joint.name}.{d}", zero)) for d in DOFS)
            local = _about(1, joint.bend * flex) @ _about(0, joint.side * abd) @ _about(2, joint.side * twist)
            if joint.parent is None:
                placed[joint.name], turned[joint.name] = np.zeros((n_frames, 3)), local
            else:
                frame = turned[joint.parent]
                placed[joint.name] = placed[joint.parent] + frame @ np.array(joint.offset)
                turned[joint.name] = frame @ local
        return np.stack([placed[j.name] for j in self.joints], 1)

    def motion(self, points, heading, sequence) -> Motion:
        """The record of `points (frame, point, 3)`, given in the anatomical frame."""
        pairs = [(n, "right_" + n[5:]) for n in self.names if n.startswith("left_")]
        return Motion(
            points=points @ _TO_OBJECT.T,
            heading=heading,
            sequence=sequence,
            names=self.names,
            edges=np.array([[self.index(a), self.index(b)] for a, b in self.edges], np.int32),
            symmetric=np.array([[self.index(a), self.index(b)] for a, b in pairs], np.int32)
            if pairs
            else None,
            groups={g: tuple(self.index(n) for n in names) for g, names in self.groups.items()},
        )


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """`(frame, 3, 3)` right-handed rotations about a coordinate axis by `angle (frame,)` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.zeros((*angle.shape, 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1
    out[..., i, i] = out[..., j, j] = cos
    out[..., i, j], out[..., j, i] = -sin, sin
    return out


def stand(points, feet, clearance, sharpness: float = 40.0):
    """Put `points (frame, point, 3)` (z up) on the ground by their lowest foot, with a smooth minimum.

    `feet` are point indices, each `clearance` above the ground when it stands. The smooth minimum passes the
    weight from foot to foot without the kink that a hard one leaves; `sharpness` is in reciprocal
    length units.
    """
    low = points[:, feet, 2] - np.asarray(clearance)
    floor = low.min(1, keepdims=True)
    weights = np.exp(-sharpness * (low - floor))
    height = (weights * low).sum(1) / weights.sum(1)
    out = points.copy()
    out[..., 2] -= height[:, None]
    return out
