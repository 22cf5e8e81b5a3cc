"""Packing a directory: the same files give the same zip, whenever and wherever."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pathspec

from .errors import CodeError

# Never packed: version control, compiled files, and the files in which secrets are kept.
NEVER = [
    ".git/",
    ".hg/",
    ".svn/",
    "__pycache__/",
    "*.pyc",
    ".DS_Store",
    ".venv/",
    ".env",
    ".env.*",
    ".longshoreignore",
]
# The first of them that is there says what else is left out, as in Git.
IGNORE_FILES = (".longshoreignore", ".gitignore")
# Git leaves dependencies out, and a run needs them.
DEPENDENCIES = ("vendor/", "node_modules/")
# The program that installs packages in the runtime's own image.
PROGRAM = "longshore"
# The bounds of a worker with default settings (CODE_MAX_ENTRIES, CODE_MAX_EXTRACTED_MB, CODE_MAX_ARCHIVE_MB).
MAX_FILES = 50_000
MAX_BYTES = 1024 * 1024 * 1024
MAX_ARCHIVE_BYTES = 256 * 1024 * 1024
# The earliest time that a zip can name.
TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Code:
    """A zip, ready to be stored."""

    body: bytes
    names: tuple[str, ...]
    """Its files."""

    @property
    def sha256(self) -> str:
        """Its hash, in hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def key(self) -> str:
        """Where it is stored: the same bytes are stored once."""
        return f"code/{self.sha256}.zip"


def pack(path: str | os.PathLike[str], *, install: bool = True, runtime: str | None = None) -> Code:
    """Packs a directory, or reads a zip.

    Where `install` is set, the packages that a directory names and does not have are installed by the program
    `longshore`, for this runtime or the one of its start.json.
    """
    place = Path(path)
    if place.is_dir():
        names_packages = _without_packages(place) if install else None
        return _pack_directory(place) if names_packages is None else _pack_with_packages(names_packages, runtime)
    try:
        body = place.read_bytes()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = tuple(info.filename for info in archive.infolist() if not info.is_dir())
    except OSError as error:
        raise CodeError(f"{place} cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise CodeError(f"{place} is neither a directory nor a zip: {error}") from error
    return _checked(Code(body, names), place)


def _without_packages(root: Path) -> Path | None:
    """The file that names packages which are not in the directory, if there is one."""
    requirements, lock = root / "requirements.txt", root / "package-lock.json"
    if requirements.is_file() and not (root / "vendor").exists():
        lines = (line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
        if any(lines):
            return requirements
    return lock if lock.is_file() and not (root / "node_modules").exists() else None


def _pack_with_packages(file: Path, runtime: str | None) -> Code:
    program = shutil.which(PROGRAM)
    if program is None:
        raise CodeError(
            f"the packages of {file} are not in the directory: have the program {PROGRAM} on the PATH, which "
            f"installs them, give the zip that `{PROGRAM} pack` made elsewhere, or use install=False to go without"
        )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "code.zip"
        command = [program, "pack", str(file.parent), "--to", str(archive)]
        command += [] if runtime is None else ["--runtime", runtime]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if ended.returncode != 0:
            raise CodeError(f"`{PROGRAM} pack {file.parent}` failed: {ended.stderr.strip()}")
        return pack(archive)


def _pack_directory(root: Path) -> Code:
    buffer, names, size = io.BytesIO(), [], 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in _files(root):
            mode = 0o755 if file.stat().st_mode & 0o111 else 0o644
            info = zipfile.ZipInfo(name, TIME)
            info.external_attr = (0o100000 | mode) << 16
            info.create_system = 3  # Unix, whatever packs it
            info.compress_type = zipfile.ZIP_DEFLATED
            content = file.read_bytes()
            size += len(content)
            names.append(name)
            if size > MAX_BYTES or len(names) > MAX_FILES:
                raise CodeError(
                    f"{root} has more than {MAX_FILES} files or {MAX_BYTES >> 20} MB: leave some out with "
                    "a .longshoreignore"
                )
            archive.writestr(info, content)
    if not names:
        raise CodeError(f"there is no file to pack in {root}")
    return _checked(Code(buffer.getvalue(), tuple(names)), root)


def _checked(code: Code, place: Path) -> Code:
    if len(code.body) > MAX_ARCHIVE_BYTES:
        raise CodeError(
            f"{place} is {len(code.body) >> 20} MB as a zip, and workers take {MAX_ARCHIVE_BYTES >> 20} MB "
            "by default (CODE_MAX_ARCHIVE_MB)"
        )
    return code


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """The files to pack, by name. Links are followed where they stay in the directory."""
    is_ignored = _ignored(root)
    real_root = root.resolve()
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        below = Path(folder).relative_to(root)
        here = Path(folder).resolve()
        if real_root not in (here, *here.parents):
            raise CodeError(f"{folder} is a link that leaves the directory")
        if below.parts and any(here == (root / parent).resolve() for parent in below.parents):
            raise CodeError(f"{folder} is a link to a folder it lies in")
        folders[:] = [name for name in folders if not is_ignored(f"{(below / name).as_posix()}/")]
        for name in files:
            relative = (below / name).as_posix()
            if is_ignored(relative):
                continue
            file = root / relative
            if real_root not in file.resolve().parents or not file.is_file():
                raise CodeError(f"{file} is a link that leaves the directory, or leads nowhere")
            found.append((relative, file))
    yield from sorted(found)


def _ignored(root: Path) -> Callable[[str], bool]:
    """Which names are left out. A folder's name ends in a slash."""
    never = pathspec.GitIgnoreSpec.from_lines(NEVER)
    for file in IGNORE_FILES:
        if (root / file).is_file():
            also = pathspec.GitIgnoreSpec.from_lines((root / file).read_text(encoding="utf-8").splitlines())
            kept = DEPENDENCIES if file == ".gitignore" else ()
            return lambda name: never.match_file(name) or (not name.startswith(kept) and also.match_file(name))
    return never.match_file
