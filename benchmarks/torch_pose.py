"""The image network of the student in PyTorch, from the same parameters, for `benchmarks.images`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def _kernel(kernel: np.ndarray, size: int) -> torch.Tensor:
    """Our rows (x, y, channel) as PyTorch's (out, in, y, x)."""
    rows, out = kernel.shape
    shaped = np.asarray(kernel).reshape(size, size, rows // size**2, out)
    return torch.tensor(shaped.transpose(3, 2, 1, 0).copy())


class _Conv(nn.Module):
    def __init__(self, params: dict, stride: int = 1, size: int = 3):
        super().__init__()
        self.weight = nn.Parameter(_kernel(params["kernel"], size))
        self.bias = nn.Parameter(torch.tensor(np.asarray(params["bias"]))) if "bias" in params else None
        self.stride, self.edge = stride, (size - 1) // 2

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(h, self.weight, self.bias, self.stride, self.edge)


class _Norm(nn.Module):
    def __init__(self, params: dict, groups: int):
        super().__init__()
        self.groups = groups
        self.scale, self.bias = (nn.Parameter(torch.tensor(np.asarray(params[k]))) for k in ("scale", "bias"))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return functional.group_norm(h, self.groups, self.scale, self.bias, 1e-6)


class PoseNet(nn.Module):
    """Backbone and axis head; patches (batch, 3, size, size) in [0, 255] to points (batch, point, 3)."""

    def __init__(self, params: dict, config):
        super().__init__()
        self.config = config
        b, groups = params["backbone"], config.backbone.groups
        self.stem = _Conv(b["stem"], size=1)
        self.blocks = nn.ModuleList()
        for i, count in enumerate(config.backbone.blocks):
            for j in range(count):
                p = b["stages"][i][j]
                stride = 2 if i > 0 and j == 0 else 1
                block = nn.ModuleDict({
                    "n0": _Norm(p["norms"][0], groups), "n1": _Norm(p["norms"][1], groups),
                    "c0": _Conv(p["convs"][0], stride), "c1": _Conv(p["convs"][1]),
                })  # fmt: skip
                if "skip" in p:
                    block["skip"] = _Conv(p["skip"], stride, 1)
                self.blocks.append(block)
        self.last_of_stage = np.cumsum(config.backbone.blocks) - 1
        self.norm = _Norm(b["norm"], groups)
        h = params["head"]
        self.lateral, self.top, self.local = (
            _Conv(h["lateral"], size=1),
            _Conv(h["top"], size=1),
            _Conv(h["local"]),
        )
        self.weight, self.bias = (nn.Parameter(torch.tensor(np.asarray(h[k]))) for k in ("weight", "bias"))

    def forward(self, images: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        c, n = self.config, self.config.backbone.stem
        batch, _, height, width = images.shape
        h = (images / 64.0 - 2.0).reshape(batch, 3, height // n, n, width // n, n)
        h = self.stem(h.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // n, width // n))
        maps = []
        for i, block in enumerate(self.blocks):
            a = functional.relu(block["n0"](h))
            left = block["skip"](a) if "skip" in block else h
            h = left + block["c1"](functional.relu(block["n1"](block["c0"](a))))
            if i in self.last_of_stage:
                maps.append(h)
        last = functional.relu(self.norm(h))
        pooled = last.mean((2, 3))
        up = functional.interpolate(self.top(last), scale_factor=2, mode="nearest") + self.lateral(maps[-2])
        h = self.local(functional.relu(up)).permute(0, 2, 3, 1)  # batch, y, x, point * 4
        h = h.reshape(batch, -1, c.n_points, 4).permute(2, 0, 1, 3).reshape(c.n_points, batch, -1)
        h = torch.cat([functional.relu(h), pooled.expand(c.n_points, *pooled.shape)], -1)
        logits = torch.bmm(h, self.weight) + self.bias[:, None]
        logits = logits.reshape(c.n_points, batch, 3, c.bins).permute(1, 0, 2, 3)
        return (torch.softmax(logits, -1) * places).sum(-1)
