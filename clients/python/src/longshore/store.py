"""The object store, and what is read from it. boto3 blocks, so every request runs in a thread."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .code import Code
from .errors import NotEnded, Refused, Unavailable, UnknownJob
from .result import Result
from .settings import Settings

NEEDS = ("store_endpoint", "store_access_key", "store_secret_key")
ABSENT = ("404", "NoSuchKey", "NotFound")
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 10, 60, 5


class Missing(Exception):
    """There is no such object."""


class Store:
    """The buckets of Longshore. Nothing is connected before the first request."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._s3: Any = None

    def _client(self) -> Any:
        if self._s3 is None:
            settings = self.settings
            settings.require(*NEEDS)
            self._s3 = boto3.client(
                "s3",
                endpoint_url=settings.store_url,
                aws_access_key_id=settings.store_access_key,
                aws_secret_access_key=settings.store_secret_key,
                region_name=settings.store_region,
                verify=settings.store_ca_file or None,
                config=Config(
                    s3={"addressing_style": "path"},
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                    # Stores other than AWS do not all know the newer checksums.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        return self._s3

    async def _ask(self, operation: str, bucket: str, key: str, **arguments: Any) -> Any:
        def ask() -> Any:
            answer = getattr(self._client(), operation)(Bucket=bucket, **arguments)
            return answer["Body"].read() if operation == "get_object" else answer

        try:
            return await asyncio.to_thread(ask)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in ABSENT:
                raise Missing(f"there is no object {key} in the bucket {bucket}") from error
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
                raise Unavailable(f"the store cannot answer for {key} in {bucket}: {error}") from error
            raise Refused(f"the store refused {key} in {bucket}: {error} (see MINIO_ACCESS_KEY)") from error
        except BotoCoreError as error:
            raise Unavailable(f"the store at {self.settings.store_url} cannot be reached: {error}") from error

    async def get(self, bucket: str, key: str) -> bytes:
        """An object. Raises `Missing`."""
        content: bytes = await self._ask("get_object", bucket, key, Key=key)
        return content

    async def upload(self, code: Code) -> None:
        """Stores code, unless it is there already."""
        bucket = self.settings.code_bucket
        try:
            await self._ask("head_object", bucket, code.key, Key=code.key)
        except Missing:
            await self._ask(
                "put_object", bucket, code.key, Key=code.key, Body=code.body, ContentType="application/zip"
            )

    async def put_file(self, bucket: str, key: str, file: Path, sha256: str, size: int) -> None:
        """Stores a file with its hash, unless the store has the same bytes under the key."""
        try:
            there = await self._ask("head_object", bucket, key, Key=key)
            if (there.get("Metadata", {}).get("sha256"), there["ContentLength"]) == (sha256, size):
                return
        except (Missing, Refused):  # a key of a publisher may write and not read
            pass
        with file.open("rb") as body:
            await self._ask("put_object", bucket, key, Key=key, Body=body, Metadata={"sha256": sha256})

    async def list(self, bucket: str, prefix: str) -> list[str]:
        """The keys that begin like this."""
        keys: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = await self._ask("list_objects_v2", bucket, prefix, Prefix=prefix, **token)
            keys.extend(item["Key"] for item in page.get("Contents", []))
            if not page.get("IsTruncated"):
                return keys
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def result(self, id: str, run_id: str | None) -> Result:
        """How the latest run of a job, or this run of it, ended: from the journal."""
        state, namespace = self.settings.state_bucket, self.settings.namespace
        try:
            record = json.loads(await self.get(state, f"{namespace}/jobs/{id}.json"))
        except Missing:
            record = None
        if record is not None and run_id in (None, record["run_id"]):
            if record.get("state") != "finished" or "result" not in record:
                raise NotEnded(f"{id} has not ended yet")
            return await self.with_value(Result(record["result"]))
        try:
            end = json.loads(await self.get(state, f"{namespace}/ended/{id}/{run_id}.json"))
        except Missing:
            what = f"run {run_id} of {id}" if run_id else f"run of {id}"
            raise UnknownJob(f"the journal knows no {what} in the namespace {namespace}") from None
        return Result(end["event"], end["event"]["data"].get("result"))

    async def with_value(self, result: Result) -> Result:
        """The result with what the code returned, which is in the store if it was too large for the event."""
        key = result.data.get("objects", {}).get("result_key")
        if "result" in result.data or key is None:
            return Result(result.event, result.data.get("result"))
        try:
            return Result(result.event, json.loads(await self.get(self.settings.results_bucket, key)))
        except Missing:
            return result
