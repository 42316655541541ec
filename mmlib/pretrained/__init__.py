"""Published weights in the classes of this course, and features from other large networks (extra `pretrained`)."""

from mmlib.pretrained.clip import PublishedCLIP, load_clip, save_clip
from mmlib.pretrained.extractors import FETCH, READER, VIEWER, Extractors, load_extractors
from mmlib.pretrained.pictures import Preparation
from mmlib.pretrained.pieces import Pieces
from mmlib.pretrained.timesformer import PublishedTimeSformer, load_timesformer, save_timesformer

__all__ = [
    "Extractors",
    "FETCH",
    "Pieces",
    "Preparation",
    "PublishedCLIP",
    "PublishedTimeSformer",
    "READER",
    "VIEWER",
    "load_clip",
    "load_extractors",
    "load_timesformer",
    "save_clip",
    "save_timesformer",
]
