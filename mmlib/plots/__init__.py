"""Data in, matplotlib Figure out; the look of the course, and alt texts. See `style` for the rules it keeps."""

from mmlib.plots.clips import plot_patterns, plot_strips, show_gif
from mmlib.plots.figures import attention_in, plot_attention, plot_bars, plot_lines, plot_matrix, plot_pictures
from mmlib.plots.style import (
    FAINT,
    FONT,
    LINES,
    PALETTE,
    WIDTH,
    blank,
    fit,
    landmark_in,
    matrix_in,
    name_the_ends,
    picture_in,
    place,
    show,
    thumbnails,
    type_style,
)

__all__ = [
    "FAINT",
    "FONT",
    "LINES",
    "PALETTE",
    "WIDTH",
    "attention_in",
    "blank",
    "fit",
    "landmark_in",
    "matrix_in",
    "name_the_ends",
    "picture_in",
    "place",
    "plot_attention",
    "plot_bars",
    "plot_lines",
    "plot_matrix",
    "plot_patterns",
    "plot_pictures",
    "plot_strips",
    "show",
    "show_gif",
    "thumbnails",
    "type_style",
]
