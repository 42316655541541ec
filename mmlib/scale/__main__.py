"""Train a notebook's model outside the notebook, in one process or in many.

python -m mmlib.scale 01_clip
torchrun --nproc-per-node 2 -m mmlib.scale 01_clip --checkpoint runs/clip
"""

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr

import torch

from mmlib.scale.clip import Pairs, train_clip
from mmlib.scale.processes import process_group, rank, world_size

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def options_from(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m mmlib.scale", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", choices=["01_clip"], help="whose model to train")
    parser.add_argument("--steps", type=int, default=1050, help="updates of the weights (1050)")
    parser.add_argument("--batch", type=int, default=128, help="pairs in a batch, of all processes together (128)")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="keep the run here, and go on from what is there")
    parser.add_argument("--precision", choices=PRECISIONS, help="float16 on CUDA, else float32")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for another process (120)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and let the first process say how it went."""
    options = options_from(arguments)
    with process_group(options.patience) as device:
        pairs = Pairs(options.batch)
        with nullcontext() if rank() == 0 else redirect_stderr(io.StringIO()):  # one progress bar is enough
            model, history = train_clip(
                pairs, device, options.steps, options.checkpoint, PRECISIONS.get(options.precision)
            )
        if rank() == 0:
            how = f"{options.steps} steps of {options.batch} pairs, processes: {world_size()}, {history.seconds:.0f} s"
            result = f"last loss {history.losses[-1]:.4f}, validation R@1 {pairs.recall(model):.3f}"
            print(f"{options.notebook}: {how}; {result}.")


if __name__ == "__main__":
    try:
        main()
    except (ConnectionError, ValueError) as error:
        sys.exit(f"mmlib.scale: {error}")
