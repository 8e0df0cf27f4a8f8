from __future__ import annotations

import errno

import pytest

from core.errors import Unavailable
from core.storage.own_faults import own_faults


@pytest.mark.parametrize(("number", "code"), [
    (errno.ENOSPC, "insufficient_storage"), (errno.EDQUOT, "insufficient_storage"), (errno.EMFILE, "host_fault"),
    (errno.EIO, "host_fault"), (errno.EACCES, "host_fault"),
])
def test_what_the_system_refuses_is_told_as_a_fault_of_the_host(number: int, code: str) -> None:
    with pytest.raises(Unavailable, match="this host cannot keep a copy") as caught, own_faults("keep a copy"):
        raise OSError(number, "no")
    assert caught.value.code == code
