"""A bucket as a place: `s3://bucket/prefix`, on AWS or any server that speaks S3, through s3fs.

s3fs keeps the session, the signing and the event loop; each read is one GetObject of a range that must still have the ETag
that was registered. Without a key in the operator's file requests go unsigned: no key of the machine or its
environment is ever used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync

from core.data.shards.faults import Broken, Changed, Missing, Refused, StoreFault, Unusable
from core.data.shards.store import MOST_LISTED, Stat, check_same, total_of
from core.data.spec import Place

READ_SECONDS = 120.0
"""One call as a whole, its body included."""
DEFAULT_REGION = "us-east-1"
_CONFIG = {"connect_timeout": 10, "read_timeout": 30, "retries": {"total_max_attempts": 1}}
At = Callable[[str], dict[str, str]]
_EXPIRED = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed", "InvalidAccessKeyId")


class S3Store:
    def __init__(self, place: Place) -> None:
        options = place.options
        self._bucket, _, prefix = place.url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        style = {"s3": {"addressing_style": "path"}} if options.get("path_style") else {}
        self._files = s3fs.S3FileSystem(
            anon="key" not in options, key=options.get("key"), secret=options.get("secret"), token=options.get("token"),
            endpoint_url=options.get("endpoint_url"), client_kwargs={"region_name": options.get("region") or DEFAULT_REGION},
            config_kwargs={**_CONFIG, **style}, skip_instance_cache=True, use_listings_cache=False,
        )

    def stat(self, path: str) -> Stat:
        told = self._call(lambda s3: s3.head_object(Bucket=self._bucket, Key=self._prefix + path))
        return Stat(told["ContentLength"], told.get("ETag") or "")

    def read(self, path: str, start: int, end: int, expected: Stat) -> bytes:
        async def get(s3: Any) -> bytes:
            told = await s3.get_object(Bucket=self._bucket, Key=self._prefix + path, Range=f"bytes={start}-{end - 1}")
            async with told["Body"] as body:
                if told["ResponseMetadata"]["HTTPStatusCode"] != 206:
                    raise Unusable("the server answers a ranged read with the whole file; use one that knows ranges")
                check_same(Stat(total_of(told.get("ContentRange")), told.get("ETag") or ""), expected)
                return await body.read()

        found = self._call(get)
        if len(found) != end - start:
            raise Broken(f"{len(found):,} of {end - start:,} bytes came")
        return found

    def iter_paths(self, folder: str) -> Iterator[str]:
        seen, token = 0, None
        while True:
            listed, token = self.list_page(folder, token)
            yield from (path for path, _ in listed)
            seen += len(listed)
            if seen > MOST_LISTED:
                raise Unusable(f"more than {MOST_LISTED:,} files lie below it; name a smaller folder")
            if token is None:
                return

    def list_page(self, folder: str, token: str | None = None) -> tuple[list[tuple[str, datetime]], str | None]:
        """Up to 1,000 of the files below a folder in the order of their names, each with the time at which it was written, and
        what the next page is asked by, if any."""
        prefix = f"{self._prefix}{folder}/" if folder else self._prefix
        more = {"ContinuationToken": token} if token else {}
        page = self._call(lambda s3: s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more))
        listed = [(entry["Key"].removeprefix(self._prefix), entry["LastModified"]) for entry in page.get("Contents", ())
                  if not entry["Key"].endswith("/")]
        return listed, page["NextContinuationToken"] if page.get("IsTruncated") else None

    def call(self, call: Callable[[Any, At], Awaitable[Any]]) -> Any:
        """Make one call of the client's; its second argument names an object by its path in the place."""
        return self._call(lambda s3: call(s3, lambda path: {"Bucket": self._bucket, "Key": self._prefix + path}))

    def close(self) -> None:
        client = self._files._s3
        if client is not None:
            self._files.close_session(self._files.loop, client)

    def _call(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            await self._files.set_session()
            return await asyncio.wait_for(call(await self._files.get_s3(self._bucket)), READ_SECONDS)

        try:
            return sync(self._files.loop, run)
        except ClientError as error:
            raise _fault(error) from error
        except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Broken(type(error).__name__) from error


def _fault(error: ClientError) -> StoreFault:
    """What an error answer means; its text is the server's own and is not shown."""
    code = str(error.response.get("Error", {}).get("Code", ""))[:40]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    told = f"HTTP {status}" if code == str(status) or not code.isalnum() else f"HTTP {status} {code}"
    if status == 404:
        return Missing(told)
    if status == 416:
        return Changed("it is shorter")
    if status in (401, 403) or code in _EXPIRED:
        return Refused(told)
    if status >= 500 or status in (0, 200, 408, 409, 429) or code == "RequestTimeout":
        return Broken(told)
    return Unusable(f"the server answers with {told}")
