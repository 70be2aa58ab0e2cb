"""The same training step in PyTorch: same network, layout, loss, clipping and Adam, for `training_step`.

The camera's projection is a closed form here too (a batched SVD on CPU would dominate the step), so that what is
compared is the network. Orthographic camera, all settings as the preset has them.
"""

import numpy as np
import torch

TINY = 1.1754943508222875e-38


def block_soft_threshold(x, threshold):
    """`(1 - t / |block|)_+ block` over axis 1 of `(frame, row, atom)`."""
    inverse = torch.rsqrt(torch.clamp((x * x).sum(1, keepdim=True), min=TINY))
    return torch.clamp(1 - threshold * inverse, min=0) * x


def orthonormal(m):
    """Nearest two orthonormal columns of `(frame, 3, 2)`: `[m1 + m2 x n, m2 + n x m1]`, normalised."""
    a, b = m[..., 0], m[..., 1]
    n = torch.nn.functional.normalize(torch.linalg.cross(a, b), dim=-1)
    q1 = torch.nn.functional.normalize(a + torch.linalg.cross(b, n), dim=-1)
    q2 = torch.nn.functional.normalize(b + torch.linalg.cross(n, a), dim=-1)
    return q1, q2


def centred(points, weights):
    """Minus the weighted mean, 0 where not seen."""
    weights = weights[..., None]
    mean = (weights * points).sum(1, keepdim=True) / torch.clamp(weights.sum(1, keepdim=True), min=1e-12)
    return torch.where(weights > 0, points - mean, 0.0)


class Network(torch.nn.Module):
    """Parameters by the names that jnrsfm gives them."""

    def __init__(self, params: dict):
        super().__init__()
        tensor = lambda x: torch.nn.Parameter(torch.from_numpy(np.array(x)))
        several = lambda d: torch.nn.ParameterList([tensor(d[i]) for i in sorted(d)])
        self.first, self.code_head, self.camera_head = (
            tensor(params[name]) for name in ("first", "code_head", "camera_head")
        )
        self.dictionaries, self.thresholds, self.biases = (
            several(params[name]) for name in ("dictionaries", "thresholds", "biases")
        )

    def forward(self, points, weights):
        """Mean loss of a batch of measurements `(frame, point, 2)`."""
        batch, n_points = weights.shape
        target = centred(points, weights)
        measured = (weights[..., None] * target).transpose(1, 2)
        x = measured.reshape(batch * 2, n_points) @ self.first.reshape(n_points, -1)
        x = block_soft_threshold(x.reshape(batch, 6, -1), self.thresholds[0])
        for dictionary, threshold in zip(self.dictionaries, list(self.thresholds)[1:], strict=True):
            x = (x.reshape(batch * 6, -1) @ dictionary).reshape(batch, 6, -1)
            x = block_soft_threshold(x, threshold)
        phi = x.reshape(batch, -1) @ self.code_head
        camera = (x @ self.camera_head).reshape(batch, 2, 3).transpose(1, 2)
        rows = torch.stack(orthonormal(camera), 1)
        for dictionary, bias in zip(
            reversed(list(self.dictionaries)), reversed(list(self.biases)), strict=True
        ):
            phi = torch.relu(phi @ dictionary.T + bias)
        shape = (phi @ self.first.reshape(n_points * 3, -1).T).reshape(batch, n_points, 3)
        shape = shape - shape.mean(1, keepdim=True)
        image = shape @ rows.transpose(1, 2)
        hidden = ((1 - weights)[..., None] * image).sum(1, keepdim=True)
        image = image + hidden / weights.sum(1)[:, None, None]
        square = ((image - target) ** 2).sum(-1)
        return torch.sqrt((weights * square).sum(1) / weights.sum(1) + 1e-12).mean()


class Steps:
    """`count` training steps a call, batches gathered at random and rolled as jnrsfm does."""

    def __init__(
        self, params, points, weights, batch: int, clip: float, rate: float, roll: float, device: str
    ):
        self.network = Network(params).to(device)
        self.points, self.weights = (torch.from_numpy(np.array(x)).to(device) for x in (points, weights))
        self.batch, self.clip, self.roll, self.device = batch, clip, np.deg2rad(roll), device
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, fused=True)

    def gradient(self, points, weights, angle):
        """Loss of a rolled batch, and its gradient."""
        c, s = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
        x, y = points[..., 0], points[..., 1]
        loss = self.network(torch.stack([c * x - s * y, s * x + c * y], -1), weights)
        loss.backward()
        return loss

    def run(self, count: int, gradient=None):
        """The steps; `gradient` may be a compiled form of `self.gradient`."""
        for _ in range(count):
            frames = torch.randint(len(self.points), (self.batch,), device=self.device)
            angle = self.roll * (2 * torch.rand(self.batch, device=self.device) - 1)
            self.optimizer.zero_grad(set_to_none=True)
            loss = (gradient or self.gradient)(self.points[frames], self.weights[frames], angle)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
            self.optimizer.step()
        return float(loss.detach())
