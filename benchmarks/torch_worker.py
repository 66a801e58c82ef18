"""Times a bare PyTorch loop of the same training: tensors in memory, one thread, no DataLoader.

The fair opponent: shuffled once per epoch and then sliced, and Adam in the fused form, the fastest on CPU.
"""

import time

import torch
from torch import nn
from worker import Answer, serve

from regcls_jax.study.runs import Run

LAM = 100.0


class Net(nn.Module):
    """Fig. 3's model: 1-6-15, a value head and, if there are classes, a class head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        first, last = Run.hidden
        self.trunk = nn.Sequential(nn.Linear(1, first), nn.ReLU(), nn.Linear(first, last), nn.ReLU())
        self.value = nn.Linear(last, 1)
        self.classes = nn.Linear(last, classes) if classes else None


def train(samples: int, classes: int) -> Answer:
    """Seconds of one training."""
    x = torch.rand(samples, 1) * 2 - 1
    y = torch.sin(10 * x[:, 0])
    labels = torch.clamp(((y + 1) / 2 * classes).long(), 0, max(classes - 1, 0))
    net = Net(classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=Run.learning_rate, weight_decay=Run.weight_decay, fused=True)

    clock = time.perf_counter()
    for _ in range(Run.epochs):
        order = torch.randperm(samples)[: samples // Run.batch_size * Run.batch_size]
        shuffled = [rows[order].split(Run.batch_size) for rows in (x, y, labels)]
        for inputs, targets, label in zip(*shuffled, strict=True):
            features = net.trunk(inputs)
            loss = LAM * nn.functional.mse_loss(net.value(features)[:, 0], targets)
            if net.classes is not None:
                loss = loss + nn.functional.cross_entropy(net.classes(features), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {"seconds": time.perf_counter() - clock}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(train)
