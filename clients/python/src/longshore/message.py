"""The start message of a directory or a zip. Pure, except for reading start.json."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import CodeError
from .models import StartMessage

# The runtime of a script by its extension.
RUNTIMES = {".py": "python3.11", ".js": "nodejs20", ".mjs": "nodejs20", ".cjs": "nodejs20", ".sh": "shell"}
# The extensions that are looked for, one group after the other: a shell script is often a tool beside a program.
EXTENSIONS = ((".py", ".js", ".mjs", ".cjs"), (".sh",))
# Scripts that are found without being named, after the one that is called like its kind.
USUAL_NAMES = ("main", "index")
# Fields that a file cannot set for a run of its own.
SEPARATE = ("file_path", "code_sha256", "run_id")


def complete(fields: Mapping[str, Any], names: Sequence[str], default_id: str) -> dict[str, Any]:
    """A start message, filled in with what follows from the fields that are there and the files in the zip."""
    message = {key: value for key, value in fields.items() if value is not None}
    message.setdefault("config", {})
    is_bot = message.setdefault("is_long_running", message.get("entrypoint") == "bot")
    message.setdefault("persist_results", not is_bot)
    kind = message.setdefault("entrypoint", "bot" if is_bot else "backtest")
    scripts = message.setdefault("entrypoint_files", {})
    if kind not in scripts:
        message["entrypoint_files"] = {**scripts, kind: find_script(kind, names)}
    script = message["entrypoint_files"][kind]
    if "runtime" not in message:
        extension = Path(script).suffix
        if extension not in RUNTIMES:
            raise CodeError(f"no runtime is known for {script}: name one, such as runtime='python3.11'")
        message["runtime"] = RUNTIMES[extension]
    message.setdefault("id", f"{default_id}-{uuid.uuid4().hex[:12]}")
    message.setdefault("run_id", uuid.uuid4().hex)
    return message


def find_script(kind: str, names: Sequence[str]) -> str:
    """The script at the top of the zip that is meant, if none was named."""
    for extensions in EXTENSIONS:
        for stem in (kind, *USUAL_NAMES):
            for extension in extensions:
                if stem + extension in names:
                    return stem + extension
    wanted = ", ".join(f"{stem}.py" for stem in (kind, *USUAL_NAMES))
    found = ", ".join(sorted(names)[:10]) or "nothing"
    raise CodeError(
        f"there is no script for a {kind}: looked for {wanted} and the like, and found {found}. "
        f"Name it: entrypoint_files={{{kind!r}: 'path/in/the/zip.py'}}"
    )


def read_start_file(directory: Path) -> dict[str, Any]:
    """The fields of the directory's start.json, if it has one, that hold for every run of it."""
    path = directory / "start.json"
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CodeError(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CodeError(f"{path} is not a JSON object")
    return {key: value for key, value in fields.items() if key not in SEPARATE}


def job_name(text: str) -> str:
    """A name that can begin a job's id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:100] or "job"


def body_of(message: StartMessage | Mapping[str, Any]) -> bytes:
    """The message as bytes. The same message always gives the same bytes."""
    try:
        return json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise CodeError(f"the start message cannot be written as JSON: {error}") from error


def refusal_id(message_id: str, body: bytes) -> str:
    """The id of the event that refuses this message, and no other one."""
    name = message_id.encode()
    digest = hashlib.sha256(b"\1" + len(name).to_bytes(8, "big") + name + body).hexdigest()
    return f"refused/{digest[:32]}"


def new_trace() -> str:
    """A new trace, as W3C Trace Context."""
    return f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
