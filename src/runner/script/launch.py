"""Longshore's launcher for Python: calls `main(id, config)` of the user's script.

It stands at {root}/.longshore/launch.py, {root} being the job's directory. However the
call ends becomes an exit code and, for a run that is meant to end, {root}/result.json:

    main returned a value         the value                    exit code 0
    main returned None            what it wrote there itself, or else
                                  {"status": "success", …}     exit code 0
    an exception                  {"status": "error", …}       exit code 1
    sys.exit(n)                   {"status": "error", …}       exit code n
    SIGTERM                       {"status": "terminated", …}  exit code 143

A SIGTERM handler of the user's own takes the launcher's place: then the run ends as they say.
What few runs need stands in files beside this one and is loaded when it is needed, to start fast.
"""

import atexit
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import sys

OWN = os.path.dirname(os.path.abspath(__file__))
TERMINATED = 128 + signal.SIGTERM
PACKAGE = "longshore_program"  # what relative imports of a script at the top are relative to
DEAF = "longshore:job"  # the name of a process that has not heard of SIGTERM: see crates/longshore-init
COMPACT = {"ensure_ascii": False, "separators": (",", ":")}


class Terminated(SystemExit):
    """SIGTERM, raised in the main thread so that every `finally:` runs.

    A SystemExit, because that is what asyncio passes on instead of pinning it to a task.
    """


class Refused(Exception):
    """The script cannot be called; the message is a sentence for its author."""


def own(name):
    """A module beside this file. Not imported: a signal's handler must not wait for an import's lock."""
    path = os.path.join(OWN, f"{name}.py")
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    module = type(sys)(name)
    exec(code, module.__dict__)
    return module


if __name__ == "__main__" and "LONGSHORE_WARM" in os.environ:  # then the job's directory is in two places
    own("warm").take_job(TERMINATED)
ROOT = "/" + os.environ["CODE_MOUNT_DIR"] if OWN == "/backtest/.longshore" else os.path.dirname(OWN)
RESULT = f"{ROOT}/result.json"


class Script:
    """The user's script as a module that can be imported by its name, also by child processes.

    Its `__name__` is its stem, and not "__main__": Longshore calls `main`.
    """

    def __init__(self, path):
        self.path = path
        self.name = os.path.splitext(os.path.basename(path))[0].replace(".", "_")
        if self.name in sys.stdlib_module_names:
            self.name = f"{self.name}_script"

    def find_spec(self, name, path=None, target=None):
        """The import system asks for this, for it stands in `sys.meta_path`."""
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=Loader(name, self.path))
        if name == "longshore" and not importlib.machinery.PathFinder.find_spec(name):  # or it is the program's own
            return importlib.util.spec_from_file_location(name, f"{OWN}/longshore.py")
        if name == PACKAGE:
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations.append(os.path.dirname(self.path))
            return spec
        return None

    def load(self, may_lack_main):
        """Runs the script, and answers its main; None where it makes its result without one."""
        if not os.path.isfile(self.path):
            raise Refused(f"there is no script at {self.path}")
        spec = self.find_spec(self.name)
        code = spec.loader.get_code(self.name)
        missing = Refused(f"{self.path} has no function main(id, config)")
        # Nearly every script has a `def main`. Only of others it takes a closer look before they run.
        has_main = any(getattr(const, "co_name", None) == "main" for const in code.co_consts)
        if not has_main and not own("call").may_bind_main(self.source()):
            if not may_lack_main or b"result.json" not in self.source():
                raise missing
            may_lack_main, has_main = True, None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        module.__package__ = self.package()
        if has_main is None:  # a plain script, which runs as such
            module.__name__ = "__main__"
        exec(code, module.__dict__)
        if has_main is None:
            return None
        main = getattr(module, "main", None)
        if not callable(main):
            raise missing
        return main

    def source(self):
        with open(self.path, "rb") as file:
            return file.read()

    def package(self):
        """The package that its relative imports are meant for, where it has any."""
        if not re.search(rb"^\s*from\s+\.", self.source(), re.MULTILINE):
            return ""
        parts = os.path.relpath(os.path.dirname(self.path), ROOT).split(os.sep)
        return ".".join(parts) if all(part.isidentifier() for part in parts) else PACKAGE


class Loader(importlib.machinery.SourceFileLoader):
    """Loads the script into a child process."""

    def exec_module(self, module):
        module.__package__ = SCRIPT.package()
        super().exec_module(module)


def __getattr__(name):
    """What a pickle made elsewhere looks for in `__main__` is found in the script."""
    if SCRIPT is None or name.startswith("__"):
        raise AttributeError(f"module '__main__' has no attribute '{name}'")
    return getattr(importlib.import_module(SCRIPT.name), name)


class Run:
    Terminated, TERMINATED = Terminated, TERMINATED

    def __init__(self):
        self.kind = "Bot" if os.environ.get("ENTRYPOINT_TYPE") == "bot" else "Backtest"
        self.wants_result = os.environ.get("IS_LONG_RUNNING") != "true"
        self.success = {"status": "success", "message": f"{self.kind} executed successfully"}
        self.terminated = {"status": "terminated", "message": f"{self.kind} execution terminated by signal"}
        self.line = b""  # the result, until it is printed
        self.result = RESULT  # where it is written
        self.prints = True
        self.arguments = sys.argv[1:]  # none but of a sweep's own
        self.has_main = True
        self.task = None  # what runs an asynchronous main
        self.stopping = None  # what the first SIGTERM began
        self.main_is_over = self.ended = False  # ended: and the result is written

    def start(self):
        set_handler(signal.SIGTERM, self.on_sigterm)
        bear(DEAF)
        signal.signal = self.users_signal
        os.register_at_fork(before=self.before_fork, after_in_parent=self.unmask, after_in_child=self.in_child)
        atexit.register(self.last)  # first to register, last to run
        if self.wants_result:
            try:  # an old file is not this run's result
                open(self.result, "wb").close()
            except OSError:
                pass
        pack = own("artifacts").Artifacts(OWN).pack if "ARTIFACTS_DIR" in os.environ else bool
        try:
            result, code = self.outcome(self.call_main)
        except Terminated:  # it came while an exception was told
            result, code = self.terminated, TERMINATED
        self.main_is_over = True
        self.code = self.settle(result, code)
        pack()
        self.ended = True
        if self.stopping is not None:
            self.stopping.leave_soon()
        return self.code

    def outcome(self, work):
        """The result, None where main returned nothing, and the exit code."""
        try:
            value = work()
        except Terminated:
            return self.terminated, TERMINATED
        except SystemExit as stop:
            return self.exited(stop.code)
        except BaseException as error:
            return failure(self.tell(error)), 1
        return (failure(self.tell(value)), 1) if isinstance(value, BaseException) else (value, 0)

    def call_main(self):
        os.chdir(ROOT)
        path = [os.path.join(ROOT, "vendor"), ROOT, os.path.dirname(SCRIPT.path)]
        sys.path[:] = dict.fromkeys(path + [entry for entry in sys.path if entry != OWN])
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path + ([inherited] if inherited else [])))
        sys.argv[:] = [SCRIPT.path]
        sys.meta_path.insert(0, SCRIPT)
        is_sweep = os.path.exists(f"{OWN}/sweep")
        main = SCRIPT.load(may_lack_main=self.wants_result and not is_sweep)
        if main is None:
            self.has_main = False
            return None
        if is_sweep:
            return own("sweep").run(self, main, OWN)
        return self.give(main, read_config())

    def give(self, main, config):
        """Calls main, and answers what it gives."""
        given = os.environ["ID"], config
        Run.given = config
        if takes_two(main):
            value = main(*given)
        else:
            values, named = own("call").arguments(main, *given, Refused)
            value = main(*values, **named)
        if hasattr(type(value), "gi_frame"):
            return own("call").drained(value, self.wants_result)
        if hasattr(type(value), "__await__") or hasattr(type(value), "ag_frame"):
            return own("call").waited_for(self, value)
        return value

    def exited(self, code):
        """What the user's own sys.exit(code) means."""
        if code is not None and not isinstance(code, int):
            return self.written_error() or failure(own("errors").said(code, OWN)), 1
        code = (code or 0) & 0xFF
        return (self.written_error() or failure(f"exited with code {code}")) if code else None, code

    def tell(self, error):
        """Prints what went wrong, and answers a sentence of it."""
        try:
            return own("errors").tell(error, isinstance(error, Refused), ROOT, OWN)
        except Exception:  # as where no file can be opened any more
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return f"{type(error).__name__}: {error}"

    def users_signal(self, number, handler):
        """What the user's own code finds as `signal.signal`: a handler of its own may take its time."""
        previous = set_handler(number, handler)
        if number == signal.SIGTERM:
            bear(DEAF if handler == self.on_sigterm else "python")
        return previous

    def on_sigterm(self, _, frame):
        bear("python")
        first = self.stopping is None
        if first:
            try:
                self.stopping = own("stop").Stopping(self)
            except Exception:
                self.stopping = None
                raise Terminated(TERMINATED) from None
        if self.ended or not first:  # only threads are left, or it is the second signal
            self.stopping.leave(TERMINATED)
        self.stopping.look(None, frame)

    def before_fork(self):
        # Python forgets the signals that reach a child before it has settled in: hold them back.
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def unmask(self):
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def in_child(self):
        """A forked child ends as any process does, and the result is not its business."""
        self.wants_result, self.line, self.stopping = False, b"", None
        if signal.getsignal(signal.SIGTERM) == self.on_sigterm:
            set_handler(signal.SIGTERM, signal.SIG_DFL)
        self.unmask()

    def settle(self, result, code):
        """Writes result.json where one is wanted, and answers the exit code."""
        if not self.wants_result:
            return code
        handler = set_handler(signal.SIGTERM, signal.SIG_IGN)  # nothing tears the file
        try:
            is_there = False
            if result is None:
                result, is_there, code = self.written(code)
            self.line, code = encode(result, code)
            if not is_there:  # in place: it is all that can be written here
                with open(self.result, "wb") as file:
                    file.write(self.line)
        except OSError as error:
            print(f"cannot write {self.result}: {error}", file=sys.stderr)
            code = code or 1
        set_handler(signal.SIGTERM, handler or signal.SIG_DFL)
        return code

    def written(self, code):
        """The result of a program that returned nothing, whether it wrote the file itself, the exit code."""
        with open(self.result, "rb") as file:
            text = file.read()
        if not text.strip():
            if self.has_main:
                return self.success, False, code
            message = f"{SCRIPT.path} has no function main(id, config), and wrote no result.json"
            return failure(self.tell(Refused(message))), False, 1
        try:
            return *own("result").read(text), code
        except ValueError as error:
            refused = Refused(f"the result.json that the program wrote is not valid JSON: {error}")
            return failure(self.tell(refused)), False, 1

    def written_error(self):
        """The error that a program wrote itself before it exited."""
        try:
            with open(self.result, "rb") as file:
                value, _ = own("result").read(file.read()) if self.wants_result else (None, False)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) and value.get("status") == "error" else None

    def last(self):
        """Runs when all else has: threads are joined, functions of atexit have run."""
        self.print_line()
        if self.stopping is not None:
            self.stopping.end_children()

    def print_line(self):
        line, self.line = self.line, b""
        if not self.prints:
            return
        try:
            sys.__stdout__.flush()
            sys.__stdout__.buffer.write(line and line + b"\n")
            sys.__stdout__.flush()
        except (OSError, RuntimeError, ValueError, AttributeError):  # stdout is closed, or in use
            pass


set_handler = signal.signal


def bear(name):
    """A name for this process, which the shell that started it looks at."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(name)
    except OSError:  # then the shell waits for as long as the worker does
        pass


def takes_two(main):
    """Whether main is what nearly all are: a function of two parameters, in the usual order."""
    code = getattr(main, "__code__", None)
    return (
        type(main) is type(own)
        and code.co_argcount == 2
        and code.co_kwonlyargcount == 0
        and code.co_varnames[1] != "id"
        and len(main.__defaults__ or ()) < 2
        and not hasattr(main, "__wrapped__")
    )


def read_config():
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)  # integers of any length
    try:
        with open(os.environ["CONFIG_FILE"], encoding="utf-8") as file:
            return json.load(file)
    finally:
        sys.set_int_max_str_digits(digits)


Run.set_handler, Run.bear, Run.read_config = map(staticmethod, (set_handler, bear, read_config))


def failure(message):
    return {"status": "error", "message": message}


def encode(result, code):
    """The result as a line of JSON, and the exit code."""
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:  # nearly every result is plain already, and this is the fast way to see it
        text = json.dumps(result, allow_nan=False, **COMPACT)
    except (TypeError, ValueError, RecursionError):
        text, problem = own("result").encode(result)
        if problem:
            print(problem, file=sys.stderr)
            code = code or 1
    finally:
        sys.set_int_max_str_digits(digits)
    return text.encode("utf-8", "replace"), code


SCRIPT = Script(os.environ["SCRIPT_PATH"]) if "SCRIPT_PATH" in os.environ else None

if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(Run().start())
elif SCRIPT is not None:  # a child that multiprocessing spawned: it may import the script
    sys.meta_path.insert(0, SCRIPT)
