"""What it looks like when memory ran out: the one list, for those who then try less and for those who tell the ledger.

Knows nothing of torch, so that a child which failed before it loaded torch can ask too.
"""

from __future__ import annotations

SENTENCES = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Python has a type for it, and torch one; torch on a CPU, and CUDA's libraries, have sentences."""
    is_torchs = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return is_torchs or isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in SENTENCES))
