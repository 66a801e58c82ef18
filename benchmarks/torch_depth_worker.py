"""Times a PyTorch training step of the depth network, batch and loss: on all cores, fused Adam, data in memory.

The network as Hu et al. (2019) and the paper publish it: every projection resizes first, and the class head is a
transposed convolution, ReLU and a 1x1 convolution.
"""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, mse_loss
from torch_resnet_worker import LAYOUTS, conv, stages
from worker import Answer, serve, timed

from regcls_jax.devices import cores
from regcls_jax.loop.depth import DepthRun
from regcls_jax.models import depth

FARTHEST = 10.0  # metres


def resized(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear, with aligned corners."""
    return interpolate(x, size=size, mode="bilinear", align_corners=True)


class UpProjection(nn.Module):
    """Resized, then a residual block whose shortcut is a 5x5 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(conv(inputs, outputs, 5, 1), nn.ReLU(inplace=True), conv(outputs, outputs, 3, 1))
        self.shortcut = conv(inputs, outputs, 5, 1)

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        x = resized(x, size)
        return torch.relu_(self.branch(x) + self.shortcut(x))


class Net(nn.Module):
    """Encoder, decoder, fusion of all stages, refinement, value head and, if there are classes, the class head."""

    def __init__(self, run: DepthRun) -> None:
        super().__init__()
        self.stem, made, of_stages = stages(depth.depth_network(run.layers, width=run.width))
        self.stages, channels = nn.ModuleList(made), of_stages[-1]
        features = channels // 2
        self.reduced = nn.Sequential(conv(channels, features, 1, 1), nn.ReLU(inplace=True))
        widths = [features, *(max(features >> index, 1) for index in range(1, len(of_stages) + 1))]
        self.decoder = nn.ModuleList(UpProjection(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        part = max(run.width // 4, 1)
        self.projections = nn.ModuleList(UpProjection(channels, part) for channels in of_stages)
        self.fusion = nn.Sequential(conv(4 * part, 4 * part, 5, 1), nn.ReLU(inplace=True))
        last = widths[-1] + 4 * part
        self.refinement = nn.Sequential(*(m for _ in range(2) for m in (conv(last, last, 5, 1), nn.ReLU(inplace=True))))
        self.value = nn.Conv2d(last, 1, 5, padding=2)
        self.classes = None
        if run.classes:
            hidden = 4 * run.width
            up, logits = nn.ConvTranspose2d(last, hidden, 2, 2), nn.Conv2d(hidden, run.classes, 1)
            self.classes = nn.Sequential(up, nn.ReLU(inplace=True), logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features that the heads see."""
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        sizes = [tuple(stage.shape[2:]) for stage in reversed(found[:-1])]
        sizes.append((2 * found[0].shape[2], 2 * found[0].shape[3]))
        x = self.reduced(x)
        for up, size in zip(self.decoder, sizes, strict=True):
            x = up(x, size)
        fused = torch.cat([up(stage, sizes[-1]) for up, stage in zip(self.projections, found, strict=True)], 1)
        return self.refinement(torch.cat([x, self.fusion(fused)], 1))


class Training:
    """Network, optimiser and a batch of noise in one memory layout; squared error and cross-entropy (Eq. 3)."""

    def __init__(self, run: DepthRun, layout: str) -> None:
        self.run, self.layout = run, LAYOUTS[layout]
        self.net = Net(run).to(memory_format=self.layout)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=run.learning_rate, fused=True)
        height, width = run.image_height, run.image_width
        self.images = torch.randint(0, 256, (run.batch_size, 3, height, width), dtype=torch.uint8)
        self.depths = FARTHEST * torch.rand(run.batch_size, height // 2, width // 2)
        self.advance()

    def advance(self) -> None:
        images = (self.images.float() / 127.5 - 1).contiguous(memory_format=self.layout)
        features = self.net(images)
        loss = self.run.lam * mse_loss(self.net.value(features)[:, 0], self.depths)
        if self.net.classes is not None:
            twice = resized(self.depths[:, None], tuple(self.images.shape[2:]))[:, 0]
            labels = (twice / FARTHEST * self.run.classes).long().clamp_(0, self.run.classes - 1)
            loss = loss + cross_entropy(self.net.classes(features), labels)
        self.optimizer.zero_grad()
        (self.run.scale * loss).backward()
        self.optimizer.step()


training = functools.lru_cache(maxsize=len(LAYOUTS))(
    lambda settings, layout: Training(DepthRun(arm="a", seed=0, **dict(settings)), layout)
)


def answer(run: Mapping[str, Any], layout: str) -> Answer:
    """Seconds and core-seconds of one step; the first call makes one before the clock starts."""
    return timed(training(tuple(run.items()), layout).advance)


if __name__ == "__main__":
    torch.set_num_threads(cores())
    serve(answer)
