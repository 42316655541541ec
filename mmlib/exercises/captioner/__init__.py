"""The exercises of notebook 4: a step of an LSTM, a masked loss, a step of beam search, and BLEU."""

from mmlib.exercises.captioner.beam import check_beam_step
from mmlib.exercises.captioner.bleu import check_bleu
from mmlib.exercises.captioner.lstm import check_lstm_step
from mmlib.exercises.captioner.masked_loss import check_masked_loss

__all__ = ["check_beam_step", "check_bleu", "check_lstm_step", "check_masked_loss"]
