"""The exercises of notebook 1: three losses, a classifier made of words, a text encoder
with two bugs, and a batch that is too large for the memory."""

from mmlib.exercises.clip.infonce import check_info_nce, check_symmetric
from mmlib.exercises.clip.multi_positive import check_multi_positive
from mmlib.exercises.clip.pieces import check_pieces
from mmlib.exercises.clip.text_encoder import check_text_encoder
from mmlib.exercises.clip.zero_shot import check_zero_shot

__all__ = [
    "check_info_nce",
    "check_multi_positive",
    "check_pieces",
    "check_symmetric",
    "check_text_encoder",
    "check_zero_shot",
]
