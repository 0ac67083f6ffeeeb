"""Pictures of curves over counts: on a terminal, as a PNG, and as one HTML page to explore."""

from .figure import Figure, FigureError, Mark, Series
from .image import png
from .page import html
from .screen import terminal

__all__ = ["Figure", "FigureError", "Mark", "Series", "html", "png", "terminal"]
