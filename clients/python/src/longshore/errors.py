"""What can go wrong. Every error of this package is a `LongshoreError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import Result


class LongshoreError(Exception):
    """What all errors of this package are."""


class SettingsError(LongshoreError):
    """A setting is missing or wrong."""


class CodeError(LongshoreError):
    """The code cannot be packed, or it is not clear what to run in it."""


class DataError(LongshoreError):
    """The file of a data set cannot be read, or its key is none."""


class Unavailable(LongshoreError):
    """Broker or store could not be reached for as long as ``patience_seconds`` says."""


class Refused(LongshoreError):
    """Broker or store refused: a wrong password, a missing right, a namespace without workers."""


class AlreadyActive(LongshoreError):
    """A start was not followed because another run of its job is active."""


class UnknownJob(LongshoreError):
    """The journal has no such run."""


class NotStored(LongshoreError):
    """The store has no such artifact, or no longer the one that the run stored."""


class NotEnded(LongshoreError):
    """The run has not ended yet."""


class WaitTimeout(LongshoreError, TimeoutError):
    """The run has not ended in time. It goes on: stop it if nobody needs it."""


class RunFailed(LongshoreError):
    """A run ended neither well nor by a stop. ``result`` says how."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.id or 'the message'}: {result.verdict}: {result.message}")
        self.result = result
