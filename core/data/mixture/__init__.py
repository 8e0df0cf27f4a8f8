"""Whose turn it is: a log of weights and the number of a step come in, the source of each slot goes out."""

from core.data.mixture.mixture import Mixture
from core.data.mixture.quarantines import Quarantines
from core.data.mixture.schedule import Schedule
from core.data.mixture.turns import Turn, check_log, turns_of

__all__ = ["Mixture", "Quarantines", "Schedule", "Turn", "check_log", "turns_of"]
