"""What went wrong in the user's code: printed whole, and as a sentence for the result.

Loaded by launch.py when something did.
"""

import errno
import os
import sys

DEEPEST = 20  # causes that are followed
MAX_NOTE = 2048  # bytes of the exit note after which none is added: the worker reads 4,096
MAX_SAID = 1024  # bytes of a sentence in it


def tell(error, is_ours, root, own):
    """Prints an error, and answers its sentence. One of ours is a sentence already."""
    if is_ours:
        return said(error, own)
    show(error, root, own)
    text, advice = sentence(error), next(filter(None, (advise(it, root) for it in chain(error))), None)
    if advice:
        print(f"longshore: {advice}", file=sys.stderr)
        text = f"{text} ({advice})"
    note(text, own)
    return text


def said(text, own):
    """Prints a sentence and notes it."""
    print(text, file=sys.stderr)
    note(str(text), own)
    return str(text)


def note(text, own):
    """Adds a sentence to the exit note: the result's message tells it, also of a bot, which has no result."""
    line = b"said " + " ".join(text.split()).encode("utf-8", "replace")[:MAX_SAID] + b"\n"
    try:
        file = os.open(os.path.join(own, "exit-note"), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if os.fstat(file).st_size < MAX_NOTE:
                os.write(file, line)
        finally:
            os.close(file)
    except OSError:  # then the message is the exit code alone
        pass


def show(error, root, own):
    trace = error.__traceback__  # from the user's first frame on: ours would only distract
    while trace and not is_users(trace.tb_frame.f_code.co_filename, root, own):
        trace = trace.tb_next
    error.__traceback__ = trace
    try:  # the user's own hook, where there is one
        sys.excepthook(type(error), error, trace)
    except Exception:
        sys.__excepthook__(type(error), error, trace)


def is_users(file, root, own):
    return file.startswith(root + os.sep) and not file.startswith(own + os.sep)


def sentence(error):
    """The error itself, and what was at the beginning of it."""
    first, text = root_cause(error), one(error)
    if first is error or one(first) in text:
        return text
    return f"{text} (caused by {one(first)})"


def root_cause(error):
    *_, last = chain(error)
    return last


def chain(error):
    """An error, what caused it, what caused that. Of a group, its first."""
    for _ in range(DEEPEST):
        yield error
        inner = getattr(error, "exceptions", None) if isinstance(error, BaseExceptionGroup) else None
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        error = inner[0] if inner else cause
        # A pool of processes hangs the traceback of its worker behind an error, as text.
        if error is None or type(error).__name__.endswith("RemoteTraceback"):
            return


def one(error):
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} in {error.filename}, line {error.lineno}: {error.msg}"
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    try:
        said = str(error)
    except Exception:
        said = "<it cannot be told>"
    return "\n".join([f"{name}: {said}" if said else name, *map(str, getattr(error, "__notes__", ()))])


def advise(error, root):
    """What to do about an error that comes from the bounds of a job; None for others."""
    number, said = getattr(error, "errno", None), str(error)
    if number in (errno.EROFS, errno.EACCES, errno.EPERM) and isinstance(error, OSError):
        return read_only(error.filename, root)
    if type(error).__module__ == "sqlite3" and ("unable to open" in said or "readonly" in said):
        return read_only(None, root)
    if number in (errno.EBUSY, errno.EXDEV) and "result.json" in f"{error.filename} {error.filename2}":
        return "write result.json in place: no other file can be put there"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "/tmp is all that a job can write, and it is in memory: its size is BOT_TMP_MB"
    if number == errno.EFBIG:
        return "the size of a file is bounded by BOT_FILE_SIZE_LIMIT_MB, and that of /tmp by BOT_TMP_MB"
    if number in (errno.EMFILE, errno.ENFILE):
        return "the number of open files is bounded by BOT_OPEN_FILES_LIMIT"
    if "can't start new thread" in said or (number == errno.EAGAIN and "fork" in repr(error.__traceback__ and last_name(error))):
        return "the number of threads and processes is bounded by limits.pids of the start message and BOT_PIDS_LIMIT"
    return None


def last_name(error):
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_name


def read_only(file, root):
    file = os.path.abspath(os.fsdecode(file)) if isinstance(file, (str, bytes)) else root
    if file == root or file.startswith(root + os.sep):
        return f"write to /tmp instead: {root} is read-only unless the worker's setting BOT_READ_ONLY_CODE is false"
    if file.startswith("/tmp/"):
        return None
    return "write to /tmp instead: all else is read-only unless the worker's setting BOT_READ_ONLY_ROOT is false"
