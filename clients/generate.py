#!/usr/bin/env python3
"""Generates the clients' types from schemas/*.schema.json: one file for Python, one for TypeScript.

    clients/generate.py            writes them (`make schemas` does so)
    clients/generate.py --check    fails if a file is not what the schemas say

It knows what our schemas use, and refuses the rest. Bounds and patterns are left to the worker, which checks them.
"""

import json
import keyword
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "clients/python/src/longshore/models.py"
TYPESCRIPT = ROOT / "clients/typescript/src/models.ts"
WIDTH = 118

# The schemas in order, and what each describes.
SCHEMAS = {"start": "StartMessage", "stop": "StopMessage", "event": "Event", "log": "LogLines"}


def definitions():
    """All named types of all schemas. A type that several schemas have must be the same in each."""
    found = {}
    for name, title in SCHEMAS.items():
        schema = json.loads((ROOT / f"schemas/{name}.schema.json").read_text(encoding="utf-8"))
        for key, value in schema.get("$defs", {}).items():
            if found.setdefault(key, value) != value:
                sys.exit(f"schemas/{name}.schema.json: {key} is another type than in the schemas before")
        if title == "Event":
            found.update(events(schema))
        else:
            found[title] = schema
    return found


def events(schema):
    """An event is one of several kinds, which share the envelope: each becomes a type of its own."""
    kinds = {}
    for kind in schema["oneOf"]:
        name = kind["properties"]["type"]["const"].split(".")[2].capitalize() + "Event"
        kinds[name] = {
            "type": "object",
            "description": kind["description"],
            "properties": {**kind["properties"], **schema["properties"]},
            "required": kind["required"] + schema["required"],
        }
    union = {"description": schema["description"], "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds]}
    return {**kinds, "Event": union}


def is_record(schema):
    return schema.get("type") == "object" and "properties" in schema and not schema.get("patternProperties")


def members(schema):
    """Whether each property must be there, by its name."""
    required = set(schema.get("required", []))
    return [(name, value, name in required) for name, value in sorted(schema["properties"].items())]


class Language:
    """How a language writes types."""

    def type_of(self, schema):
        if schema is True or schema == {}:
            return self.anything
        if "$ref" in schema:
            return schema["$ref"].rsplit("/", 1)[1]
        for word in ["oneOf", "anyOf"]:
            if word in schema:
                return self.union([self.type_of(one) for one in schema[word]])
        if "const" in schema:
            return self.constant(schema["const"])
        if "enum" in schema:
            return self.union([self.constant(one) for one in schema["enum"]])
        kinds = schema.get("type")
        if kinds is None:
            return self.anything
        if isinstance(kinds, list):
            return self.union([self.type_of({**schema, "type": kind}) for kind in kinds])
        if kinds == "array":
            return self.array(self.type_of(schema.get("items", True)))
        if kinds == "object":
            return self.mapping(self.value_of(schema))
        return self.simple[kinds]

    def value_of(self, schema):
        """The type of a mapping's values."""
        rest = [*schema.get("patternProperties", {}).values()]
        if isinstance(schema.get("additionalProperties"), dict):
            rest.append(schema["additionalProperties"])
        kinds = list(dict.fromkeys(self.type_of(one) for one in rest))
        return self.union(kinds) if kinds else self.anything

    def union(self, types):
        return " | ".join(dict.fromkeys(types))


class Python(Language):
    anything = "Any"
    simple = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

    def constant(self, value):
        return f"Literal[{json.dumps(value)}]"

    def union(self, types):
        literals = [one[8:-1] for one in types if one.startswith("Literal[")]
        others = [one for one in types if not one.startswith("Literal[")]
        merged = [f"Literal[{', '.join(literals)}]"] if literals else []
        return super().union(merged + others)

    def array(self, item):
        return f"list[{item}]"

    def mapping(self, value):
        return f"dict[str, {value}]"

    def file(self, types):
        yield '"""The types of Longshore\'s messages, generated from its schemas by clients/generate.py."""\n'
        yield "from __future__ import annotations\n"
        yield "from typing import Any, Literal, NotRequired, TypedDict\n"
        # Python evaluates an alias when it reads it, so those of other types come after them.
        early = {name for name, schema in types.items() if "$ref" not in json.dumps(schema)}
        order = sorted(types, key=lambda name: 1 if is_record(types[name]) else 0 if name in early else 2)
        for name in order:
            yield from (self.record if is_record(types[name]) else self.alias)(name, types[name])

    def alias(self, name, schema):
        line = f"{name} = {self.type_of(schema)}"
        if len(line) > WIDTH:
            line = line.replace("[", "[\n    ", 1).replace(", ", ",\n    ")[:-1] + ",\n]"
        yield f"\n{line}"
        yield self.doc(schema, "")

    def record(self, name, schema):
        fields = members(schema)
        if any(keyword.iskeyword(field) for field, _, _ in fields):
            yield f"\n\n{name} = TypedDict(\n    \"{name}\",\n    {{"
            for field, value, is_required in fields:
                yield f'        "{field}": {self.field(value, is_required, quoted=True)},'
            yield "    },\n)"
            yield self.doc(schema, "")
            return
        yield f"\n\nclass {name}(TypedDict):\n{self.doc(schema, '    ')}\n"
        for field, value, is_required in fields:
            yield f"    {field}: {self.field(value, is_required)}\n{self.doc(value, '    ')}".rstrip("\n")

    def field(self, value, is_required, quoted=False):
        kind = self.type_of(value)
        kind = f'"{kind}"' if quoted else kind
        return kind if is_required else f"NotRequired[{kind}]"

    def doc(self, schema, indent):
        text = schema.get("description", "").replace('"""', "'''")
        if not text:
            return ""
        lines = textwrap.wrap(" ".join(text.split()), WIDTH - len(indent) - 6)
        inner = f"\n{indent}".join(lines)
        return f'{indent}"""{inner}"""' if len(lines) == 1 else f'{indent}"""{inner}\n{indent}"""'


class TypeScript(Language):
    anything = "unknown"
    simple = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}

    def constant(self, value):
        return json.dumps(value).replace('"', "'")

    def array(self, item):
        return f"({item})[]" if " " in item else f"{item}[]"

    def mapping(self, value):
        return f"{{ [key: string]: {value} }}"

    def file(self, types):
        yield "// The types of Longshore's messages, generated from its schemas by clients/generate.py."
        for name, schema in types.items():
            yield f"\n{self.doc(schema, '')}"
            if not is_record(schema):
                yield f"export type {name} = {self.type_of(schema)};"
                continue
            yield f"export interface {name} {{"
            for field, value, is_required in members(schema):
                mark = "" if is_required else "?"
                yield f"{self.doc(value, '  ')}\n  {field}{mark}: {self.type_of(value)};"
            yield "}"

    def doc(self, schema, indent):
        text = schema.get("description", "").replace("*/", "*\\/")
        lines = textwrap.wrap(" ".join(text.split()), WIDTH - len(indent) - 6)
        if len(lines) == 1:
            return f"{indent}/** {lines[0]} */"
        return "\n".join([f"{indent}/**", *(f"{indent} * {line}" for line in lines), f"{indent} */"])


def main():
    types = definitions()
    is_check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not is_check:
        sys.exit(__doc__)
    stale = []
    for path, language in [(PYTHON, Python()), (TYPESCRIPT, TypeScript())]:
        text = re.sub(r"\n{4,}", "\n\n\n", "\n".join(language.file(types))).strip() + "\n"
        if is_check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(str(path.relative_to(ROOT)))
        elif not is_check:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"{' and '.join(stale)}: not what the schemas say. Run: make schemas")


if __name__ == "__main__":
    main()
