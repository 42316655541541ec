"""The thin package that the notebooks import. Each module is read on its own: `from mmlib.models.clip import CLIP`."""

import os

__version__ = "0.1.0"

# Threads that wait for each other sleep. By default they spin, and on a machine that does something else as well, a
# training step then takes 4 to 18 times as long. OpenMP (libgomp, libomp, Intel's) reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
