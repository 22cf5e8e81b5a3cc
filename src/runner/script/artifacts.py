"""Packs what a program left in ARTIFACTS_DIR into the one file that the worker made for it.

Loaded by launch.py where the start message asks for artifacts. The form of the file is in
crates/longshore-job/src/artifacts.rs.
"""

import json
import os
import shutil
import signal
import sys

FOLDER, MAX_MB, MAX_FILES = (os.environ.get(f"ARTIFACTS_{name}") for name in ("DIR", "MAX_MB", "MAX_FILES"))
SHOWN = 3  # of what was left out, this many are named


class Artifacts:
    def __init__(self, own):
        self.file, self.process = os.path.join(own, "artifacts"), os.getpid()
        os.makedirs(FOLDER, exist_ok=True)

    def pack(self):
        if os.getpid() != self.process:  # a child's end is not the run's
            return
        handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing tears the file
        try:
            with open(self.file, "r+b") as out:  # in place: it is all that can be written here
                left_out = self.write(out)
                end = {"end": True, **({"left_out": left_out} if left_out else {})}
                out.write(json.dumps(end).encode() + b"\n")
            if left_out:
                print(f"longshore: artifacts were left out: {left_out}", file=sys.stderr)
        except OSError as error:
            print(f"longshore: the artifacts cannot be packed: {error}", file=sys.stderr)
        signal.signal(signal.SIGTERM, handler)

    def write(self, out):
        """Writes every file for which there is room; answers a sentence about the others."""
        room, left, refused = int(MAX_MB) << 20, int(MAX_FILES), []
        for name, path in sorted(found()):
            try:
                with open(path, "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    if size > room or not left or not is_text(name):
                        refused.append(name)
                        continue
                    out.write(json.dumps({"path": name, "bytes": size}).encode() + b"\n")
                    before = out.tell()
                    shutil.copyfileobj(file, Exactly(out, size))
                    out.write(bytes(size - (out.tell() - before)))  # it has become shorter meanwhile
            except OSError as error:
                refused.append(f"{name} ({error.strerror})")
                continue
            room, left = room - size, left - 1
        if not refused:
            return None
        named = ", ".join(map(shown, refused[:SHOWN])) + (" and more" if len(refused) > SHOWN else "")
        return f"{len(refused)} beyond artifacts.max_mb={MAX_MB} or artifacts.max_files={MAX_FILES}, or not readable: {named}"


class Exactly:
    """Takes so many bytes, and no more: a file may grow while it is read."""

    def __init__(self, out, size):
        self.out, self.left = out, size

    def write(self, piece):
        self.out.write(piece[: self.left])
        self.left -= min(self.left, len(piece))


def found():
    """The regular files below the folder, by their names there."""
    for at, _, names in os.walk(FOLDER):
        for name in names:
            path = os.path.join(at, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield os.path.relpath(path, FOLDER), path


def is_text(name):
    return name.isprintable() and "\\" not in name and len(name.encode("utf-8", "surrogatepass")) <= 512


def shown(name):
    return name.encode("ascii", "backslashreplace").decode()[:100]
