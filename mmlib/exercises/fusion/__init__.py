"""The exercises of notebook 5: three fusions, a sense that nobody listens to, and two noisy estimates."""

from mmlib.exercises.fusion.attention import check_attention
from mmlib.exercises.fusion.collapsed import check_collapsed
from mmlib.exercises.fusion.early import check_early
from mmlib.exercises.fusion.inverse_variance import check_inverse_variance
from mmlib.exercises.fusion.late import check_late

__all__ = ["check_attention", "check_collapsed", "check_early", "check_inverse_variance", "check_late"]
