"""Whose turn it is: a log of weights and the number of a step come in, the source of each slot goes out."""

from core.data.mixture.mixture import Mixture
from core.data.mixture.schedule import Schedule

__all__ = ["Mixture", "Schedule"]
