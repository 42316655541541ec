"""The thin package that the notebooks import. Each module is read on its own: `from mmlib.models.clip import CLIP`."""

__version__ = "0.1.0"
