"""Demos that act on the model just trained, and the panel that shows its training. See `live` for how they are made."""

from mmlib.widgets.decode import DecodeExplorer
from mmlib.widgets.frames import FrameCountExplorer
from mmlib.widgets.fusion import FusionExplorer
from mmlib.widgets.names import NamesExplorer
from mmlib.widgets.negatives import NegativesExplorer
from mmlib.widgets.order import OrderExplorer
from mmlib.widgets.retrieval import RetrievalExplorer
from mmlib.widgets.say import SayItExplorer
from mmlib.widgets.search import SearchExplorer
from mmlib.widgets.temperature import TemperatureExplorer
from mmlib.widgets.training import TrainingPanel
from mmlib.widgets.tree import TreeExplorer
from mmlib.widgets.zero_shot import ZeroShotExplorer

__all__ = [
    "DecodeExplorer",
    "FrameCountExplorer",
    "FusionExplorer",
    "NamesExplorer",
    "NegativesExplorer",
    "OrderExplorer",
    "RetrievalExplorer",
    "SayItExplorer",
    "SearchExplorer",
    "TemperatureExplorer",
    "TrainingPanel",
    "TreeExplorer",
    "ZeroShotExplorer",
]
