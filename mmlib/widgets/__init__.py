"""Demos that act on the model just trained, and the panel that shows its training. See `live` for how they are made."""

from mmlib.widgets.search import SearchExplorer
from mmlib.widgets.temperature import TemperatureExplorer
from mmlib.widgets.training import TrainingPanel
from mmlib.widgets.zero_shot import ZeroShotExplorer

__all__ = ["SearchExplorer", "TemperatureExplorer", "TrainingPanel", "ZeroShotExplorer"]
