#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ringlane ctl` and `ringlane map`: with servers that say anything, with qemu-storage-daemon, and with ringlaned.

usage: tests/integration/ringlane_ctl.py BUILD-DIRECTORY QEMU-STORAGE-DAEMON
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from process import Process, wait_until  # noqa: E402

SECONDS = 60
LIMIT = "--timeout=4s"  # where the server says something before it is silent: time enough for that
BUILD, QSD = Path(), ""
GREETING = {"QMP": {"version": {}, "capabilities": []}}
NONE = {"class": "CommandNotFound", "desc": "none"}


def tool(*words, text=None):
    command = [str(BUILD / "src/tools/ringlane"), *map(str, words)]
    return subprocess.run(command, input=text or "", text=True, capture_output=True, timeout=SECONDS)


class Case(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="ringlane-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.path = self.folder / "control"

    def run_ok(self, *words, text=None):
        done = tool(*words, text=text)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def run_bad(self, *words, text=None):
        """One line on the standard error."""
        done = tool(*words, text=text)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n\x1b]+\n\Z")
        return done.stderr.strip()

    def ctl(self, *words, text=None):
        return json.loads(self.run_ok("ctl", self.path, *words, text=text))

    def refused(self, *words):
        return self.run_bad("ctl", self.path, *words).removeprefix("ringlane ctl: ")


# ---- servers that say anything ----


class StandIn:
    """Serves clients one after another: greeting, then what answer(command) says: an object, bytes as they are, or a list of both;
    None ends the connection."""

    def __init__(self, path, answer=None, greeting=GREETING, backlog=1):
        self.answer, self.greeting, self.requests = answer or (lambda command: {"return": {}}), greeting, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(backlog)
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if self.thread.is_alive():
            self.thread.join(SECONDS)

    def serve(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            with client, client.makefile("rb") as lines:
                try:
                    self.talk(client, lines)
                except (ConnectionError, ValueError):
                    pass

    def send(self, client, message):
        for part in message if isinstance(message, list) else [message]:
            client.sendall(part if isinstance(part, bytes) else json.dumps(part).encode() + b"\r\n")

    def talk(self, client, lines):
        self.send(client, self.greeting)
        for line in lines:
            request = json.loads(line)
            self.requests.append(request)
            is_first = request.get("execute") == "qmp_capabilities"
            answer = {"return": {}} if is_first else self.answer(request)
            if answer is None:
                return
            self.send(client, answer)


class WithStandIn(Case):
    def serve(self, *words, **more):
        server = StandIn(self.path, *words, **more)
        self.addCleanup(server.stop)
        return server.start()


class Servers(WithStandIn):
    def test_socket_when_not_usable_then_one_line_says_why(self):
        self.assertEqual(self.refused("x"), f"there is no socket '{self.path}'")
        self.path.touch()
        self.assertEqual(self.refused("x"), f"nobody listens on '{self.path}'")
        self.assertIn("nobody listens", self.run_bad("map", self.path))
        self.assertIn("1 to 107 bytes", self.run_bad("ctl", "x" * 200, "y"))
        self.assertIn("1 to 107 bytes", self.run_bad("ctl", "", "y"))
        self.assertIn("a SOCKET is wanted", self.run_bad("ctl"))
        self.assertIn("a SOCKET is wanted", self.run_bad("map"))
        self.assertIn("one argument too many", self.run_bad("map", "a", "b"))

    def test_server_when_it_does_not_accept_then_the_time_limit_holds(self):
        server = StandIn(self.path, backlog=0)
        self.addCleanup(server.stop)
        waiting = socket.socket(socket.AF_UNIX)
        self.addCleanup(waiting.close)
        waiting.connect(str(self.path))
        self.assertEqual(self.refused("x", "--timeout=200ms"), f"nobody accepts connections on '{self.path}'")

    def test_server_when_silent_then_the_time_limit_holds(self):
        self.serve(greeting=b"")
        sentence = f"{self.path}: no greeting; is that a control socket?"
        self.assertEqual(self.refused("x", LIMIT), sentence)

    def test_server_when_it_speaks_something_else_then_one_line(self):
        for greeting in (b"SSH-2.0-x\r\n", {"hello": 1}, [[]], b"[1]\n", b"7\n", b"\xff\x00\x01\n", b"{" * 1000):
            with self.subTest(greeting=greeting):
                server = StandIn(self.path, greeting=greeting).start()
                self.assertEqual(self.refused("x"), f"{self.path}: what listens there does not speak QMP")
                server.stop()
                self.path.unlink()

    def test_server_when_it_goes_or_hangs_then_one_line(self):
        answers = {"goes": None, "hangs": b"", "half": b'{"return": ', "garbage": b"garbage\n", "list": [[1]]}
        self.serve(lambda request: answers[request["execute"]])
        self.assertEqual(self.refused("goes"), "the server has closed the connection")
        for command in ("hangs", "half"):
            self.assertEqual(self.refused(command, LIMIT), "no answer in time")
        self.assertEqual(self.refused("garbage"), "what listens there does not speak QMP")

    def test_errors_when_hostile_then_one_tame_line(self):
        errors = [{"desc": "a\nb\x1b[1m"}, {}, [], {"desc": 1}, {"desc": "x" * 10000}, "text"]
        self.serve(lambda request: {"error": errors[int(request["execute"])]})
        self.assertEqual(self.refused("0"), "a?b?[1m")
        for number in (1, 2, 3, 5):
            self.assertEqual(self.refused(number), "an error without a sentence")
        self.assertEqual(self.refused("4"), "x" * 495)

    def test_answer_when_in_pieces_and_after_events_then_whole(self):
        event = {"event": "E", "data": {"a": 1}, "timestamp": {}}
        whole = json.dumps({"return": {"a": ["\u00e9}\"{"]}}, indent=4).encode()
        self.serve(lambda request: [event, *(bytes([byte]) for byte in whole), event])
        self.assertEqual(self.ctl("x"), {"a": ["\u00e9}\"{"]})
        lines = self.run_ok("ctl", self.path, "x", "--wait-event=E").splitlines()
        self.assertEqual(json.loads(lines[-1]), event)

    def test_event_when_awaited_then_others_are_not_shown(self):
        events = [{"event": name} for name in ("A", "B", "C")]
        self.serve(lambda request: [events[0], {"return": {}}, *events[1:]])
        output = self.run_ok("ctl", self.path, "x", "--wait-event=B")
        self.assertEqual([json.loads(line) for line in output.splitlines()], [{}, {"event": "B"}])
        output = self.run_ok("ctl", self.path, "x", "--wait-event=B", "--events")
        self.assertEqual([json.loads(line) for line in output.splitlines()], [{}, {"event": "A"}, {"event": "B"}])
        done = tool("ctl", self.path, "x", "--wait-event=D", LIMIT)
        self.assertEqual((done.returncode, done.stderr), (1, "ringlane ctl: no event D in time\n"))

    def test_events_when_many_then_a_line_each(self):
        self.serve(greeting=[GREETING, {"return": {}}, *[{"event": str(n)} for n in range(500)], b""])
        done = subprocess.Popen(
            [BUILD / "src/tools/ringlane", "ctl", self.path, "--events"], stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(done.kill)
        for number in range(500):
            self.assertEqual(json.loads(done.stdout.readline()), {"event": str(number)})
        done.kill()
        done.wait(SECONDS)
        done.stdout.close()

    def test_types_when_the_server_has_no_schema_then_guessed(self):
        server = self.serve(lambda r: {"error": NONE} if r["execute"] == "query-qmp-schema" else {"return": {}})
        self.ctl("x", "a=1", "b=text", "c.d=true", "c.e=on", "f=[1]", "g.0=x")
        arguments = {"a": 1, "b": "text", "c": {"d": True, "e": "on"}, "f": [1], "g": ["x"]}
        self.assertEqual(server.requests[-1], {"execute": "x", "arguments": arguments})
        self.ctl("x")
        self.assertEqual(server.requests[-1], {"execute": "x"})

    def test_words_when_wrong_then_nothing_is_executed(self):
        server = self.serve()
        self.assertEqual(self.refused("x", "a"), "'a' is not KEY=VALUE")
        self.assertEqual(self.refused("x", "a=1", "a=2"), "'a' is given twice")
        self.assertNotIn("x", [request["execute"] for request in server.requests])

    def test_input_when_many_commands_then_an_answer_each(self):
        server = self.serve(lambda r: {"error": NONE} if r["execute"] == "b" else {"return": r["execute"]})
        text = '{"execute": "a"}{"execute":\n"b", "id": 1}\n\n {"execute": "c"}'
        done = tool("ctl", self.path, text=text)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()],
                         [{"return": "a"}, {"error": NONE}, {"return": "c"}])
        self.assertEqual((done.returncode, done.stderr), (1, "ringlane ctl: a command was refused\n"))
        self.assertEqual(server.requests[2], {"execute": "b", "id": 1})
        self.assertEqual(self.run_ok("ctl", self.path, text=""), "")
        self.assertEqual(self.run_bad("ctl", self.path, text='{"execute": '),
                         "ringlane ctl: the standard input ends within a command")
        self.assertIn("JSON parse error", self.run_bad("ctl", self.path, text="execute"))


# ---- the map ----


def queue(name, iothread, state, **more):
    facts = {"queue": name, "iothread": iothread, "thread-id": 100, "cpus": "0-1", "state": state}
    return {**facts, "in-flight": 0, "requests": 12, "kicks": 3, "calls": 4, **more}


EXPORTS = [
    {
        "id": "disk", "type": "vhost-user-blk", "node-name": "n", "shutting-down": False, "connected": True,
        "queues": [queue("0", "t0", "running", **{"last-cpu": 1, "in-flight": 7, "requests": 1234567}),
                   queue("1", "main", "broken"), queue("2", "t0", "stopped"), queue("3", "t0", "stopped")],
    },
    {
        "id": "adapter", "type": "vhost-user-scsi", "shutting-down": True, "connected": False,
        "queues": [queue("ctrl", "main", "stopped")],
        "devices": [{"id": "d0", "drive": "n\x1b[1m", "scsi-id": 3, "lun": 12, "serial": "s", "wwn": "0x5", "requests": 9,
                     "in-flight": 1, "held": 2}],
    },
]
IOTHREADS = [
    {"id": "t0", "thread-id": 101, "poll-max-ns": 32768, "poll-grow": 0, "poll-shrink": 0, "aio-max-batch": 0, "cpus": "0",
     "queues": [{"export": "disk", "queue": str(number)} for number in range(300)]},
    {"id": "idle", "thread-id": 7, "poll-max-ns": 0, "poll-grow": 0, "poll-shrink": 0, "aio-max-batch": 0, "cpus": "0-1",
     "last-cpu": 0, "queues": []},
]
PICTURE = """\
export disk: vhost-user-blk, node n, connected
  queue  iothread  thread  cpus  last  state    in flight  requests  kicks  calls
  0      t0           100  0-1      1  running          7   1234567      3      4
  1      main         100  0-1      -  broken           0        12      3      4
  2 queues not set up by the client

export adapter: vhost-user-scsi, no client, being deleted
  queue  iothread  thread  cpus  last  state    in flight  requests  kicks  calls
  ctrl   main         100  0-1      -  stopped          0        12      3      4
  device  drive  target  lun  serial  wwn  in flight  held  requests
  d0      n?[1m       3   12  s       0x5          1     2         9

IOThreads
  iothread  thread  cpus  last  polls (ns)  queues
"""


class Map(WithStandIn):
    def serve_map(self, exports, iothreads):
        answers = {"query-block-exports": exports, "query-iothreads": iothreads}
        self.serve(lambda request: {"return": answers[request["execute"]]})

    def test_map_when_all_is_there_then_a_table_for_each(self):
        self.serve_map(EXPORTS, IOTHREADS)
        text = self.run_ok("map", self.path)
        self.assertEqual(text[: len(PICTURE)], PICTURE)
        rows = text[len(PICTURE) :].splitlines()
        self.assertRegex(rows[0], r"^  t0           101  0        -       32768  disk/0, disk/1, .*disk/20, 279 more$")
        self.assertEqual(rows[1], "  idle           7  0-1      0           0  -")
        self.assertEqual(len(rows), 2)
        self.assertEqual(self.run_ok("map", self.path, "--all").count(" stopped "), 3)
        self.assertEqual(json.loads(self.run_ok("map", self.path, "--format=json")),
                         {"exports": EXPORTS, "iothreads": IOTHREADS})

    def test_map_when_nothing_is_there_then_it_says_so(self):
        self.serve_map([], [])
        self.assertEqual(self.run_ok("map", self.path), "exports: none\n\nIOThreads: none\n")

    def test_map_when_answers_are_odd_then_no_harm(self):
        strange = [7, {}, {"id": 1, "type": None, "queues": [{}, 3, {"queue": "x" * 1000}], "devices": {}}]
        self.serve_map(strange, [*strange, {"queues": [1, {"export": "e" * 1000, "queue": "\n"}]}])
        self.assertIn("x" * 1000, self.run_ok("map", self.path))

    def test_map_when_the_server_refuses_then_one_line(self):
        self.serve(lambda request: {"error": NONE})
        self.assertEqual(self.run_bad("map", self.path), f"ringlane map: {self.path}: none")


# ---- QEMU's ----


class Qemu(Case):
    def setUp(self):
        super().setUp()
        if not shutil.which(QSD):
            self.skipTest(f"{QSD} is not there")
        pidfile = self.folder / "pid"
        command = [QSD, "--pidfile", pidfile, "--chardev", f"socket,id=m,path={self.path},server=on,wait=off"]
        self.daemon = Process([*command, "--monitor", "chardev=m"], self.folder / "log")
        self.addCleanup(self.daemon.kill)
        wait_until(lambda: pidfile.exists() and pidfile.read_text().strip(), SECONDS, "the daemon listens")

    def test_commands_when_typed_by_its_schema_then_understood(self):
        self.ctl("blockdev-add", "driver=null-co", "node-name=true", "size=1M", "read-zeroes=on")
        self.ctl("blockdev-add", "driver=raw", "node-name=r", "file.driver=null-co", "file.size=0x20000")
        sizes = {node["node-name"]: node["image"]["virtual-size"] for node in self.ctl("query-named-block-nodes")}
        self.assertEqual((sizes["true"], sizes["r"]), (1 << 20, 1 << 17))
        self.assertIn("Failed to find node", self.refused("blockdev-del", "node-name=x"))
        self.assertEqual(self.refused("nonsense"), "The command nonsense has not been found")
        address = ["addr.type=unix", f"addr.path={self.folder / 'disk'}"]
        self.ctl("block-export-add", "type=vhost-user-blk", "id=e", "node-name=true", "num-queues=2", *address)
        lines = self.run_ok("ctl", self.path, "block-export-del", "id=e", "--wait-event=BLOCK_EXPORT_DELETED")
        self.assertEqual(json.loads(lines.splitlines()[-1])["data"], {"id": "e"})
        self.ctl("quit")
        self.assertEqual(self.daemon.wait(SECONDS), 0)


# ---- ours ----


class Schema:
    """What query-qmp-schema says, and whether a value is that."""

    KINDS = {"string": str, "boolean": bool, "int": int, "number": (int, float), "value": object}

    def __init__(self, infos):
        self.infos = {info["name"]: info for info in infos}

    def find_mistakes(self, type_name, value, place):
        info = self.infos[type_name]
        meta = info["meta-type"]
        if meta == "array":
            for index, item in enumerate(value if isinstance(value, list) else [None]):
                yield from self.find_mistakes(info["element-type"], item, f"{place}[{index}]")
        elif meta == "object":
            yield from self.find_mistakes_in_object(info, value, place)
        elif meta == "enum" and value not in info["values"]:
            yield f"{place}: {value}"
        elif meta == "builtin" and not isinstance(value, self.KINDS[info["json-type"]]):
            yield f"{place}: {value} is no {type_name}"

    def find_mistakes_in_object(self, info, value, place):
        members = {member["name"]: member for member in info["members"]}
        for name in set(members) | set(value):
            if name not in members:
                yield f"{place}.{name} is not in the schema"
            elif name in value:
                yield from self.find_mistakes(members[name]["type"], value[name], f"{place}.{name}")
            elif "default" not in members[name]:
                yield f"{place}.{name} is missing"


class Ringlaned(Case):
    def setUp(self):
        super().setUp()
        pidfile = self.folder / "pid"
        command = [BUILD / "src/daemon/ringlaned", "--chardev", f"socket,id=m,path={self.path},server=on,wait=off"]
        self.daemon = Process([*command, "--monitor", "chardev=m", "--pidfile", pidfile], self.folder / "log")
        self.addCleanup(self.daemon.kill)
        wait_until(pidfile.exists, SECONDS, "the daemon listens")
        self.schema = Schema(self.ctl("query-qmp-schema"))

    def add_disk(self):
        self.ctl("object-add", "qom-type=iothread", "id=t0", "poll-max-ns=20k")
        self.ctl("object-add", "qom-type=iothread", "id=t1", "cpus.0=0")
        self.ctl("blockdev-add", "driver=ram", "node-name=ram", "size=16M")
        self.ctl("blockdev-add", "driver=delay", "node-name=n", "file=ram")
        mapping = [{"iothread": "t0", "vqs": [0, 2]}, {"iothread": "t1", "vqs": [1]}]
        words = ["type=vhost-user-blk", "id=e", "node-name=n", "writable=on", "num-queues=3"]
        address = ["addr.type=unix", f"addr.path={self.folder / 'disk'}"]
        self.ctl("block-export-add", *words, *address, f"iothread-vq-mapping={json.dumps(mapping)}")

    def add_adapter(self):
        self.ctl("blockdev-add", "driver=ram", "node-name=s", "size=1M")
        address = ["addr.type=unix", f"addr.path={self.folder / 'adapter'}"]
        self.ctl("block-export-add", "type=vhost-user-scsi", "id=a", "num-queues=2", "iothread=t1", *address)
        self.ctl("device_add", "driver=scsi-hd", "id=d", "drive=s", "bus=a.0", "wwn=0x5000c50015ea71ac", "lun=3")

    def run_jobs(self):
        """A client that is at work on all three queues."""
        words = ["--rw=randread", "--queues=3", "--numjobs=3", "--iodepth=4", "--time_based", "--runtime=1h", "--no-progress"]
        command = [BUILD / "src/tools/ringlane", "bench", f"vhost-user-blk:{self.folder / 'disk'}", *words]
        bench = Process(command, self.folder / "bench")
        self.addCleanup(bench.kill)

        def work():
            queues = self.ctl("query-block-exports")[0]["queues"]
            return len(queues) == 3 and all(queue["requests"] for queue in queues)

        wait_until(work, SECONDS, "all queues have done something")

    def wait_for(self, event, *words):
        """What the command returned, and the data of the event."""
        lines = self.run_ok("ctl", self.path, *words, f"--wait-event={event}").splitlines()
        return json.loads("\n".join(lines[:-1])), json.loads(lines[-1])["data"]

    def check_queries(self):
        for name, info in self.schema.infos.items():
            if info["meta-type"] == "command" and name.startswith("query-"):
                value = self.ctl(name)
                self.assertEqual(list(self.schema.find_mistakes(info["ret-type"], value, name)), [])
                yield name

    def test_queries_when_much_is_there_then_as_the_schema_says(self):
        self.add_disk()
        self.run_jobs()
        self.assertEqual(len(set(self.check_queries())), 6)
        self.assertEqual({c["name"] for c in self.ctl("query-commands")},
                         {name for name, info in self.schema.infos.items() if info["meta-type"] == "command"})

    def test_map_when_a_client_is_there_then_each_queue_has_its_thread(self):
        self.add_disk()
        self.assertIn("export e: vhost-user-blk, node n, no client\n", self.run_ok("map", self.path))
        self.run_jobs()
        text = self.run_ok("map", self.path)
        self.assertIn("export e: vhost-user-blk, node n, connected\n", text)
        self.assertRegex(text, r"(?m)^  1 +t1 +\d+ +0 +0 +running +[0-4] +[1-9]\d* ")
        self.assertRegex(text, r"(?m)^  t0 .* 20480 +e/0, e/2$")
        self.assertRegex(text, r"(?m)^  t1 .* e/1$")

    def test_objects_when_taken_away_then_users_first(self):
        self.add_disk()
        for words in (["blockdev-del", "node-name=n"], ["blockdev-del", "node-name=ram"], ["object-del", "id=t0"]):
            self.assertIn("in use", self.refused(*words))
        self.assertEqual(self.wait_for("BLOCK_EXPORT_DELETED", "block-export-del", "id=e"), ({}, {"id": "e"}))
        for name in ("n", "ram"):
            self.ctl("blockdev-del", f"node-name={name}")
        for name in ("t0", "t1"):
            self.ctl("object-del", f"id={name}")
        self.assertEqual(json.loads(self.run_ok("map", self.path, "--format=json")), {"exports": [], "iothreads": []})

    def test_disks_of_an_adapter_when_added_and_taken_away_then_shown(self):
        self.add_disk()
        self.add_adapter()
        self.assertEqual(len(set(self.check_queries())), 6)
        text = self.run_ok("map", self.path, "--all")
        self.assertRegex(text, r"(?m)^export a: vhost-user-scsi, no client$")
        self.assertRegex(text, r"(?m)^  d +s +0 +3 .* 0x5000c50015ea71ac ")
        self.assertIn("in use", self.refused("blockdev-del", "node-name=s"))
        self.assertEqual(self.wait_for("DEVICE_DELETED", "device_del", "id=d"),
                         ({}, {"device": "d", "path": "/machine/peripheral/d"}))
        self.ctl("blockdev-del", "node-name=s")
        self.assertNotIn("0x5000c50015ea71ac", self.run_ok("map", self.path))
        self.assertEqual(self.wait_for("BLOCK_EXPORT_DELETED", "block-export-del", "id=a"), ({}, {"id": "a"}))

    def test_properties_when_set_then_shown(self):
        self.add_disk()
        self.ctl("qom-set", "path=/objects/t0", "property=poll-max-ns", "value=1000")
        image = self.folder / "image"
        image.write_bytes(bytes(4096))
        self.ctl("blockdev-add", "driver=file", "node-name=f", f"filename={image}")
        self.ctl("block_resize", "node-name=f", "size=32M")
        self.assertEqual([t["poll-max-ns"] for t in self.ctl("query-iothreads") if t["id"] == "t0"], [1000])
        sizes = [n["image"]["virtual-size"] for n in self.ctl("query-named-block-nodes") if n["node-name"] == "f"]
        self.assertEqual((sizes, image.stat().st_size), ([32 << 20], 32 << 20))

    def test_quit_when_asked_then_every_client_is_told(self):
        self.add_disk()
        watcher = subprocess.Popen(
            [BUILD / "src/tools/ringlane", "ctl", self.path, "block-export-del", "id=e", "--wait-event=SHUTDOWN"],
            stdout=subprocess.PIPE, text=True,
        )
        self.addCleanup(watcher.kill)
        self.assertEqual(watcher.stdout.readline(), "{}\n")
        self.assertEqual(self.ctl("quit"), {})
        event = json.loads(watcher.communicate(timeout=SECONDS)[0])
        self.assertEqual(event["data"], {"guest": False, "reason": "host-qmp-quit"})
        self.assertEqual(self.daemon.wait(SECONDS), 0)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    QSD, BUILD = sys.argv.pop(2), Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
