"""What may go wrong between a place and us, as its stores tell it, and as everyone else hears it.

    Broken      the connection, the server's load, a body cut short: worth another try
    Refused     the place does not let us in (now): a link or key that expired, or one that never held
    Missing     there is no such file
    Changed     the file is not the one that was registered
    Unusable    the place cannot be read by ranges, or sends us elsewhere: the operator's to change
"""

from __future__ import annotations

from core.errors import DataError, RunInterrupted, shown


class StoreFault(Exception):
    """Its text says what was met, such as "HTTP 503"; never a header, a key or a body."""


class Broken(StoreFault):
    pass


class Refused(StoreFault):
    pass


class Missing(StoreFault):
    pass


class Changed(StoreFault):
    pass


class Unusable(StoreFault):
    pass


def told_to_user(fault: StoreFault, what: str, *, place: str) -> DataError:
    """A fault that no later try would mend. `what` names file, place and bytes."""
    if isinstance(fault, Missing):
        return DataError(f"{what} is not there ({fault}); put it back, or register what is there now", code="shard_missing")
    if isinstance(fault, Changed):
        return DataError(f"{what} changed after it was registered ({fault}); register it again, or put the old file back",
                         code="shard_changed")
    if isinstance(fault, Refused):
        return DataError(f"{what} may not be read ({fault}); leave it out, or ask the operator to see that place "
                         f"{shown(place)} opens it", code="shard_refused")
    return DataError(f"{what} cannot be read: {fault}", code="shard_unusable")


def told_as_interrupted(fault: StoreFault, what: str, *, tries: int, seconds: float) -> RunInterrupted:
    """A fault that outlasted all tries; a later run may find it gone."""
    key = ", and that its key or link still holds" if isinstance(fault, Refused) else ""
    return RunInterrupted(f"{what} could not be read in {tries} tries over {seconds:.0f} s (last: {fault}); see that the place "
                          f"answers{key}", code="place_unreachable")
