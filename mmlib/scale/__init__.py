"""Beyond one process and beyond one piece of memory: `python -m mmlib.scale 01_clip`, alone or under torchrun."""
