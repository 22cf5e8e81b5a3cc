"""From whatever main returned to JSON. Loaded by launch.py where the value is not plain already.

What JSON has no word for becomes the nearest that it has. What has no such word is named, and the
rest is kept.
"""

import base64
import json
import math
import operator
import os
import sys

NAMED = 5  # of what cannot be told, this many are named
DEEPEST = 200  # each takes four frames of the 1,000 that the stack has; the worker reads 128
COMPACT = {"ensure_ascii": False, "separators": (",", ":")}
FUNCTIONS = {"function", "builtin_function_or_method", "method", "partial", "module", "type"}
LAZY = (type(_ for _ in ()), map, filter, zip, range, reversed, enumerate)


class CannotTell(Exception):
    pass


def read(text):
    """The value in a file, and whether the file is strict JSON as it is. ValueError where it is none."""
    strict = not text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))

    def constant(name):  # NaN and the infinities
        nonlocal strict
        strict = False

    value = json.loads(text, parse_constant=constant)
    try:
        text.decode()
    except UnicodeDecodeError:
        strict = False
    return value, strict


def encode(value):
    """The value's text, and a sentence about what of it could not be told."""
    plain = Plain()
    try:
        rest = plain.of(value, "result", 0)
        text = plain.text(rest)
    except Exception as error:  # a conversion of the user's own failed
        rest, text = None, "null"
        plain.problems.append(f"{type(error).__name__}: {error}")
    if not plain.problems:
        return text, None
    more = len(plain.problems) - NAMED
    message = "the result is not JSON: " + "; ".join(plain.problems[:NAMED]) + (f"; and {more} more" if more > 0 else "")
    told = json.dumps({"status": "error", "message": message}, **COMPACT)
    if rest is None:
        return told, message
    return f'{told[:-1]},"result":{text}}}', f"{message}; the rest of it is kept"


class Plain:
    def __init__(self):
        self.problems = []
        self.above = []  # ids of what is being converted, outermost first
        self.mark = f"\x00{os.urandom(8).hex()}:"  # begins a text that stands for a number
        self.marked = False

    def text(self, value):
        text = json.dumps(value, **COMPACT)
        if self.marked:
            import re

            text = re.sub(re.escape(json.dumps(self.mark)[:-1]) + '([^"]*)"', r"\1", text)
        return text

    def of(self, value, path, depth):
        """The value in JSON's own types; null, and a problem noted, where it has none."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        try:
            if id(value) in self.above:
                raise CannotTell("contains itself")
            if depth > DEEPEST:
                raise CannotTell("is nested too deeply")
            self.above.append(id(value))
            try:
                return self.convert(value, path, depth + 1)
            finally:
                self.above.pop()
        except CannotTell as problem:
            self.problems.append(f"{path} {problem}")
        except MemoryError:
            raise
        except Exception as error:  # of a conversion of the user's own
            self.problems.append(f"{path} cannot be converted: {type(error).__name__}: {error}")
        return None

    def convert(self, value, path, depth):
        kind, name = type(value), type(value).__name__
        if name in ("NaTType", "NAType"):
            return None
        if is_a("enum", "Enum", value):
            return self.of(value.value, path, depth)
        if isinstance(value, (str, int)):
            return str.__str__(value) if isinstance(value, str) else int(value)
        if isinstance(value, dict) or is_a("collections.abc", "Mapping", value):
            return {self.key(key, path): self.of(item, f"{path}.{key}", depth) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return self.list(value, path, depth)
        if isinstance(value, (bytes, bytearray, memoryview)):
            value = bytes(value)
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
        if is_a("decimal", "Decimal", value):
            if not value.is_finite():
                return None
            self.marked = True
            return f"{self.mark}{value}"
        if is_a("datetime", "timedelta", value) and not hasattr(value, "isoformat"):
            return duration(value)
        if hasattr(value, "isoformat"):  # dates, times, and pandas' own
            return value.isoformat()
        if isinstance(value, BaseException):
            return f"{name}: {value}" if str(value) else name
        if isinstance(value, (set, frozenset)) or is_a("collections.abc", "Set", value):
            try:
                return self.list(sorted(value), path, depth)
            except TypeError:  # of more than one kind
                return self.list(sorted(value, key=repr), path, depth)
        if isinstance(value, type) or name in FUNCTIONS:
            raise CannotTell(f"is {a(name)}")
        return self.of_a_library(value, kind, path, depth)

    def of_a_library(self, value, kind, path, depth):
        name = kind.__name__
        bases = {base.__name__ for base in kind.__mro__}  # libraries derive their own from pandas
        if "DataFrame" in bases and hasattr(value, "reset_index"):
            if type(value.index).__name__ != "RangeIndex":
                value = value.reset_index()
            columns = [self.key(column, path) for column in value.columns]
            rows = zip(*(value.iloc[:, number].tolist() for number in range(len(columns)))) if columns else ()
            return [{key: self.of(item, f"{path}[{row}].{key}", depth) for key, item in zip(columns, items)} for row, items in enumerate(rows)]
        if "Series" in bases and type(getattr(value, "index", None)).__name__ not in ("NoneType", "RangeIndex", "method"):
            keys, items = value.index.tolist(), value.tolist()
            if value.index.is_unique:
                return {self.key(key, path): self.of(item, f"{path}.{key}", depth) for key, item in zip(keys, items)}
            return self.list(list(zip(keys, items)), path, depth)
        if getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m") and hasattr(value, "astype"):
            # numpy counts nanoseconds as bare numbers: as dates first
            unit = "datetime64[us]" if value.dtype.kind == "M" else "timedelta64[us]"
            if not hasattr(value, "index") and hasattr(value, "view"):
                return self.of(value.astype(unit).tolist(), path, depth)
        for method in ("tolist", "to_dicts", "to_pylist", "as_py", "model_dump", "to_list"):
            if hasattr(value, method):
                listed = getattr(value, method)()
                if type(listed) is not kind:
                    return self.of(listed, path, depth)
        if kind.__module__.split(".")[0] == "pandas":  # periods, intervals, offsets
            return str(value)
        if hasattr(kind, "__dataclass_fields__"):
            return {key: self.of(getattr(value, key), f"{path}.{key}", depth) for key in kind.__dataclass_fields__ if hasattr(value, key)}
        if hasattr(kind, "__attrs_attrs__"):
            return {it.name: self.of(getattr(value, it.name), f"{path}.{it.name}", depth) for it in kind.__attrs_attrs__}
        if hasattr(kind, "__struct_fields__"):  # msgspec
            return {key: self.of(getattr(value, key), f"{path}.{key}", depth) for key in kind.__struct_fields__}
        for method in ("to_dict", "dict") if hasattr(kind, "__fields__") else ("to_dict",):  # pydantic 1, plotly, and so on
            if callable(getattr(kind, method, None)):
                return self.of(getattr(value, method)(), path, depth)
        if hasattr(kind, "__fspath__"):
            return os.fsdecode(value)
        if is_a("types", "SimpleNamespace", value):
            return {key: self.of(item, f"{path}.{key}", depth) for key, item in vars(value).items()}
        if name in ("UUID", "ZoneInfo", "timezone") or kind.__module__ == "ipaddress":
            return str(value)
        for protocol, convert in (("__index__", operator.index), ("__float__", float)):
            if hasattr(kind, protocol):
                return self.of(convert(value), path, depth)
        if isinstance(value, LAZY) or is_a("collections.abc", "Sequence", value) or is_a("collections", "deque", value):
            return self.list(value, path, depth)
        if hasattr(kind, "__iter__") and hasattr(kind, "__len__"):
            return self.list(value, path, depth)
        if hasattr(kind, "__await__"):
            raise CannotTell(f"is {a(name)} that was not awaited")
        raise CannotTell(f"is of type {name}")

    def list(self, items, path, depth):
        return [self.of(item, f"{path}[{number}]", depth) for number, item in enumerate(items)]

    def key(self, key, path):
        """A key as text: as json does it, and for what json does not take as the value would be."""
        if isinstance(key, str) and not is_a("enum", "Enum", key):
            return str.__str__(key)
        before = len(self.problems)
        value = self.of(key, f"{path} has a key that", 0)
        if len(self.problems) > before:
            self.problems[before:] = [f"{path} has a key of type {type(key).__name__}: {key!r}"]
            return repr(key)
        text = value if isinstance(value, str) else self.text(value)
        return text.removeprefix(self.mark)


def is_a(module, name, value):
    """Whether it is an instance of a class, whose module is not imported for that."""
    module = sys.modules.get(module)
    return module is not None and isinstance(value, getattr(module, name))


def a(name):
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def duration(value):
    """ISO 8601, in seconds."""
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    seconds, rest = divmod(abs(micros), 1_000_000)
    return f"{'-' if micros < 0 else ''}PT{seconds}" + (f".{rest:06}".rstrip("0") if rest else "") + "S"
