"""The exercises of notebook 1: what each checker holds answers against, and answers as readers would write them."""

from answers_clip_losses import RIGHT as RIGHT_LOSSES
from answers_clip_losses import WRONG as WRONG_LOSSES
from answers_clip_pieces import RIGHT as RIGHT_PIECES
from answers_clip_pieces import WRONG as WRONG_PIECES
from answers_clip_texts import RIGHT as RIGHT_TEXTS
from answers_clip_texts import WRONG as WRONG_TEXTS
from answers_clip_texts import check_build, check_predict

from mmlib.exercises import clip
from mmlib.exercises.clip import infonce, multi_positive, pieces, text_encoder, zero_shot

NOTEBOOK, EXERCISES = "01_clip", clip
CHECKS = {
    clip.check_info_nce: (infonce.one_way, infonce.INFO_NCE_MISTAKES),
    clip.check_symmetric: (infonce.both_ways, infonce.SYMMETRIC_MISTAKES),
    clip.check_multi_positive: (multi_positive.multi_positive, multi_positive.MULTI_POSITIVE_MISTAKES),
    check_build: (zero_shot.classifier_of, zero_shot.CLASSIFIER_MISTAKES),
    check_predict: (zero_shot.nearest, zero_shot.PREDICT_MISTAKES),
    clip.check_pieces: (pieces.gradient_in_pieces, pieces.PIECES_MISTAKES),
    clip.check_text_encoder: (text_encoder.text_encoder, text_encoder.ENCODER_MISTAKES),
}
RIGHT = RIGHT_LOSSES + RIGHT_TEXTS + RIGHT_PIECES
WRONG = {**WRONG_LOSSES, **WRONG_TEXTS, **WRONG_PIECES}
AMBIGUOUS = [pieces.PIECES_MISTAKES[1].says]  # divided by the number of pieces, the sum is the mean
