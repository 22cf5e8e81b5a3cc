"""Longshore's launcher for Python: calls `main(id, config)` of the user's script.

It stands at {root}/.longshore/launch.py, {root} being the job's directory. However the
call ends becomes an exit code and, for a run that is meant to end, {root}/result.json:

    main returned a value         the value                    exit code 0
    main returned None            {"status": "success", …}     exit code 0
    an exception                  {"status": "error", …}       exit code 1
    sys.exit(n)                   {"status": "error", …}       exit code n
    SIGTERM                       {"status": "terminated", …}  exit code 143

A SIGTERM handler of the user's own takes the launcher's place: then the run ends as they say.
"""

import atexit
import contextlib
import importlib.machinery
import importlib.util
import json
import math
import operator
import os
import signal
import sys
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULT = os.path.join(ROOT, "result.json")
TERMINATED = 128 + signal.SIGTERM
RETRY = 0.1  # seconds: the handler has ended by then, on a busy host too
EVENT_LOOP = {"asyncio.base_events", "asyncio.events", "asyncio.selector_events", "asyncio.unix_events"}


class Terminated(SystemExit):
    """SIGTERM, raised in the main thread so that every `finally:` runs.

    A SystemExit, because that is what asyncio passes on instead of pinning it to a task.
    """


class Refused(Exception):
    """The script cannot be called; the message is a sentence for its author."""


class Run:
    def __init__(self):
        self.kind = "Bot" if os.environ.get("ENTRYPOINT_TYPE") == "bot" else "Backtest"
        self.wants_result = os.environ.get("IS_LONG_RUNNING") != "true"
        self.success = {"status": "success", "message": f"{self.kind} executed successfully"}
        self.terminated = {"status": "terminated", "message": f"{self.kind} execution terminated by signal"}
        self.line = b""  # the result, until it is printed
        self.task = None  # what runs an asynchronous main
        self.signalled = self.ended = False

    def start(self):
        signal.signal(signal.SIGTERM, self.on_sigterm)
        os.register_at_fork(before=self.before_fork, after_in_parent=self.unmask, after_in_child=self.in_child)
        atexit.register(self.print_line)  # first to register, last to run
        if self.wants_result:
            with contextlib.suppress(OSError):  # an old file is not this run's result
                open(RESULT, "wb").close()
        code = self.settle(*self.outcome())
        self.ended = True
        return code

    def outcome(self):
        try:
            value = self.call_main()
        except Terminated:
            return self.terminated, TERMINATED
        except SystemExit as stop:
            return self.exited(stop.code)
        except BaseException as error:
            print_error(error)
            return failure(sentence(error)), 1
        return self.success if value is None else value, 0

    def call_main(self):
        os.chdir(ROOT)
        script = os.environ["SCRIPT_PATH"]
        with open(os.environ["CONFIG_FILE"], encoding="utf-8") as file:
            config = json.load(file)
        own = [os.path.join(ROOT, "vendor"), ROOT, os.path.dirname(script)]
        launcher = os.path.dirname(os.path.abspath(__file__))
        sys.path[:] = list(dict.fromkeys(own + [path for path in sys.path if path != launcher]))
        sys.argv[:] = [script]
        value = load_main(script)(os.environ["ID"], config)
        return self.wait_for(value) if hasattr(type(value), "__await__") else value

    def wait_for(self, awaitable):
        import asyncio  # late: it is slow to import, and most scripts do without

        async def main_task():
            self.task = asyncio.current_task()
            try:
                return await awaitable
            finally:
                self.task = None

        try:
            return asyncio.run(main_task())
        except asyncio.CancelledError:
            if self.signalled:
                raise Terminated(TERMINATED) from None
            raise

    def exited(self, code):
        """What the user's own sys.exit(code) means."""
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            return failure(str(code)), 1
        code = (code or 0) & 0xFF
        return (failure(f"exited with code {code}") if code else self.success), code

    def on_sigterm(self, _, frame):
        if self.ended or self.signalled:  # only threads are left, or it is the second signal
            if not self.ended:
                self.settle(self.terminated, TERMINATED)
            self.print_line()
            os._exit(TERMINATED)  # not the default action, which process 1 of a container would not take
        self.signalled = True
        if self.task is not None:
            from asyncio import current_task

            loop = self.task.get_loop()
            if current_task(loop) is None:  # it waits at an await: cancelling is enough
                loop.call_soon_threadsafe(self.task.cancel)
                return
        if is_event_loops(frame):
            # Raised here, it could take a step of a task with it, which then never ends: a moment later.
            import threading

            with contextlib.suppress(RuntimeError):  # no thread can be had
                threading.Timer(RETRY, signal.pthread_kill, [threading.main_thread().ident, signal.SIGTERM]).start()
                self.signalled = False  # that one is the first
                return
        raise Terminated(TERMINATED)

    def before_fork(self):
        # Python forgets the signals that reach a child before it has settled in: hold them back.
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def unmask(self):
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def in_child(self):
        """A forked child ends as any process does, and the result is not its business."""
        self.wants_result, self.line = False, b""
        if signal.getsignal(signal.SIGTERM) == self.on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.unmask()

    def settle(self, result, code):
        """Writes result.json where one is wanted, and answers the exit code."""
        if not self.wants_result:
            return code
        handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing tears the file
        try:
            self.line = encode(result)
        except Exception as error:
            reason = "it is nested too deeply or contains itself" if isinstance(error, RecursionError) else error
            message = f"the result is not JSON: {reason}"
            print(message, file=sys.stderr)
            self.line, code = encode(failure(message)), 1
        try:  # in place: it is all that can be written here
            with open(RESULT, "wb") as file:
                file.write(self.line)
        except OSError as error:
            print(f"cannot write {RESULT}: {error}", file=sys.stderr)
            code = code or 1
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
        return code

    def print_line(self):
        line, self.line = self.line, b""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # stdout closed, or in use
            sys.__stdout__.flush()
            sys.__stdout__.buffer.write(line and line + b"\n")
            sys.__stdout__.flush()


def is_event_loops(frame):
    """Whether a frame is the event loop's own code, between two steps of the user's."""
    return frame is not None and frame.f_globals.get("__name__") in EVENT_LOOP


def load_main(path):
    if not os.path.isfile(path):
        raise Refused(f"there is no script at {path}")
    # The stem is its name, so that a child process can import it and `__name__` is not "__main__".
    name = os.path.splitext(os.path.basename(path))[0].replace(".", "_")
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name}_script"
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    main = getattr(module, "main", None)
    if not callable(main):
        raise Refused(f"{path} has no function main(id, config)")
    return main


def failure(message):
    return {"status": "error", "message": message}


def sentence(error):
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in {error.filename}, line {error.lineno}: {error.msg}"
    return "".join(traceback.format_exception_only(error)).strip()


def print_error(error):
    if isinstance(error, Refused):
        print(error, file=sys.stderr)
        return
    trace = error.__traceback__  # from the user's first frame on: ours would only distract
    while trace and not is_users(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def is_users(file):
    return file != __file__ and file.startswith(ROOT + os.sep)


def encode(result):
    try:  # nearly every result is plain already, and this is the fast way to see it
        text = json.dumps(result, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError):
        text = json.dumps(plain(result, "result"), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def plain(value, path):
    """The value in JSON's own types: NaN and the infinities become None, numpy's types Python's."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        for key in value:  # what json accepts as a key; it turns them into strings
            if not isinstance(key, (str, int, float, type(None))):
                raise TypeError(f"{path} has a key of type {type(key).__name__}: {key!r}")
        return {key: plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "tolist"):  # numpy's arrays and scalars, pandas' series
        listed = value.tolist()
        if type(listed) is not type(value):
            return plain(listed, path)
    for protocol, convert in (("__index__", operator.index), ("__float__", float)):
        if hasattr(type(value), protocol):
            return plain(convert(value), path)
    raise TypeError(f"{path} is of type {type(value).__name__}")


if __name__ == "__main__":  # not in the children that multiprocessing spawns
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(Run().start())
