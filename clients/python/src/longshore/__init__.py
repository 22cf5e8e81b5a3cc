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
    LongshoreError,
    NotEnded,
    Refused,
    RunFailed,
    SettingsError,
    Unavailable,
    UnknownJob,
    WaitTimeout,
)
from .logs import LogLine
from .models import Event, ResultEvent, StartMessage, StatusEvent, Verdict
from .result import Result
from .settings import Settings

__all__ = [
    "AlreadyActive",
    "AsyncClient",
    "AsyncJob",
    "Client",
    "Code",
    "CodeError",
    "Event",
    "Job",
    "LogLine",
    "LongshoreError",
    "NotEnded",
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
