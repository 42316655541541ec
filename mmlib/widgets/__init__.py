"""Demos that act on the model just trained, and the panel that shows its training. See `live` for how they are made."""

from mmlib.widgets.frames import FrameCountExplorer
from mmlib.widgets.order import OrderExplorer
from mmlib.widgets.search import SearchExplorer
from mmlib.widgets.temperature import TemperatureExplorer
from mmlib.widgets.training import TrainingPanel
from mmlib.widgets.zero_shot import ZeroShotExplorer

__all__ = [
    "FrameCountExplorer",
    "OrderExplorer",
    "SearchExplorer",
    "TemperatureExplorer",
    "TrainingPanel",
    "ZeroShotExplorer",
]
