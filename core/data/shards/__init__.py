"""Files in places that the operator named → local bytes: ranged reads, tried again when they break, kept within a budget.

`OpenPlaces` lists, looks at and opens; what it gives reads like a file on the local disk. Nothing here is imported by those
who read local files alone, and the library of a kind of place (s3fs, httpx, huggingface_hub) only where one is opened.
"""

from core.data.shards.open_places import OpenPlaces
from core.data.shards.paths import check_path, has_wildcards
from core.data.shards.remote import RemoteFile, RemoteShard
from core.data.shards.store import Stat

__all__ = ["OpenPlaces", "RemoteFile", "RemoteShard", "Stat", "check_path", "has_wildcards"]
