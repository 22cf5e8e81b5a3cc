"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import RunFailed
from .models import Artifact, ExecutionResult, ResultEvent, Verdict

ENDED_WELL = ("succeeded", "stopped")


@dataclass(frozen=True)
class Result:
    """How a run ended, and what it returned."""

    event: ResultEvent
    """The whole event."""
    value: Any = None
    """What the code returned. ``None`` if it returned nothing, or if its result was not stored."""

    @property
    def data(self) -> ExecutionResult:
        """Everything that the event says: times, attempts, resources, keys in the store."""
        return self.event["data"]

    @property
    def verdict(self) -> Verdict:
        """How the run ended."""
        return self.data.get("verdict", "failed")

    @property
    def ok(self) -> bool:
        """Whether it succeeded or was stopped."""
        return self.verdict in ENDED_WELL

    def require(self) -> Result:
        """Itself, if the run ended well or was stopped. Raises `RunFailed` otherwise."""
        if not self.ok:
            raise RunFailed(self)
        return self

    @property
    def message(self) -> str:
        """One sentence that says how the run ended, and where it failed."""
        return self.data["message"]

    @property
    def output(self) -> str:
        """The last part of what the code wrote to stdout and stderr."""
        return self.data["output"]

    @property
    def artifacts(self) -> list[Artifact]:
        """The files that the program left, if the start message asked for artifacts."""
        return self.data.get("objects", {}).get("artifacts", [])

    @property
    def id(self) -> str | None:
        """The job."""
        return self.data.get("id")

    @property
    def run_id(self) -> str | None:
        """The run."""
        return self.data.get("run_id")
