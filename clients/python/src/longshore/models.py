"""The types of Longshore's messages, generated from its schemas by clients/generate.py."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


Entrypoint = Literal["bot", "backtest"]
"""The two kinds of program. The kind is also the name of the code's directory."""

Goal = Literal["max", "min"]
"""Whether the largest or the smallest value is best."""

GridAxis = list[Any] | dict[str, Any]
"""The values of one key of a grid: a list, or a range of numbers, both ends included."""

Isolation = Literal["fork", "isolate", "shared", "process"]
"""How the configs of a sweep are kept apart."""

JobId = str
"""1 to 128 letters, digits, '_' and '-'; the first is a letter or a digit."""

Network = Literal["host", "bridge", "none"]
"""The container's network."""

RestartWhen = Literal["on_failure", "always"]
"""After which ends code is run again."""

RunId = str
"""1 to 128 letters, digits, '_' and '-'; the first is a letter or a digit."""

Runtime = str
"""The name of a runtime. Built in are python3.11, nodejs20, python3.12, python3.13, nodejs22, nodejs24, shell and
binary; an operator may add others.
"""

SampleAxis = dict[str, Any]
"""From where a key takes its random values."""

ResultStatus = Literal["running", "success", "error"]
"""A coarse status, for readers that do not need the verdict."""

State = Literal[
    "accepted",
    "preparing",
    "running",
    "restarting",
    "unhealthy",
    "stopping",
    "finished",
    "duplicate",
    "not_running",
]
"""Where a job is on its way."""

Verdict = Literal[
    "succeeded",
    "failed",
    "timed_out",
    "out_of_memory",
    "stopped",
    "cancelled",
    "rejected",
    "unavailable",
    "lost",
]
"""How a run ended. Every run ends in exactly one."""

LineStream = Literal["stdout", "stderr"]
"""Which of its two outputs a container wrote to."""


class ArtifactsRequest(TypedDict):
    """How many artifacts there may be. By default, and at most, what the worker's settings say."""

    max_files: NotRequired[int | None]
    """Files."""
    max_mb: NotRequired[int | None]
    """What they may hold together, in MiB. They lie in the container's memory until it ends."""


class BestRequest(TypedDict):
    """Which rows are the best. Only configs that succeeded count. Of equal values, the lower number comes first,
    and rows without the value come last.
    """

    by: str
    """A number of the result: the name of a field, or a JSON Pointer."""
    goal: NotRequired[Goal]
    """Whether the largest or the smallest is best."""
    keep: NotRequired[int]
    """How many rows the result event names."""


class HealthCheck(TypedDict):
    """A command that the engine runs inside the container to tell whether it is well."""

    command: list[str]
    """The program and its arguments, at most 64 KiB in all. Exit code 0 means well."""
    interval_seconds: NotRequired[int]
    """Seconds between two checks. The worker's settings say how few there may be."""
    retries: NotRequired[int]
    """Failed checks in a row that make the container unhealthy."""
    start_period_seconds: NotRequired[int]
    """Seconds after the start in which failures do not count."""
    timeout_seconds: NotRequired[int]
    """Seconds after which a check counts as failed."""


class Input(TypedDict):
    """An object of the inputs bucket, and where the program finds it."""

    key: str
    """Its key in the inputs bucket. It does not end in a slash and has no backslash."""
    path: str
    """Where it is: a path relative to the code, with `/` between its parts. With `unpack` it is a folder. It may
    lie in a folder of the code, but not in place of one of its files.
    """
    sha256: NotRequired[str | None]
    """SHA-256 of the object, in hexadecimal. Checked when given. Where a worker has these bytes already, it does
    not ask the store.
    """
    unpack: NotRequired[bool]
    """Whether the object is a zip or a tar (plain, or packed with gzip or Zstandard) whose content is to be in the
    folder `path`. By default it is a file, whatever is in it.
    """


class LimitsRequest(TypedDict):
    """Resources that a message asks for. By default the worker's settings."""

    cpu_shares: NotRequired[int | None]
    """Relative weight when processors are scarce; 1,024 is one full share."""
    cpus: NotRequired[float | None]
    """Processors at most, for example 0.5."""
    memory_mb: NotRequired[int | None]
    """Memory in MiB."""
    pids: NotRequired[int | None]
    """Processes and threads at most."""


class RestartPolicy(TypedDict):
    """Whether, and how often, code that ended by itself is run again."""

    backoff_seconds: NotRequired[int]
    """Seconds to wait before the first restart; doubled for each further one, up to 5 minutes."""
    max_restarts: NotRequired[int]
    """How often at most."""
    when: RestartWhen
    """After which ends."""


class SampleRequest(TypedDict):
    """Random configs."""

    keys: dict[str, SampleAxis]
    """From where each key takes its values. A key is written as in a grid."""
    n: int
    """How many."""
    seed: NotRequired[int]
    """What the values depend on, together with a config's number and the key."""


class StateRequest(TypedDict):
    """The state that a bot keeps across attempts, runs and workers."""

    max_kb: NotRequired[int | None]
    """The most that it may have as JSON, in KiB. By default, and at most, the worker's setting."""
    reset: NotRequired[bool]
    """Whether this run begins without what earlier runs of the job kept. Its own later attempts have what it keeps
    itself.
    """


class SweepRequest(TypedDict):
    """Runs the code once for each of many configs. Exactly one of `grid`, `configs`, `sample` and `configs_key`
    says which. Each is laid over the message's `config` by RFC 7396 (JSON Merge Patch): objects are merged, any
    other value replaces the one there, and null removes it.
    """

    best: NotRequired[BestRequest | None]
    """Which rows are the best."""
    configs: NotRequired[list[dict[str, Any]] | None]
    """These configs, one after the other."""
    configs_key: NotRequired[str | None]
    """The key of an object in the code bucket with a config on each line (JSON Lines). It must not change while
    the sweep runs.
    """
    configs_sha256: NotRequired[str | None]
    """SHA-256 of that object, in hexadecimal. Checked when given."""
    grid: NotRequired[dict[str, GridAxis] | None]
    """Every combination of these values. The last key changes fastest. A key is a field of `config`, or a JSON
    Pointer through objects, such as `/risk/stop`.
    """
    isolation: NotRequired[Isolation | None]
    """How configs are kept apart. By default `fork` for Python and `isolate` for Node.js."""
    max_failures: NotRequired[int | None]
    """After how many configs that did not succeed the sweep ends as `failed`. By default never."""
    parallel: NotRequired[int | None]
    """How many configs run at a time. By default as many as the container has processors."""
    sample: NotRequired[SampleRequest | None]
    """Random configs. The same seed gives the same configs everywhere."""
    timeout_seconds: NotRequired[int | None]
    """Seconds after which a config is ended as `timed_out`. By default only the run's own `timeout_seconds` holds,
    for all configs together.
    """


class StartMessage(TypedDict):
    """A start message: what to run, and how. Debug output shows no values of config and environment."""

    artifacts: NotRequired[ArtifactsRequest | None]
    """Asks for artifacts: files that the program leaves in the directory `ARTIFACTS_DIR` are stored when it ends,
    and listed in the result event.
    """
    code_sha256: NotRequired[str | None]
    """SHA-256 of the zip, in hexadecimal. Checked when given."""
    config: dict[str, Any]
    """Passed to the code unchanged."""
    entrypoint: Entrypoint
    """Which of the entrypoint files to run."""
    entrypoint_files: dict[str, str]
    """The script of each entrypoint, relative to the archive's root."""
    env: NotRequired[dict[str, str]]
    """More environment variables, at most 1,000, with 512 KiB in all. Those by which the shell, the loader or an
    interpreter runs or loads something before the script are refused, and so are those that the worker sets.
    """
    file_path: str
    """The key of the zip in the code bucket. It does not end in a slash and has no backslash."""
    health_check: NotRequired[HealthCheck | None]
    """How to tell whether a bot is well."""
    id: JobId
    """The job's id. One job of an id runs at a time."""
    inputs: NotRequired[list[Input]]
    """Objects of the inputs bucket that the program finds among its own files, read-only. At most as many, and
    together as large, as the worker's settings allow.
    """
    is_long_running: bool
    """`true`: runs until it is stopped. `false`: runs to its end and returns a result."""
    limits: NotRequired[LimitsRequest | None]
    """Resources. By default, and at most, what the worker's settings say."""
    log_interval_seconds: NotRequired[int | None]
    """Seconds between two shipments of log lines. By default the worker's setting."""
    max_attempts: NotRequired[int | None]
    """How often a terminating run is tried when its host dies or our infrastructure fails."""
    network: NotRequired[Network | None]
    """The container's network. By default the worker's setting."""
    persist_results: bool
    """Whether a terminating run's result.json is stored as `{id}/analysis.json`."""
    restart: NotRequired[RestartPolicy | None]
    """Whether code that ended by itself is run again. By default never."""
    run_id: NotRequired[RunId | None]
    """The id of this execution. By default derived from the message's `message_id`."""
    runtime: Runtime
    """What the program runs in: a language with its version, or a program of its own."""
    secrets: NotRequired[list[str]]
    """What must not be seen in logs, results and events: names of variables in `env`, and places of texts in
    `config` as JSON Pointers, such as `/exchange/api_key`. Each text must have 4 to 8,192 bytes.
    """
    state: NotRequired[StateRequest | None]
    """Asks for a state: the program finds what it kept last in the file `STATE_FILE`, and keeps there what its
    next attempt, or the next run of the job, is to find. Only for runs that last until they are stopped.
    """
    sweep: NotRequired[SweepRequest | None]
    """Runs the code once for each of many configs. Only for runs that end by themselves."""
    timeout_seconds: NotRequired[int | None]
    """Seconds after which the run is ended as `timed_out`. By default the worker's setting for terminating runs,
    and none for long-running ones.
    """


class StopMessage(TypedDict):
    """A stop message."""

    id: JobId
    """The job to stop."""
    reason: NotRequired[str | None]
    """Why, for the result event."""
    run_id: NotRequired[RunId | None]
    """Only this run of the job. By default the active run."""
    timeout_seconds: NotRequired[int]
    """Seconds between SIGTERM and SIGKILL."""


class Artifact(TypedDict):
    """A file that a program left, and where it is."""

    bytes: int
    """Its size."""
    content_type: str
    """Its type, by its file extension."""
    key: str
    """Its key in the results bucket."""
    path: str
    """Its path in the directory of artifacts."""
    sha256: str
    """Its SHA-256, in hexadecimal."""


class BestRow(TypedDict):
    """One of the best rows. Of config and result only the numbers, texts and truth values; the names of those in
    objects are joined by dots.
    """

    config: dict[str, Any]
    """What differs from the message's `config`."""
    index: int
    """The config's number."""
    result: dict[str, Any]
    """What its code returned."""
    value: NotRequired[float]
    """The value by which it is ranked. Absent if the result has none."""


class BestSoFar(TypedDict):
    """The best row so far."""

    index: int
    """The config's number."""
    value: float
    """The value by which it is the best."""


class ExecutionResult(TypedDict):
    """Everything that is known about a run when it has ended."""

    attempt: int
    """Which attempt ended like this; the first is 1. 0 if none began."""
    container_id: NotRequired[str]
    """The engine's id of the container. Absent when none was made."""
    duration_seconds: float
    """Seconds from the container's start to its end."""
    entrypoint: NotRequired[Entrypoint]
    """The kind of program."""
    error: NotRequired[str]
    """Why the run did not succeed."""
    exit_code: NotRequired[int]
    """The exit code of the container. Absent when none ran."""
    finished_at: str
    """When the run ended."""
    id: NotRequired[JobId]
    """The job. A refusal leaves it out if the message is too broken to name one, or if the named job is active:
    readers would take the refusal for the end of that job's run.
    """
    is_long_running: bool
    """As the message said."""
    message: str
    """One sentence that says how the run ended, and where it failed."""
    metadata: NotRequired[dict[str, str]]
    """Further facts, such as the image that ran."""
    objects: StoredObjects
    """Where the whole result and the logs are."""
    output: str
    """The last part of what the code wrote to stdout and stderr, in order of arrival."""
    resources: NotRequired[ResourceUse]
    """What the container used."""
    result: NotRequired[Any]
    """The code's result.json, unless it is too large for an event or was not written."""
    run_id: NotRequired[RunId]
    """The run. A refusal leaves it out, because the run that a refused message names may belong to another
    message, with a result of its own.
    """
    segment: NotRequired[int]
    """The segment that owned the run."""
    started_at: NotRequired[str]
    """When the container started."""
    status: ResultStatus
    """Coarse status."""
    sweep: NotRequired[SweepSummary]
    """What came of a sweep."""
    verdict: NotRequired[Verdict]
    """How the run ended. Absent only while it runs."""
    worker: str
    """The name of the worker."""


class ProgramProgress(TypedDict):
    """How far a program says that it is. It also has the fields of a sweep's progress that are always there,
    because readers of version 0.2.0 need them.
    """

    done: int
    """`percent`, rounded down."""
    failed: int
    """Always 0."""
    per_second: float
    """Always 0."""
    percent: float
    """How far, from 0 to 100, with at most two decimals."""
    text: NotRequired[str]
    """What the program says about it, at most 200 characters, with secrets masked."""
    total: int
    """Always 100."""


class ResourceUse(TypedDict):
    """What a container used, as far as the engine could tell."""

    cpu_seconds: NotRequired[float]
    """Processor time in seconds."""
    peak_memory_bytes: NotRequired[int]
    """The most memory it held, in bytes, cached files included."""


class SeriesSummary(TypedDict):
    """A series in short."""

    last: float
    """The newest."""
    name: str
    """Its name."""
    points: int
    """How many points there were."""


class Status(TypedDict):
    """The payload of a status event."""

    attempt: int
    """Which attempt; the first is 1. 0 before the first."""
    container_id: NotRequired[str]
    """The engine's id of the container, once there is one."""
    entrypoint: NotRequired[Entrypoint]
    """The kind of program."""
    id: JobId
    """The job."""
    message: NotRequired[str]
    """More about it, in one sentence."""
    progress: NotRequired[RunProgress]
    """How far the run is, in state `running`, at most once a second: what its program says, or what a sweep
    counts.
    """
    run_id: NotRequired[RunId]
    """The run, if the message named one or it is known."""
    segment: NotRequired[int]
    """The segment that owns the run."""
    state: State
    """Where the job is."""
    verdict: NotRequired[Verdict]
    """How the run ended, in state `finished`."""
    worker: str
    """The name of the worker."""


class StoredObjects(TypedDict):
    """Where a run's objects are: keys in the buckets of the object store."""

    artifacts: NotRequired[list[Artifact]]
    """The files that the program left as artifacts, in the results bucket."""
    csv_key: NotRequired[str]
    """The same as a table, in CSV: a column for each number or text of config and result."""
    log_keys: NotRequired[list[str]]
    """The daily logs, in the logs bucket."""
    output_key: NotRequired[str]
    """The whole output of a terminating run, in the results bucket."""
    result_key: NotRequired[str]
    """The whole result.json, in the results bucket."""
    rows_key: NotRequired[str]
    """The rows of a sweep in the order of its configs, as JSON Lines, in the results bucket."""
    series: NotRequired[list[SeriesSummary]]
    """These series in short."""
    series_key: NotRequired[str]
    """The series that the program measured in its last attempt, in the results bucket: a line of JSON for each
    point. Those of earlier attempts are beside it.
    """


class SweepProgress(TypedDict):
    """How far a sweep is."""

    best: NotRequired[BestSoFar]
    """The best row so far, if the message says what is best."""
    done: int
    """How many configs have a row."""
    failed: int
    """How many of these did not succeed."""
    per_second: float
    """Rows a second, of late."""
    seconds_left: NotRequired[float]
    """How many seconds the rest may take. Absent until that can be said."""
    total: int
    """How many there are."""


class SweepSummary(TypedDict):
    """What came of a sweep."""

    best: NotRequired[list[BestRow]]
    """The best rows, the best first, as far as they fit into 64 KiB."""
    done: int
    """How many have a row."""
    failed: int
    """How many of these did not succeed."""
    total: int
    """How many configs there are. 0 if that is not known."""
    verdicts: dict[str, int]
    """How many rows there are of each verdict."""


class StatusEvent(TypedDict):
    """A job moved on."""

    data: Status
    datacontenttype: Literal["application/json"]
    """Always `application/json`."""
    id: str
    """The same for every publication of the same event, so readers can drop repeats. The id of a refused message
    begins with `refused/` and is made from the whole message, so it is never the end of a run.
    """
    source: str
    """The source: `/longshore/{namespace}/segments/{n}`."""
    specversion: Literal["1.0"]
    """Always `1.0`."""
    subject: NotRequired[str]
    """The job's id, as in the payload. Absent if the payload has none."""
    time: str
    """When it happened."""
    traceparent: NotRequired[str]
    """The trace of the message that started the run, as W3C Trace Context."""
    type: Literal["longshore.job.status.v1"]


class ResultEvent(TypedDict):
    """A run ended."""

    data: ExecutionResult
    datacontenttype: Literal["application/json"]
    """Always `application/json`."""
    id: str
    """The same for every publication of the same event, so readers can drop repeats. The id of a refused message
    begins with `refused/` and is made from the whole message, so it is never the end of a run.
    """
    source: str
    """The source: `/longshore/{namespace}/segments/{n}`."""
    specversion: Literal["1.0"]
    """Always `1.0`."""
    subject: NotRequired[str]
    """The job's id, as in the payload. Absent if the payload has none."""
    time: str
    """When it happened."""
    traceparent: NotRequired[str]
    """The trace of the message that started the run, as W3C Trace Context."""
    type: Literal["longshore.job.result.v1"]


class LiveLine(TypedDict):
    """One line."""

    piece: int
    """The number of the piece that completed it."""
    text: str
    """Its text, with secrets masked."""
    time: str
    """When the engine received it: RFC 3339, in UTC with nanoseconds."""


LogLines = TypedDict(
    "LogLines",
    {
        "attempt": "int",
        "entrypoint": "Entrypoint",
        "from": "int",
        "id": "JobId",
        "lines": "list[LiveLine]",
        "run_id": "RunId",
        "stream": "LineStream",
        "to": "int",
    },
)
"""Lines that a container has just written to one of its outputs. The lines of a container come in order. `from`
and `to` count the pieces of output that the engine delivered. If the `from` of a message is beyond the `to` of
the message before, lines between them were not sent, for example because nobody listened. Those are in the
object store.
"""

RunProgress = ProgramProgress | SweepProgress
"""How far a run is."""

Event = StatusEvent | ResultEvent
"""One event, as a CloudEvent. A reader ignores what it does not know: more may come."""
