"""Compiles the Python files below a folder, and writes their byte code into a zip.

Longshore runs this in a container of a job's image, once for each zip: `python -I -c … FOLDER ZIP SECONDS BYTES`.
The byte code goes where Python looks for it, below `__pycache__`, and needs no file times: it bears the hash of
its source, which is not checked again, for both are read-only. What cannot be compiled is left out, and runs as
it would without this. So is what is not done within the time, or does not fit into the zip: tests come last.
"""

import importlib.util
import os
import py_compile
import sys
import time
import zipfile

SCRATCH = "/tmp/longshore.pyc"
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
IS_BY_HASH = 1  # in the flags of a file of byte code


def sources(root):
    """The Python files below a folder: those of tests last, for no program imports them."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py") and os.path.isfile(path) and not os.path.islink(path):
                is_test = not {"test", "tests"}.isdisjoint(path.split(os.sep))
                found.append((is_test, path))
    return [path for _, path in sorted(found)]


def is_there(cached):
    """Whether the zip brought byte code of its own that counts whatever the files' times are."""
    try:
        with open(cached, "rb") as file:
            head = file.read(8)
    except OSError:
        return False
    return len(head) == 8 and bool(head[4] & IS_BY_HASH)


def main(root, to, seconds, max_bytes):
    ends = time.monotonic() + float(seconds)
    done = left_out = 0
    with open(to, "r+b") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sources(root):
            cached = importlib.util.cache_from_source(path)
            if is_there(cached):
                continue
            if time.monotonic() > ends or out.tell() + os.path.getsize(path) > int(max_bytes):
                left_out += 1
                continue
            try:
                py_compile.compile(path, cfile=SCRATCH, doraise=True, quiet=2, invalidation_mode=UNCHECKED)
            except Exception:  # whatever it is, Python says so when the program imports the file
                left_out += 1
                continue
            archive.write(SCRATCH, os.path.relpath(cached, root))
            done += 1
    print(done, left_out)


main(*sys.argv[1:])
