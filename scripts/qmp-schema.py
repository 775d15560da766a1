#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads src/control/schema.json and makes what depends on it.

usage: scripts/qmp-schema.py tables|doc SCHEMA      the C tables, the reference page (docs/qmp.md), on the standard output
       scripts/qmp-schema.py check SCHEMA PAGE      is the page that of the schema?
       scripts/qmp-schema.py keys SCHEMA RINGLANED  do the daemon's options take the same keys as the commands?

The schema is a list of objects: enum, struct, union, alternate, command, event, or a section (a heading of the page). Each has a
sentence (doc), and so has each member. A member whose name begins with * is optional. A type in brackets is an array.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

INT64_MAX = 2**63 - 1
# name: (kind, JSON's word, smallest, largest)
BUILTINS = {
    "str": ("STRING", "string", 0, 0),
    "bool": ("BOOLEAN", "boolean", 0, 0),
    "number": ("NUMBER", "number", 0, 0),
    "any": ("ANY", "value", 0, 0),
    "int": ("INTEGER", "int", -INT64_MAX - 1, INT64_MAX),
    "uint16": ("INTEGER", "int", 0, 2**16 - 1),
    "uint32": ("INTEGER", "int", 0, 2**32 - 1),
    # The library for JSON has 63 bits and a sign.
    "uint64": ("INTEGER", "int", 0, INT64_MAX),
    "size": ("INTEGER", "int", 0, INT64_MAX),
}
META = ("enum", "struct", "union", "alternate", "command", "event")
# Options of the daemon, and the commands that take the same keys.
OPTIONS = {
    "--blockdev": "blockdev-add",
    "--object": "object-add",
    "--export": "block-export-add",
    "--device": "device_add",
}


def fail(sentence):
    raise SystemExit(f"qmp-schema: {sentence}")


def type_name(type_):
    return f"[{type_name(type_[0])}]" if isinstance(type_, list) else type_


class Member:
    def __init__(self, name, facts, owner):
        self.name, self.optional = name.lstrip("*"), name.startswith("*")
        self.type, self.doc, self.default = facts["type"], facts["doc"], facts.get("default")
        if set(facts) - {"type", "doc", "default"} or (self.default is not None and not self.optional):
            fail(f"{owner}: {self.name}: what is this: {facts}")


def read_members(facts, owner):
    return [Member(name, of, owner) for name, of in facts.items()]


class Schema:
    def __init__(self, path):
        self.entries = json.loads(Path(path).read_text(), object_pairs_hook=self.refuse_doubles)
        self.types, self.commands, self.events = {}, {}, {}
        self.arrays = []
        for entry in self.entries:
            if "section" not in entry:
                self.read(entry)
        self.check()

    @staticmethod
    def refuse_doubles(pairs):
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                fail(f"{name} twice in {names}")
        return dict(pairs)

    def read(self, entry):
        meta = next((word for word in META if word in entry), None) or fail(f"what is this: {entry}")
        name = entry[meta]
        place = {"command": self.commands, "event": self.events}.get(meta, self.types)
        if name in place or not entry.get("doc", "").endswith("."):
            fail(f"{name}: defined twice, or without a sentence")
        entry["meta"], entry["name"] = meta, name
        place[name] = entry
        if meta in ("struct", "alternate"):
            entry["members"] = read_members(entry["members"], name)
        elif meta == "union":
            entry["members"] = read_members(entry["base"], name)
        elif meta in ("command", "event") and isinstance(entry.get("data", {}), dict):
            self.read_data(entry, name)

    def read_data(self, entry, name):
        """Arguments that are written in place get a type of their own."""
        own = f"{name}-arg"
        self.types[own] = {
            "meta": "struct",
            "name": own,
            "members": read_members(entry.get("data", {}), name),
            "hidden": True,
        }
        entry["data"] = own

    def uses(self):
        for entry in [*self.types.values(), *self.commands.values(), *self.events.values()]:
            for member in entry.get("members", ()) if entry["meta"] != "enum" else ():
                yield entry["name"], member.type
            for type_ in entry.get("variants", {}).values():
                yield entry["name"], type_
            for key in ("data", "returns"):
                if key in entry:
                    yield entry["name"], entry[key]

    def note(self, owner, type_):
        if isinstance(type_, list):
            self.note(owner, type_[0])
            if type_name(type_) not in self.arrays:
                self.arrays.append(type_name(type_))
        elif type_ not in BUILTINS and type_ not in self.types:
            fail(f"{owner}: there is no type {type_}")

    def check(self):
        used = set()
        for owner, type_ in self.uses():
            self.note(owner, type_)
            used.add(type_[0] if isinstance(type_, list) else type_)
        for name in self.types:
            if name not in used:
                fail(f"{name}: nobody uses it")
        for entry in self.types.values():
            if entry["meta"] == "union":
                self.check_union(entry)

    def check_union(self, entry):
        tag = next((m for m in entry["members"] if m.name == entry["discriminator"]), None)
        if not tag or set(self.types[tag.type]["values"]) != set(entry["variants"]):
            fail(f"{entry['name']}: variants do not match the tag's values")


# ---- tables ----


def quote(text):
    return json.dumps(text, ensure_ascii=True)


class Tables:
    def __init__(self, schema):
        self.schema, self.lines = schema, []
        self.names = [*BUILTINS, *schema.arrays, *schema.types]

    def ref(self, type_):
        return f"&qmp_types[{self.names.index(type_name(type_))}]"

    def list(self, kind, name, suffix, items):
        symbol = f"{suffix}_{self.names.index(name)}"
        self.lines.append(f"static const {kind} {symbol}[] = {{ {', '.join(items)} }};")
        return symbol

    def members(self, entry):
        items = [f"{{ {quote(m.name)}, {self.ref(m.type)}, {int(m.optional)} }}" for m in entry["members"]]
        if not items:
            return ""
        symbol = self.list("struct qmp_member", entry["name"], "members", items)
        return f".members = {symbol}, .member_count = {len(items)}, "

    def variants(self, entry):
        items = [f"{{ {quote(value)}, {self.ref(type_)} }}" for value, type_ in entry["variants"].items()]
        symbol = self.list("struct qmp_variant", entry["name"], "variants", items)
        tag = quote(entry["discriminator"])
        return f".tag = {tag}, .variants = {symbol}, .variant_count = {len(items)}, "

    def describe(self, name):
        if name in BUILTINS:
            kind, _, low, high = BUILTINS[name]
            low = "INT64_MIN" if low < 0 else low
            return kind, f".min = {low}, .max = {high}, "
        if name.startswith("["):
            return "ARRAY", f".element = {self.ref(name[1:-1])}, "
        entry = self.schema.types[name]
        if entry["meta"] == "enum":
            return "ENUM", f".values = {self.list('char *const', name, 'values', [*map(quote, entry['values']), 'NULL'])}, "
        if entry["meta"] == "union":
            return "OBJECT", self.members(entry) + self.variants(entry)
        return ("OBJECT" if entry["meta"] == "struct" else "ALTERNATE"), self.members(entry)

    def messages(self, symbol, entries):
        self.lines.append(f"const struct qmp_message {symbol}s[] = {{")
        for name, entry in entries.items():
            returns = self.ref(entry["returns"]) if "returns" in entry else "NULL"
            self.lines.append(f"\t{{ {quote(name)}, {self.ref(entry['data'])}, {returns} }},")
        self.lines += ["};", f"const unsigned {symbol}_count = {len(entries)};"]

    def print(self):
        rows = []
        for name in self.names:
            kind, rest = self.describe(name)
            rows.append(f"\t{{ .name = {quote(name)}, .kind = QMP_{kind}, {rest}}},")
        print("/* Made from schema.json by scripts/qmp-schema.py. */")
        print('#include "control/schema.h"\n\n#include <stdint.h>\n')
        print("\n".join(self.lines))
        self.lines = ["const struct qmp_type qmp_types[] = {", *rows, "};"]
        self.lines.append(f"const unsigned qmp_type_count = {len(rows)};")
        self.messages("qmp_command", self.schema.commands)
        self.messages("qmp_event", self.schema.events)
        print("\n".join(self.lines))
        print("const char qmp_introspection[] =")
        infos = [quote(json.dumps(info)) for info in introspect(self.schema)]
        print('\t"["\n\t' + '","\n\t'.join(infos) + '\n\t"]";')


# ---- introspection ----


def introspect_members(entry):
    for member in entry["members"]:
        info = {"name": member.name, "type": type_name(member.type)}
        yield {**info, "default": None} if member.optional else info


def introspect_type(schema, name):
    if name in BUILTINS:
        return {"meta-type": "builtin", "json-type": BUILTINS[name][1]}
    if name.startswith("["):
        return {"meta-type": "array", "element-type": name[1:-1]}
    entry = schema.types[name]
    if entry["meta"] == "enum":
        names = list(entry["values"])
        return {"meta-type": "enum", "members": [{"name": value} for value in names], "values": names}
    if entry["meta"] == "alternate":
        return {"meta-type": "alternate", "members": [{"type": type_name(m.type)} for m in entry["members"]]}
    info = {"meta-type": "object", "members": list(introspect_members(entry))}
    if entry["meta"] == "union":
        info["tag"] = entry["discriminator"]
        info["variants"] = [{"case": value, "type": type_} for value, type_ in entry["variants"].items()]
    return info


def introspect(schema):
    nothing = "qmp_capabilities-ret"
    for name, entry in schema.commands.items():
        returns = type_name(entry["returns"]) if "returns" in entry else nothing
        yield {"name": name, "meta-type": "command", "arg-type": entry["data"], "ret-type": returns}
    for name, entry in schema.events.items():
        yield {"name": name, "meta-type": "event", "arg-type": entry["data"]}
    for name in [*BUILTINS, *schema.arrays, *schema.types]:
        yield {"name": name, **introspect_type(schema, name)}
    yield {"name": nothing, "meta-type": "object", "members": []}


# ---- the page ----


def sentence(text):
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def anchor(name):
    return re.sub(r"[^a-z0-9_-]", "", name.lower())


class Page:
    def __init__(self, schema):
        self.schema = schema

    def type(self, type_):
        if isinstance(type_, list):
            return f"list of {self.type(type_[0])}"
        words = {"str": "string", "int": "integer", "size": "bytes", "bool": "boolean", "any": "any value"}
        return words.get(type_, type_) if type_ in BUILTINS else f"[{type_}](#{anchor(type_)})"

    def members(self, members):
        yield "| member | type | |\n|---|---|---|"
        for member in members:
            need = "" if not member.optional else " *optional*"
            default = f" (`{member.default}`)" if member.default is not None else ""
            yield f"| `{member.name}`{need} | {self.type(member.type)} | {member.doc}{default} |"
        yield ""

    def command(self, entry):
        data = self.schema.types[entry["data"]]
        if data.get("hidden") and data["members"]:
            yield "Data:\n" if entry["meta"] == "event" else "Arguments:\n"
            yield from self.members(data["members"])
        elif not data.get("hidden"):
            yield f"Arguments: the members of {self.type(entry['data'])}.\n"
        if "returns" in entry:
            yield f"Returns: {self.type(entry['returns'])}.\n"

    def union(self, entry):
        yield from self.members(entry["members"])
        for value, type_ in entry["variants"].items():
            yield f"- `{entry['discriminator']}` is `{value}`: also the members of {self.type(type_)}"
        yield ""

    def body(self, entry):
        if entry["meta"] in ("command", "event"):
            yield from self.command(entry)
        elif entry["meta"] == "enum":
            yield from (f"- `{value}`: {doc}" for value, doc in entry["values"].items())
            yield ""
        elif entry["meta"] == "union":
            yield from self.union(entry)
        elif entry["meta"] == "alternate":
            yield from (f"- {self.type(member.type)}: {member.doc}" for member in entry["members"])
            yield ""
        else:
            yield from self.members(entry["members"])

    def entries(self):
        for entry in self.schema.entries:
            if "section" in entry:
                yield f"## {entry['section']}\n"
                continue
            kind = {"command": "", "event": " (event)"}.get(entry["meta"], " (type)")
            yield f"<a id=\"{anchor(entry['name'])}\"></a>\n### {entry['name']}{kind}\n"
            yield sentence(entry["doc"]) + "\n"
            yield from self.body(entry)

    def text(self):
        return HEAD + "\n".join(self.entries()).rstrip() + "\n"


HEAD = """<!-- Made from src/control/schema.json by scripts/qmp-schema.py. -->
# The control protocol of ringlaned

`ringlaned --chardev socket,id=m,path=PATH,server=on,wait=off --monitor chardev=m` listens on a Unix socket and speaks QMP, QEMU's machine
protocol: JSON objects in both directions. Names, types and errors are QEMU's wherever QEMU has the command, so clients for
`qemu-storage-daemon` work. `ringlane ctl PATH COMMAND KEY=VALUE...` is such a client; see ringlane-ctl(1).

```
S: {"QMP": {"version": {"qemu": {"major": 0, "minor": 1, "micro": 0}, "package": "ringlane-0.1.0"}, "capabilities": []}}
C: {"execute": "qmp_capabilities"}
S: {"return": {}}
C: {"execute": "block_resize", "arguments": {"node-name": "disk", "size": 4294967296}, "id": 7}
S: {"return": {}, "id": 7}
C: {"execute": "device_del", "arguments": {"id": "d0"}}
S: {"return": {}}
S: {"timestamp": {"seconds": 1767225600, "microseconds": 250}, "event": "DEVICE_DELETED", "data": {"device": "d0", "path": "/machine/peripheral/d0"}}
C: {"execute": "block_resize", "arguments": {"size": 1}}
S: {"error": {"class": "GenericError", "desc": "Parameter 'node-name' is missing"}}
```

- A command is an object with `execute`, and perhaps `arguments` and `id`. It is answered by `return` or by `error`, with the `id` that it had.
- Commands of a client are executed one after another; several may be sent at once. An answer may come later than events.
- An error has a class, `GenericError`, `CommandNotFound` or `DeviceNotFound`, and a sentence. A program goes by the class.
- What is no JSON is answered with an error, and what follows is read as usual; a byte 0xff ends a command that was left incomplete.
- A command may have 1 MiB and 64 levels of nesting, integers 63 bits and a sign. A client that sends more is disconnected or gets an error.
- A client that does not read its answers is not read from either, and loses events once 1 MiB waits for it. It holds up nobody else.
- 64 clients of all monitors are served at once. Others are connected, and greeted when one of those has gone.

"""


# ---- checks ----


def check_page(schema, page):
    if Path(page).read_text() != Page(schema).text():
        fail(f"{page} is not that of the schema: scripts/qmp-schema.py doc src/control/schema.json > docs/qmp.md")


def flatten(schema, type_, prefix=""):
    """The dotted keys of an object, without those of nodes inside nodes and of lists."""
    entry = schema.types.get(type_) if isinstance(type_, str) else None
    if not entry or entry["meta"] in ("enum", "alternate"):
        return {prefix.rstrip(".")}
    keys = set()
    for member in entry["members"]:
        keys |= flatten(schema, member.type, f"{prefix}{member.name}.")
    for variant in entry.get("variants", {}).values() if prefix else ():
        keys |= flatten(schema, variant, prefix)
    return keys


def read_help(program, option, only):
    """The keys that an option takes, by kind of object. Help for one kind has no headings."""
    done = subprocess.run([program, option, "help"], text=True, capture_output=True, timeout=60)
    if done.returncode != 0:
        fail(f"{option} help: {done.stderr.strip() or done.returncode}")
    tables, current = {}, only
    for line in done.stdout.splitlines():
        head, key = re.match(r"^ {0,2}([\w-]+): ", line), re.match(r"^ {6}([\w.-]+)=", line)
        if head:
            current = head.group(1)
        elif key:
            tables.setdefault(current, set()).add(key.group(1))
    return tables


def compare_keys(schema, option, program):
    union = schema.types[schema.commands[OPTIONS[option]]["data"]]
    tables, base = read_help(program, option, next(iter(union["variants"]))), set()
    for member in union["members"]:
        base |= flatten(schema, member.type, f"{member.name}.")
    if set(tables) != set(union["variants"]):
        yield f"{option}: help has {sorted(tables)}, the schema {sorted(union['variants'])}"
    for value, type_ in union["variants"].items():
        keys = base | flatten(schema, type_)
        for key in sorted(keys ^ tables.get(value, keys)):
            where = "the schema" if key in keys else f"{option} help"
            yield f"{option} {value}: only {where} has {key}"


def check_keys(schema, program):
    problems = []
    for option in OPTIONS:
        problems += compare_keys(schema, option, program)
    if problems:
        fail("\n".join(problems))


def main(verb, path, *more):
    schema = Schema(path)
    actions = {
        "tables": lambda: Tables(schema).print(),
        "doc": lambda: sys.stdout.write(Page(schema).text()),
        "check": lambda page: check_page(schema, page),
        "keys": lambda program: check_keys(schema, program),
    }
    actions[verb](*more)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("tables", "doc", "check", "keys"):
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
