"""The network of `jnrsfm.models.vision.depth` in PyTorch, layer by layer, for the comparison of a training step."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Pre-activation residual block."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int):
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(groups, inputs), nn.GroupNorm(groups, outputs)
        self.c1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.c2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        changes = stride > 1 or inputs != outputs
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, h):
        """One block."""
        a = F.relu(self.n1(h))
        left = h if self.skip is None else self.skip(a)
        return left + self.c2(F.relu(self.n2(self.c1(a))))


class Depth(nn.Module):
    """Two frames and flow to log depth; fusion level by level."""

    def __init__(self, c):
        super().__init__()
        b, self.c = c.backbone, c
        stem, widths, flows, g = b.stem, b.widths, c.flow_widths, b.groups
        self.stem = nn.Conv2d(3, widths[0], stem, stem)
        self.stages = nn.ModuleList(
            Block(widths[max(i - 1, 0)], w, 2 if i else 1, g) for i, w in enumerate(widths)
        )
        self.norm = nn.GroupNorm(g, widths[-1])
        self.flow_stem = nn.Conv2d(2, flows[0], stem, stem)
        self.flows = nn.ModuleList(
            Block(flows[max(i - 1, 0)], w, 2 if i else 1, g) for i, w in enumerate(flows)
        )
        self.frames = nn.ModuleList(Block(2 * w, c.width, 1, g) for w in widths)
        self.fused = nn.ModuleList(Block(c.width + w, c.width, 1, g) for w in flows)
        self.decoder = nn.ModuleList(Block(c.width, c.width, 1, g) for _ in widths)
        self.last_norm = nn.GroupNorm(g, c.width)
        self.last = nn.Conv2d(c.width, c.width // 2, 3, 1, 1)
        self.depth = nn.Conv2d(c.width // 2, 1 + stem**2, 3, 1, 1)

    def forward(self, first, second, flow):
        """Log depth."""
        stem, n = self.c.backbone.stem, len(first)
        h = self.stem(torch.cat([first, second]) / 64 - 2)
        maps = []
        for stage in self.stages:
            h = stage(h)
            maps.append(h)
        maps[-1] = F.relu(self.norm(h))
        fused, g = [], self.flow_stem(torch.asinh(flow / (0.02 * self.c.size[0])))
        for i, m in enumerate(maps):
            g = self.flows[i](g)
            side = stem * 2**i
            far = F.avg_pool2d(flow, side) / side
            high, wide = far.shape[-2:]
            x = 2 * (torch.arange(wide)[None, None, :] + far[:, 0]) / (wide - 1) - 1
            y = 2 * (torch.arange(high)[None, :, None] + far[:, 1]) / (high - 1) - 1
            warped = F.grid_sample(m[n:], torch.stack([x, y], -1), padding_mode="border", align_corners=True)
            fused.append(self.fused[i](torch.cat([self.frames[i](torch.cat([m[:n], warped], 1)), g], 1)))
        h = self.decoder[-1](fused[-1])
        for i in range(len(fused) - 2, -1, -1):
            up = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
            h = self.decoder[i](fused[i] + up)
        h = self.depth(F.relu(self.last(F.relu(self.last_norm(h)))))
        coarse = F.interpolate(h[:, :1], scale_factor=stem, mode="bilinear", align_corners=False)
        return (coarse + F.pixel_shuffle(h[:, 1:], stem))[:, 0]


def steps(config, first: np.ndarray, second: np.ndarray, flow: np.ndarray, count: int) -> Callable:
    """A function that runs `count` steps of plain descent, forward and backward."""
    torch.manual_seed(0)
    net = Depth(config)
    a, b, f = (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() for x in (first, second, flow))

    def run():
        for _ in range(count):
            net.zero_grad()
            net(a, b, f).square().mean().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 1e-4 * p.grad

    return run
