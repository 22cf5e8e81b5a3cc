"""What a program gets by `import longshore`: its config, state, artifacts, progress, series, whether it must stop.

launch.py finds this file only where there is no other, so a package of this name that the program brings wins. The form of the
state's file is in crates/longshore-job/src/state/file.rs.
"""

import hashlib
import json
import os
import re
import select
import signal
import sys
import threading

__all__ = ["artifact", "config", "metric", "progress", "state", "stopping"]

HEADER = 128
MARK = b"longshore-state 1 "
NAME = re.compile("[A-Za-z_][A-Za-z0-9_.:/-]{0,63}")


def __getattr__(name):
    if name == "config":
        return _config()
    if name == "state":
        return globals().setdefault("state", State())
    raise AttributeError(f"module 'longshore' has no attribute {name!r}")


def _config():
    """The config of the start message: in main, what main was given."""
    given = getattr(getattr(sys.modules["__main__"], "Run", None), "given", None)
    if given is not None:
        return given
    with open(os.environ["CONFIG_FILE"], encoding="utf-8") as file:
        return json.load(file)


def artifact(path):
    """The place for an artifact with this path. Its folders are made."""
    folder = os.environ.get("ARTIFACTS_DIR")
    if not folder:
        raise RuntimeError('the start message asks for no artifacts: add "artifacts": {} to it, or --artifacts')
    place = os.path.normpath(os.path.join(folder, path))
    if not place.startswith(f"{folder}/"):
        raise ValueError(f"{os.fspath(path)!r} leads out of the directory of artifacts")
    os.makedirs(os.path.dirname(place), exist_ok=True)
    return place


def progress(percent, text=""):
    """Says how far the program is: a number from 0 to 100, and perhaps a text."""
    _say(f"progress {float(percent):.6g} {' '.join(str(text).split())}".rstrip())


def metric(name, value, at=None):
    """Adds a point to the series of this name. `at` is where it is, if not at the present: a number, a date or a time."""
    if not NAME.fullmatch(name) or name == "progress":
        raise ValueError(f"{name!r} is no name for a series")
    if hasattr(at, "isoformat"):
        at = at.isoformat()
    _say(f"metric {name} {float(value)!r} {'' if at is None else ' '.join(str(at).split())}".rstrip())


def _say(text):
    # In one piece, so that no other thread writes into the line.
    sys.stdout.write(f"::longshore {text}\n")
    sys.stdout.flush()


class State(dict):
    """What this bot has kept, and keeps for its next attempt or run once `save` is called."""

    def __init__(self):
        super().__init__()
        self._file, self._saving = os.environ.get("STATE_FILE"), threading.Lock()
        self._most = int(os.environ.get("STATE_MAX_KB", 0)) << 10
        if self._file:
            with open(self._file, "rb") as file:
                content = file.read()
            kept = list(self._slots(content))
            newest = max((slot for slot in kept if slot[1] is not None), default=None)
            text = newest[1] if newest else content.strip()
            value = json.loads(text) if text else {}
            if not isinstance(value, dict):
                raise TypeError(f"the state that was kept is no object, but a {type(value).__name__}")
            self.update(value)

    def save(self):
        """Keeps the state as it is now. It must be JSON, and at most so large as the start message says."""
        if not self._file:
            raise RuntimeError('the start message asks for no state: add "state": {} to it, or --state')
        text = json.dumps(self, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        is_too_large = len(text) > self._most
        with self._saving, open(self._file, "r+b", buffering=0) as file:
            slots = list(self._slots(file.read()))
            number = max((number for number, _, _ in slots), default=0) + 1
            # Never the place of the newest that is good. At first that is the text of the worker, at the beginning.
            _, _, good = max((slot for slot in slots if slot[1] is not None), default=(0, b"", 0))
            place = HEADER + self._most if good == 0 else 0
            os.pwrite(file.fileno(), slot_of(number, len(text), b"" if is_too_large else text), place)
        if is_too_large:
            kb = self._most >> 10
            raise ValueError(f"the state has {len(text)} bytes, more than the {self._most} of state.max_kb={kb}")

    def _slots(self, content):
        """The slots that are whole: number, text (None for one that was refused), place."""
        for place in (0, HEADER + self._most):
            header = content[place : place + HEADER]
            fields = header[len(MARK) :].split()
            if not header.startswith(MARK) or len(header) < HEADER or len(fields) != 3:
                continue
            try:
                number, length = int(fields[0], 16), int(fields[1], 16)
            except ValueError:
                continue
            is_too_large = length > self._most
            text = b"" if is_too_large else content[place + HEADER : place + HEADER + length]
            if content[place : place + HEADER] == slot_of(number, length, text)[:HEADER]:
                yield number, None if is_too_large else text, place


def slot_of(number, length, text):
    head = b"%016x %08x" % (number, length)
    hashed = hashlib.sha256(head + b"\n" + text).hexdigest().encode()
    return (MARK + head + b" " + hashed).ljust(HEADER - 1) + b"\n" + text


class Stopping:
    """Whether the run must stop. From the first use on, a stop no longer interrupts main: it is to end by itself."""

    def __init__(self):
        self._is_set, self._pipe = False, None

    def is_set(self):
        self._begin()
        return self._is_set

    def wait(self, seconds=None):
        """Waits for a stop, for so many seconds at most. Says whether there was one."""
        self._begin()
        if not self._is_set:
            poll = select.poll()
            poll.register(self._pipe[0], select.POLLIN)
            poll.poll(None if seconds is None else max(0, seconds * 1000))
        return self._is_set

    def _begin(self):
        if self._pipe is not None:
            return
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("longshore.stopping must be used in the main thread first")
        self._pipe = os.pipe()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, *_):
        if not self._is_set:
            self._is_set = True
            os.write(self._pipe[1], b"\0")  # nobody reads it: whoever waits sees it


stopping = Stopping()
