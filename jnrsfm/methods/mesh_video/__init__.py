r"""Moving meshes from video: a template that follows an object by handles, fitted to masks, motion and keypoints.

For every frame a weak-perspective camera and the displacements of a few handles are found by their images, all frames
of a clip at once: keypoints where there are some, masks (given, or made from the keypoints), and the optical flow
between frames, which the projected surface must follow. Without keypoints, eight cameras around the object are tried
for each frame (`stages`, `fitting`). An image network then learns what was found (`network`): it gives the mesh of a
new image at once, and where that has a mask or keypoints, the same optimisation refines it from there.

Source: Kokkinos and Kokkinos, Learning monocular 3D reconstruction of articulated categories from motion, CVPR 2021.
Departures: keypoints give the first cameras by resection from the template, which has them, in place of rigid structure
from motion; cameras are kept as paths through a clip; colours at vertices take the place of the texture network.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnrsfm.config import from_plain, to_plain
from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh import MeshSequence, TriangleMesh, handle_model, read_mesh
from jnrsfm.geometry.mesh.handles import HandleModel
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.mesh_video import network
from jnrsfm.methods.mesh_video.settings import MeshVideo as MeshVideo
from jnrsfm.methods.mesh_video.stages import optimise, sequence_of
from jnrsfm.methods.recipe import Stream
from jnrsfm.models.saved import packed, unpacked
from jnrsfm.runs import write_arrays
from jnrsfm.training import Session
from jnrsfm.types import LabelledImages


@dataclasses.dataclass(frozen=True, eq=False)
class MeshModel:
    """A template with its handles, the settings of its run, and the image network that was trained on its result (None
    without one): lifts new frames by the network, refined on the evidence that they have."""

    METHOD = "mesh-video"
    TAKES = LabelledImages

    mesh: TriangleMesh
    handles: HandleModel
    config: MeshVideo
    params: Any = None

    @property
    def camera(self) -> str:
        """The camera model."""
        return "weak-perspective"

    def lift(self, images: LabelledImages) -> MeshSequence:  # type: ignore[override]
        """Meshes of new frames. Those with a mask or keypoints are refined; others are what the network says of their
        box (`images.boxes`, that of a neighbour, or the whole image). Raises InputError where there is nothing to go by
        and no network."""
        guess = None
        if self.params is not None:
            structure = network.network_of(self.config)
            guess = lambda where: network.predict(structure, self.params, images, where)
        done = optimise(images, self.mesh, self.handles, self.config, 0, Session(), guess)
        return sequence_of(images, self.mesh, self.handles, done)

    def save(self, path: Path) -> None:
        """Write it to one npz."""
        arrays: dict[str, Any] = {f"handles_{k}": v for k, v in self.handles._asdict().items()}
        arrays |= {"vertices": self.mesh.vertices, "faces": self.mesh.faces}
        if self.mesh.keypoints is not None:
            arrays["keypoint_vertices"] = self.mesh.keypoints
        about = {"method": self.METHOD, "names": self.mesh.names, "config": to_plain(self.config)}
        about["network"] = self.params is not None
        write_arrays(path, {"about": np.array(json.dumps(about)), **arrays, **packed(self.params)})

    @classmethod
    def load(cls, path: Path) -> "MeshModel":
        """Read what `save` wrote. Raises InputError for a file that is not such a model."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["method"] != cls.METHOD:
                    raise ValueError(f"it is one of {about['method']}")
                handles = HandleModel(**{k: file[f"handles_{k}"] for k in HandleModel._fields})
                names = None if about["names"] is None else tuple(about["names"])
                points = file["keypoint_vertices"] if "keypoint_vertices" in file.files else None
                mesh = TriangleMesh(file["vertices"], file["faces"], points, names)
                config = from_plain(about["config"], MeshVideo(), str(path))
                params = None
                if about.get("network"):
                    structure = network.network_of(config)
                    params = unpacked(file, jax.eval_shape(lambda: structure.init(jax.random.key(0))[0]))
                return cls(mesh, handles, config, params)
        except Exception as error:  # a damaged file raises of every kind
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise InputError(
                f"{path}: not a model of {cls.METHOD} ({reason}): fit again, or name another run"
            ) from error


def fit(images: LabelledImages, camera: str, config: MeshVideo, seed: int, session: Session) -> Fitted:
    """Meshes of all frames. Raises InputError for a template that cannot serve, and where there is no evidence."""
    if not config.template:
        raise InputError("mesh-video: needs a template: --template horse.obj (closed, of one piece)")
    mesh = read_mesh(config.template, config.keypoints or None).normalised()
    handles = handle_model(mesh, config.handles, stiffness=config.stiffness, kind=config.laplacian)
    done = optimise(images, mesh, handles, config, seed, session)
    result = sequence_of(images, mesh, handles, done)
    if "logits" in done.params:
        logits = np.asarray(done.params["logits"], np.float32)
        handles = handles._replace(logits=logits, basis=np.asarray(result.basis, np.float32))
    about = done.diagnostics | {
        "frames_with_evidence": int(done.evidence.known.sum()),
        "keypoints_shared": len(done.evidence.keypoints),
        "mean_iou": _mean(result.iou),
        "keypoint_distance": _mean(result.score),
    }
    params = None
    if config.network_steps:
        key = jax.random.fold_in(jax.random.key(seed), Stream.SEARCH)
        where, known, basis = done.evidence.where, done.evidence.known, np.asarray(result.basis)
        params, errors = network.train(
            images, where, done.params, known, handles, basis, config, key, session
        )
        about |= errors
    model = MeshModel(mesh, handles, config, params)
    return Fitted(result, model, diagnostics=jax.tree.map(lambda x: x, about))  # type: ignore[arg-type]


def _mean(values: Any) -> float | None:
    """The mean of what is there, or None."""
    values = np.asarray(values)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else None


INFO = MethodInfo(
    name=MeshModel.METHOD,
    kind="learned",
    summary="a template mesh that follows a video by handles: masks, motion and keypoints in, a mesh a frame out",
    cameras=("weak-perspective",),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Kokkinos, Kokkinos: Articulated categories from motion, CVPR 2021",
    state="experimental",
    config=MeshVideo,
    fit=fit,
    load=MeshModel.load,
    takes=LabelledImages,
    gives=MeshSequence,
    labels=False,
    cites=("kokkinos2021articulated", "sorkine2004laplacian", "goel2020viewpoint"),
)
