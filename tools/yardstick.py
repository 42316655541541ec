"""How fast this machine is right now: seconds for a fixed piece of the work that the notebooks do.

    python tools/yardstick.py

Two times of one machine say little about another, or about this one while a video call runs. So whatever was timed is
kept with the yardstick's time beside it, and later compared in proportion. Nothing here imports mmlib: the package may
become faster or slower, the yardstick stays.
"""

import time
from statistics import median

import torch
from torch import nn


class Work(nn.Module):
    """Convolutions, a transformer block on short sequences, and linear layers."""

    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 128, 3, 4, 1)]
        self.convolutions = nn.Sequential(*convolutions)
        self.block = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Sequential(nn.Linear(2048, 256), nn.GELU(), nn.Linear(256, 1000))

    def forward(self, image):
        tokens = self.convolutions(image).flatten(2).transpose(1, 2)
        return self.head(self.block(tokens).flatten(1))


def seconds(repeats=5):
    """The median time of four steps of training on a batch of 64; the first, which warms up, does not count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, image, target = Work(), torch.rand(64, 3, 32, 32), torch.randint(1000, (64,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(image), target).backward()
            optimizer.step()
        times.append(time.perf_counter() - start)
    return median(times[1:])


if __name__ == "__main__":
    print(f"{seconds():.3f} s on {torch.get_num_threads()} threads")
