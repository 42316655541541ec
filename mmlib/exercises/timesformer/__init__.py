"""The exercises of notebook 2: rows along time, the block, a class token that is blind, other frame counts."""

from mmlib.exercises.timesformer.block import check_block
from mmlib.exercises.timesformer.class_token import check_class_token
from mmlib.exercises.timesformer.time_embedding import check_time_embedding
from mmlib.exercises.timesformer.tubes import check_temporal_reshape

__all__ = ["check_block", "check_class_token", "check_temporal_reshape", "check_time_embedding"]
