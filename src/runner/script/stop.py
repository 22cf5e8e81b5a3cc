"""How a run ends on SIGTERM. Loaded by launch.py when the first one comes.

The signal is raised in main as an exception. A `finally:` may take its time. But a bare `except:` that
swallows the exception has it raised again, a `with` that waits for its threads or processes is
interrupted, and once main has ended, what it left behind does not hold the run up.
"""

import os
import signal
import sys
import threading
import time

# All in seconds. Together they stay below 2 where nothing cleans up.
LOOK = 0.1  # between two looks at how main takes it
AGAIN = 0.4  # a main that is at work as before by then has swallowed it
GIVE_UP = 0.8  # what it has after that
EXECUTORS = 0.4  # the wait of an executor's `with` for work that does not hear of the signal
JOINS = 5.0  # a join in a `finally:`, whose thread may have been told to end
CHILD = 0.8  # the same for a child process, until it is told to end as well
LINGER = 0.8  # threads, executors and functions of atexit, once main has ended
FLUSH = 0.3  # what another thread may hold the output for
CHILDREN = 0.3  # from SIGTERM to SIGKILL of child processes
REMINDER = signal.SIGRTMAX

# What main waits in, by the module of a frame and its function; None is any function.
WAITS = {
    ("threading", "join"): JOINS,
    ("subprocess", None): JOINS,
    ("multiprocessing.process", "join"): JOINS,
    ("asyncio.runners", "_cancel_all_tasks"): JOINS,
    ("multiprocessing.pool", None): EXECUTORS,
    ("concurrent.futures._base", None): EXECUTORS,
    ("concurrent.futures.thread", None): EXECUTORS,
    ("concurrent.futures.process", None): EXECUTORS,
    ("asyncio.runners", "close"): EXECUTORS,
}
FOR_CHILDREN = {"subprocess", "multiprocessing.process"}
WAITING = ("threading", "subprocess", "multiprocessing", "concurrent", "asyncio", "selectors", "queue", "contextlib")
EVENT_LOOP = {"asyncio.base_events", "asyncio.events", "asyncio.selector_events", "asyncio.unix_events"}


class Stopping:
    def __init__(self, run):
        self.run = run
        self.raised = self.swallowed = self.waiting = None  # since when
        self.cancelled = False
        self.told_children = False
        signal.signal(REMINDER, self.look)
        try:
            threading.Thread(target=self.remind, daemon=True).start()
        except RuntimeError:  # none can be had: then it is raised once
            pass

    def remind(self):
        while not self.run.main_is_over:
            time.sleep(LOOK)
            signal.pthread_kill(threading.main_thread().ident, REMINDER)

    def look(self, _, frame):
        """Runs in the main thread, in the middle of whatever main is doing."""
        now = time.monotonic()
        if self.run.main_is_over:
            return
        if self.raised is not None:
            if self.swallowed is not None and now - self.swallowed > GIVE_UP:
                self.leave()
            if self.is_handled():
                patience, is_for_child = self.patience(frame)
                self.waiting = None if patience is None else self.waiting or now
                if is_for_child and now - self.waiting > CHILD:
                    self.tell_children()
                if patience is None or now - self.waiting < patience:
                    return
                self.waiting = None
            elif now - self.raised < AGAIN:
                return
            else:
                self.swallowed = self.swallowed or now
        self.tell_main(frame, now)

    def tell_main(self, frame, now):
        task = self.run.task
        if task is not None:
            from asyncio import current_task

            loop = task.get_loop()
            if current_task(loop) is None:  # it waits at an await: cancelling is enough
                self.raised, self.cancelled = now, True
                loop.call_soon_threadsafe(task.cancel)
                return
        if frame is not None and frame.f_globals.get("__name__") in EVENT_LOOP:
            return  # raised here, it could take a step of a task with it, which then never ends: at the next look
        self.raised = now
        raise self.run.Terminated(128 + signal.SIGTERM)

    def is_handled(self):
        """Whether a `finally:`, an `except:` or a `with` is at work on it."""
        error = sys.exc_info()[1]
        for _ in range(50):
            if isinstance(error, self.run.Terminated):
                return True
            if self.cancelled and type(error).__name__ == "CancelledError":
                return True
            if error is None:
                break
            error = error.__context__
        task = self.run.task
        if task is None:
            return False
        from asyncio import all_tasks

        return any(is_cleaning_up(it) for it in all_tasks(task.get_loop()))

    def patience(self, frame):
        """How long main may stay where it is: None where it does not just wait for something of its own.
        And whether that is a child process."""
        found, is_for_child = None, False
        while frame is not None:
            module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
            if module.split(".")[0] not in WAITING:
                break
            is_for_child = is_for_child or module in FOR_CHILDREN
            for place in ((module, function), (module, None)):
                if place in WAITS:
                    found = min(found or JOINS, WAITS[place])
            frame = frame.f_back
        return found, is_for_child

    def tell_children(self):
        """SIGTERM once: nobody may have told them that it is time to end."""
        if not self.told_children:
            self.told_children = True
            kill_all(signal.SIGTERM)

    def leave_soon(self):
        """Main has ended. What it left behind may still end by itself."""

        def wait():
            time.sleep(LINGER)
            self.leave()

        try:
            threading.Thread(target=wait, daemon=True).start()
        except RuntimeError:
            self.leave()

    def leave(self, code=None):
        """Ends the process, and its children with it; what was printed is printed."""
        run = self.run
        if not run.main_is_over:
            run.main_is_over, run.code = True, 128 + signal.SIGTERM
            run.settle(run.terminated, run.code)
        try:
            last = threading.Thread(target=self.flush, daemon=True)
            last.start()
            last.join(FLUSH)
        except RuntimeError:
            self.flush()
        self.end_children()
        os._exit(run.code if code is None else code)

    def flush(self):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        self.run.print_line()

    def end_children(self):
        """SIGTERM and then SIGKILL for all processes that this one began, directly or not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            kill_all(number)
            deadline = time.monotonic() + CHILDREN
            while number == signal.SIGTERM and descendants() and time.monotonic() < deadline:
                time.sleep(0.02)


def kill_all(number):
    for child in descendants():
        try:
            os.kill(child, number)
        except OSError:
            pass


def is_cleaning_up(task):
    """Whether a task waits within a `finally:`, an `except:` or the end of a `with`."""
    try:
        from dis import _parse_exception_table as handlers
    except ImportError:
        return True  # rather leave it in peace
    it = task.get_coro()
    while it is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(it, f"{kind}_frame")), None)
        if kind is None:
            return False
        frame = getattr(it, f"{kind}_frame")
        # What handles an exception is guarded by an entry that remembers where it was raised.
        if frame is not None and any(each.lasti and each.start <= frame.f_lasti < each.end for each in handlers(frame.f_code)):
            return True
        it = getattr(it, f"{kind}_await" if kind != "gi" else "gi_yieldfrom")
    return False


def descendants():
    parents = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            parents[int(name)] = int(parent)
    found, new = set(), {os.getpid()}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found
