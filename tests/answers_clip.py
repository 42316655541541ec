"""The exercises of notebook 1: which they are, and answers as readers would write them."""

from answers_clip_losses import RIGHT as RIGHT_LOSSES
from answers_clip_losses import WRONG as WRONG_LOSSES
from answers_clip_pieces import RIGHT as RIGHT_PIECES
from answers_clip_pieces import WRONG as WRONG_PIECES
from answers_clip_texts import RIGHT as RIGHT_TEXTS
from answers_clip_texts import WRONG as WRONG_TEXTS

from mmlib.exercises import clip

NOTEBOOK, EXERCISES = "01_clip", clip
CHECKS = [
    clip.check_info_nce,
    clip.check_symmetric,
    clip.classifier,
    clip.prediction,
    clip.check_text_encoder,
    clip.check_multi_positive,
    clip.check_pieces,
]
RIGHT = RIGHT_LOSSES + RIGHT_TEXTS + RIGHT_PIECES
WRONG = {**WRONG_LOSSES, **WRONG_TEXTS, **WRONG_PIECES}
AMBIGUOUS = ["the losses are added up with no mean"]  # divided by the number of pieces, the sum is the mean
