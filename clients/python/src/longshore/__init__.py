"""A client of Longshore: starts bots and backtests, and gets their results.

from longshore import Client

with Client() as client:  # AMQP_URL, MINIO_ENDPOINT, … say where
    result = client.run("my-strategy", {"fast": 10, "slow": 30})
    print(result.value)
"""

from .blocking import Client, Job
from .client import AsyncClient, AsyncJob
from .code import Code
from .errors import (
    AlreadyActive,
    CodeError,
    DataError,
    LongshoreError,
    NotEnded,
    NotStored,
    Refused,
    RunFailed,
    SettingsError,
    Unavailable,
    UnknownJob,
    WaitTimeout,
)
from .logs import LogLine
from .models import Artifact, Event, Input, ResultEvent, StartMessage, StatusEvent, Verdict
from .objects import Point
from .result import Result
from .settings import Settings

__all__ = [
    "AlreadyActive",
    "Artifact",
    "AsyncClient",
    "AsyncJob",
    "Client",
    "Code",
    "CodeError",
    "DataError",
    "Event",
    "Input",
    "Job",
    "LogLine",
    "LongshoreError",
    "NotEnded",
    "NotStored",
    "Point",
    "Refused",
    "Result",
    "ResultEvent",
    "RunFailed",
    "Settings",
    "SettingsError",
    "StartMessage",
    "StatusEvent",
    "Unavailable",
    "UnknownJob",
    "Verdict",
    "WaitTimeout",
]
