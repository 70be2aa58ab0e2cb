"""`field.npz`: a `TrajectoryField`, arrays by their place in the tree, and one JSON string; nothing is unpickled."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.scene_space import SceneSpace
from jnrsfm.runs import write_arrays
from jnrsfm.scenes import FieldConfig, FieldShow, TrajectoryField

_CAMERAS = ("camera_to_world", "intrinsics", "times", "bounds")


def write_field(path: Any, found: TrajectoryField) -> None:
    """Write it whole or not at all. Raises InputError for values that are not finite."""
    leaves = jax.tree_util.tree_flatten_with_path(found.params)[0]
    arrays = {f"params{jax.tree_util.keystr(where)}": np.asarray(leaf) for where, leaf in leaves}
    bad = [name for name, a in arrays.items() if not np.isfinite(a).all()]
    if bad:
        raise InputError(f"{path}: not written: {bad[0]} is not finite")
    about = {
        "config": dataclasses.asdict(found.config), "space": dataclasses.asdict(found.space),
        "sampling": found.sampling, "size": list(found.size), "background": found.background,
    }  # fmt: skip
    arrays |= {name: np.asarray(getattr(found, name)) for name in _CAMERAS}
    if found.show is not None:
        for field in dataclasses.fields(FieldShow):
            value = getattr(found.show, field.name)
            if isinstance(value, np.ndarray):
                arrays[f"show.{field.name}"] = value
            else:
                about[f"show.{field.name}"] = value
    write_arrays(path, arrays | {"about": np.array(json.dumps(about))})


def read_field(path: Any) -> TrajectoryField:
    """Read what `write_field` wrote. Raises InputError, one line, for what is no such file."""
    path = Path(path).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays["about"]))
        config = FieldConfig(**about["config"])
        plain = about["space"]
        rows = lambda x: tuple(tuple(map(float, r)) for r in x)
        space = SceneSpace(
            plain["kind"],
            tuple(plain["centre"]),
            plain["scale"],
            rows(plain["turn"]),
            tuple(plain["tangent"]),
        )
        show = None
        if "show.captions" in about:
            said = {k.removeprefix("show."): v for k, v in about.items() if k.startswith("show.")}
            said |= {k.removeprefix("show."): v for k, v in arrays.items() if k.startswith("show.")}
            show = FieldShow(**said | {"captions": tuple(said["captions"])})
        behind = about["background"]
        return TrajectoryField(
            _tree({k: v for k, v in arrays.items() if k.startswith("params")}), config, space, about["sampling"],
            **{name: arrays[name] for name in _CAMERAS}, size=tuple(about["size"]),
            background=None if behind is None else tuple(behind), show=show,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: name a field that a fit wrote") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no trajectory field ({error}): name a field.npz that a fit wrote"
        ) from error


def _tree(flat: dict[str, np.ndarray]) -> Any:
    """Nested dicts and lists of names such as `params['dynamic']['trunk'][0]['w']`."""
    root: dict[Any, Any] = {}
    for name, value in flat.items():
        keys = [k.strip("'\"") for k in name.removeprefix("params").strip("[]").split("][")]
        place = root
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value

    def settle(node):
        if not isinstance(node, dict):
            return node
        if node and all(k.isdigit() for k in node):
            return [settle(node[str(i)]) for i in range(len(node))]
        return {k: settle(v) for k, v in node.items()}

    return settle(root)
