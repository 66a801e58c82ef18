"""Times a PyTorch training step of the same network, batch and loss: on all cores, with fused Adam, data in memory."""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from resnet_cost import image_run
from torch import nn
from worker import Answer, serve, timed

from regcls_jax.devices import cores
from regcls_jax.loop.age import AgeRun
from regcls_jax.models import resnet

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution and its BatchNorm."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block with the convolutions of ours."""

    def __init__(self, inputs: int, block: resnet.Block) -> None:
        super().__init__()
        outputs, channels, layers = block.expansion * block.width, inputs, []
        for features, kernel, stride in block.convolutions():
            layers += [conv(channels, features, kernel, stride), nn.ReLU(inplace=True)]
            channels = features
        self.layers = nn.Sequential(*layers[:-1])
        same = block.stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, block.stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.layers(x) + self.shortcut(x))


def stages(ours: Any) -> tuple[nn.Sequential, list[nn.Sequential], list[int]]:
    """The stem, the stages and the channels of each, as a ResNet or depth network of ours has them."""
    stem = nn.Sequential(conv(3, ours.width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    channels, made, of_stages = ours.width, [], []
    for stage, size in enumerate(ours.stage_sizes):
        blocks = []
        for index in range(size):
            block = ours.block(ours.width * 2**stage, 2 if stage > 0 and index == 0 else 1, ours.dtype)
            blocks.append(Block(channels, block))
            channels = block.expansion * block.width
        made.append(nn.Sequential(*blocks))
        of_stages.append(channels)
    return stem, made, of_stages


class Net(nn.Module):
    """ResNet with a value head and, if there are classes, a class head."""

    def __init__(self, run: AgeRun) -> None:
        super().__init__()
        stem, made, (*_, channels) = stages(resnet.resnet(run.depth, width=run.width))
        self.trunk = nn.Sequential(stem, *made, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.value = nn.Linear(channels, 1)
        self.classes = nn.Linear(channels, run.classes) if run.classes else None


class Training:
    """Network, optimiser and a batch of noise in one memory layout; absolute error and cross-entropy (Eq. 3)."""

    def __init__(self, run: AgeRun, layout: str) -> None:
        self.run, self.layout = run, LAYOUTS[layout]
        self.net = Net(run).to(memory_format=self.layout)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=run.learning_rate, fused=True)
        shape = (run.batch_size, 3, run.image_size, run.image_size)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8)
        self.ages = torch.randint(0, 100, (run.batch_size,)).float()
        self.advance()

    def advance(self) -> None:
        images = (self.images.float() / 127.5 - 1).contiguous(memory_format=self.layout)
        features = self.net.trunk(images)
        loss = self.run.lam * nn.functional.l1_loss(self.net.value(features)[:, 0], self.ages)
        if self.net.classes is not None:
            labels = (self.ages / 100 * self.run.classes).long()
            loss = loss + nn.functional.cross_entropy(self.net.classes(features), labels)
        self.optimizer.zero_grad()
        (self.run.scale * loss).backward()
        self.optimizer.step()


# Both layouts of a run, whose steps take turns.
training = functools.lru_cache(maxsize=len(LAYOUTS))(Training)


def answer(run: Mapping[str, Any], layout: str) -> Answer:
    """Seconds and core-seconds of one step; the first call makes one before the clock starts."""
    return timed(training(image_run(run), layout).advance)


if __name__ == "__main__":
    torch.set_num_threads(cores())
    serve(answer)
