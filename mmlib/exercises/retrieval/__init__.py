"""The exercises of notebook 3: the triplet loss, semi-hard negatives, recall with ties, two searches made one."""

from mmlib.exercises.retrieval.fusion import check_reciprocal_rank_fusion
from mmlib.exercises.retrieval.recall import check_recall
from mmlib.exercises.retrieval.semi_hard import check_semi_hard
from mmlib.exercises.retrieval.triplet import check_triplet_loss

__all__ = ["check_recall", "check_reciprocal_rank_fusion", "check_semi_hard", "check_triplet_loss"]
