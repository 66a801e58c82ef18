"""Times an epoch of a bare PyTorch loop of Table 5's network: tensors in memory, one thread, fused Adam."""

import functools
import time

import torch
from torch import nn
from worker import Answer, serve

from regcls_jax.data.breakfast import WIDTH

LAM = 100.0


class Training:
    """64-40-20, a value head and, if there are classes, a class head, on noise."""

    def __init__(self, frames: int, classes: int) -> None:
        self.x, self.y = torch.randn(frames, WIDTH), torch.rand(frames)
        self.labels = (self.y * classes).long()
        self.trunk = nn.Sequential(nn.Linear(WIDTH, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU())
        self.value, self.classes = nn.Linear(20, 1), nn.Linear(20, classes) if classes else None
        layers = [self.trunk, self.value, *([self.classes] if self.classes else [])]
        parameters = [parameter for layer in layers for parameter in layer.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-4, fused=True)

    def advance(self, batch_size: int) -> None:
        """One epoch, shuffled; squared error, summed over a batch, and the mean cross-entropy."""
        order = torch.randperm(len(self.x))[: len(self.x) // batch_size * batch_size]
        for rows in order.split(batch_size):
            features = self.trunk(self.x[rows])
            loss = LAM * nn.functional.mse_loss(self.value(features)[:, 0], self.y[rows], reduction="sum")
            if self.classes is not None:
                loss = loss + nn.functional.cross_entropy(self.classes(features), self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


training = functools.lru_cache(maxsize=1)(Training)


def answer(frames: int, classes: int, batch_size: int) -> Answer:
    """Seconds of an epoch."""
    trained = training(frames, classes)
    clock = time.perf_counter()
    trained.advance(batch_size)
    return {"seconds": time.perf_counter() - clock}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(answer)
