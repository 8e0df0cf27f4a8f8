from __future__ import annotations

import pytest
import torch

from worker.run import failure
from worker.shortage import is_out_of_memory

WAYS = [
    torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")]


@pytest.mark.parametrize("error", WAYS)
def test_each_way_of_saying_it_is_understood(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("size mismatch"))


@pytest.mark.parametrize("error", WAYS)
def test_memory_that_ran_out_with_nothing_less_tried_is_no_final_failure(error: Exception) -> None:
    told = failure(error)
    assert (told.failure, told.code) == ("infrastructure", "out_of_memory")
    assert str(error) in told.message
    assert told.message.endswith("else choose a smaller base model or a larger device")
