#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The monitor of ringlaned: things come and go while others are served, and no client is in the way of another.

usage: tests/integration/ringlaned_qmp.py PATH-OF-RINGLANED
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import threading

import captive
from captive import SECONDS, Case
from process import wait_until
from vhost_user import GET_VRING_BASE, READ, SET_VRING_ENABLE, SIZE, WRITE, FrontEnd

RAM = ["--blockdev", "ram,node-name=n0,size=1M"]
MANY = 5000
CLIENTS_MAX = 64
ROUNDS = 500


def unix(path):
    return {"type": "unix", "path": str(path)}


class Commands(Case):
    def refuse(self, monitor, sentence, command, **arguments):
        with self.assertRaises(RuntimeError) as caught:
            monitor.run(command, **arguments)
        self.assertEqual(str(caught.exception), f"{command}: {sentence}")

    def names(self, monitor, command, key="id"):
        return [item[key] for item in monitor.run(command)]

    def test_everything_when_added_at_run_time_then_served_and_removed(self):
        daemon, monitor = self.with_monitor()
        monitor.run("object-add", **{"qom-type": "iothread", "id": "t0", "cpus": "0", "poll-max-ns": 0})
        node = {"driver": "raw", "node-name": "n0", "offset": 4096, "file": {"driver": "ram", "size": 1 << 20}}
        monitor.run("blockdev-add", **node)
        export = {"type": "vhost-user-blk", "id": "e0", "node-name": "n0", "writable": True, "addr": unix(self.socket)}
        monitor.run("block-export-add", **export, **{"num-queues": 2, "iothread-vq-mapping": [{"iothread": "t0"}]})
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up()
            self.assertEqual(front.capacity(), (1 << 20) - 4096)
            rings = [front.start(0), front.start(1)]
            self.assertEqual(rings[0].run(WRITE, 3, b"x" * 512)[0], 0)
            self.assertEqual(rings[1].run(READ, 3, room=512), (0, b"x" * 512))
            told, = monitor.run("query-block-exports")
            self.assertEqual((told["connected"], told["node-name"], told["type"]), (True, "n0", "vhost-user-blk"))
            queues = [(queue["queue"], queue["iothread"], queue["state"], queue["cpus"]) for queue in told["queues"]]
            self.assertEqual(queues, [("0", "t0", "running", "0"), ("1", "t0", "running", "0")])
            self.assertEqual([queue["requests"] for queue in told["queues"]], [1, 1])
            thread, = monitor.run("query-iothreads")
            self.assertEqual(thread["queues"], [{"export": "e0", "queue": "0"}, {"export": "e0", "queue": "1"}])
            self.assertEqual({queue["thread-id"] for queue in told["queues"]}, {thread["thread-id"]})
            self.assertEqual(thread["last-cpu"], 0)
            self.refuse(monitor, "export 'e0' still in use", "block-export-del", id="e0")
            monitor.run("block-export-del", id="e0", mode="hard")
            self.assertTrue(front.is_closed())
        monitor.wait_event("BLOCK_EXPORT_DELETED", id="e0")
        self.assertFalse(self.socket.exists())
        monitor.run("blockdev-del", **{"node-name": "n0"})
        monitor.run("object-del", id="t0")
        for command in ("query-block-exports", "query-iothreads", "query-named-block-nodes"):
            self.assertEqual(monitor.run(command), [])
        self.assert_ends(daemon)

    def test_export_when_added_and_removed_many_times_then_nothing_is_left(self):
        daemon, monitor = self.with_monitor(*RAM)
        counts = []
        for turn in range(12):
            monitor.run("block-export-add", type="vhost-user-blk", id="e0", **{"node-name": "n0"}, addr=unix(self.socket))
            with FrontEnd(self.socket) as front:
                ring = front.set_up().start()
                ring.put(READ, 0, room=512)
                ring.kick()
                monitor.run("block-export-del", id="e0", mode="hard")
                monitor.wait_event("BLOCK_EXPORT_DELETED")
                self.assertTrue(front.is_closed())
            counts.append(daemon.count_fds())
        self.assertEqual(len(set(counts[2:])), 1, counts)

    def test_mistakes_when_made_then_the_sentence(self):
        _, monitor = self.with_monitor(*RAM, "--object", "iothread,id=t0", *self.export(more="writable=on,iothread=t0"))
        cases = [
            ("object 't1' not found", "object-del", {"id": "t1"}),
            ("object 't0' is in use, can not be deleted", "object-del", {"id": "t0"}),
            ("attempt to add duplicate object 't0'", "object-add", {"qom-type": "iothread", "id": "t0"}),
            ("Failed to find node with node-name='x'", "blockdev-del", {"node-name": "x"}),
            ("Node 'n0' is in use", "blockdev-del", {"node-name": "n0"}),
            ("Duplicate nodes with node-name='n0'", "blockdev-add", {"driver": "null-co", "node-name": "n0"}),
            ("Cannot find device='' nor node-name='x'", "block_resize", {"node-name": "x", "size": 512}),
            ("Parameter 'size' expects a >0 size", "block_resize", {"node-name": "n0", "size": 0}),
            ("Node 'n0': driver 'ram' cannot be resized", "block_resize", {"node-name": "n0", "size": 512}),
            ("Export 'x' is not found", "block-export-del", {"id": "x"}),
            (
                "Export with ID 'e0' already exists",
                "block-export-add",
                {"type": "vhost-user-blk", "id": "e0", "node-name": "n0", "addr": unix("/s")},
            ),
            (
                "node 'n0' is used by export 'e0' already, and only exports that do not write can share one",
                "block-export-add",
                {"type": "vhost-user-blk", "id": "e1", "node-name": "n0", "addr": unix(self.folder / "t")},
            ),
            (
                f"cannot bind socket '{self.folder}/none/t': No such file or directory",
                "block-export-add",
                {"type": "vhost-user-scsi", "id": "e1", "addr": unix(self.folder / "none" / "t")},
            ),
            ("Device 'x' not found", "device_del", {"id": "x"}),
            ("Bus 'e1.0' not found", "device_add", {"driver": "scsi-hd", "drive": "n0", "bus": "e1.0"}),
            ("Device 't1' not found", "qom-set", {"path": "t1", "property": "poll-grow", "value": 1}),
            ("Property 'iothread.x' not found", "qom-set", {"path": "t0", "property": "x", "value": 1}),
            (
                "Invalid parameter type for 'poll-grow', expected: integer",
                "qom-set",
                {"path": "t0", "property": "poll-grow", "value": "1"},
            ),
            (
                "poll-max-ns value must be in range [0, 9223372036854775807]",
                "qom-set",
                {"path": "/objects/t0", "property": "poll-max-ns", "value": -1},
            ),
        ]
        for sentence, command, arguments in cases:
            self.refuse(monitor, sentence, command, **arguments)
        self.assertEqual(self.names(monitor, "query-block-exports"), ["e0"])
        self.assertEqual(self.names(monitor, "query-iothreads"), ["t0"])
        self.assertEqual(self.names(monitor, "query-named-block-nodes", "node-name"), ["n0"])

    def test_node_when_it_cannot_be_opened_then_its_children_go_too(self):
        _, monitor = self.with_monitor()
        under = {"driver": "null-co", "node-name": "under", "size": 1 << 20}
        self.refuse(
            monitor,
            "Node 'top': offset 2097152 is beyond the end of node 'under' (1048576 bytes)",
            "blockdev-add",
            **{"driver": "raw", "node-name": "top", "offset": 2 << 20, "file": under},
        )
        self.assertEqual(monitor.run("query-named-block-nodes"), [])
        monitor.run("blockdev-add", **under)

    def test_inline_node_when_its_parent_goes_then_goes_too(self):
        _, monitor = self.with_monitor()
        monitor.run("blockdev-add", **{"driver": "raw", "node-name": "a", "file": {"driver": "null-co", "node-name": "b"}})
        self.refuse(
            monitor, "Node 'b' belongs to the node over it, and goes with that", "blockdev-del", **{"node-name": "b"}
        )
        monitor.run("blockdev-del", **{"node-name": "a"})
        self.assertEqual(monitor.run("query-named-block-nodes"), [])

    def test_locked_image_when_added_then_refused_and_can_come_later(self):
        path = self.make_image()
        first = self.daemon("--blockdev", f"file,node-name=n0,filename={path}", *self.export())
        _, monitor = self.with_monitor()
        with self.assertRaises(RuntimeError) as caught:
            monitor.run("blockdev-add", driver="file", filename=str(path), **{"node-name": "n0"})
        self.assertIn("lock. Is another process using the image", str(caught.exception))
        self.assert_ends(first)
        monitor.run("blockdev-add", driver="file", filename=str(path), **{"node-name": "n0"})

    def can_be_run_by(self, user):
        try:
            return subprocess.run([captive.PROGRAM, "--version"], user=user, capture_output=True).returncode == 0
        except PermissionError:
            return False

    def test_image_when_it_may_only_be_read_then_it_is(self):
        if not self.can_be_run_by(65534):
            self.skipTest("needs another user who can run the daemon")
        path = self.make_image()
        path.chmod(0o444)
        os.chown(self.folder, 65534, 65534)
        _, monitor = self.with_monitor(user=65534)
        keys = {"driver": "file", "node-name": "n0", "filename": str(path)}
        self.refuse(monitor, f"Could not open '{path}': Permission denied", "blockdev-add", **keys, **{"auto-read-only": False})
        monitor.run("blockdev-add", **keys)
        self.assertTrue(monitor.run("query-named-block-nodes")[0]["ro"])
        export = {"type": "vhost-user-blk", "id": "e0", "node-name": "n0", "addr": unix(self.socket)}
        self.refuse(monitor, "Cannot export read-only node 'n0' as writable", "block-export-add", **export, writable=True)
        monitor.run("block-export-add", **export)

    def test_nodes_when_asked_for_then_told(self):
        path = self.make_image()
        _, monitor = self.with_monitor("--blockdev", f"raw,node-name=n0,file.driver=file,file.filename={path},cache.direct=off")
        under, node = monitor.run("query-named-block-nodes")
        self.assertEqual((under["node-name"], under["drv"], under["file"]), ("n0.file", "file", str(path)))
        self.assertEqual(under["image"]["virtual-size"], 1 << 20)
        self.assertEqual(node["children"], [{"child": "file", "node-name": "n0.file"}])

    def test_resize_when_done_then_client_is_told(self):
        daemon, monitor = self.with_monitor("--blockdev", f"file,node-name=n0,filename={self.make_image()}", *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            self.assertEqual(front.capacity(), 1 << 20)
            monitor.run("block_resize", **{"node-name": "n0", "size": 3 << 20})
            self.assertEqual(struct.unpack_from("=I", front.channel.recv(64)), (2,))
            self.assertEqual(front.capacity(), 3 << 20)
            self.assertEqual(ring.run(WRITE, 6000, b"x" * 512)[0], 0)
            monitor.run("block_resize", **{"node-name": "n0", "size": 1 << 20})
            self.assertEqual(ring.run(WRITE, 6000, b"x" * 512)[0], 1)
        self.assertEqual(daemon.lines(), [])

    def test_iothread_when_it_has_the_name_of_an_automatic_one_then_refused(self):
        _, monitor = self.with_monitor(*RAM, *self.export())
        with FrontEnd(self.socket) as front:
            front.set_up().start().run(READ, 0, room=512)
            thread, = monitor.run("query-iothreads")
            self.assertEqual((thread["id"], thread["queues"]), ("auto0", [{"export": "e0", "queue": "0"}]))
            self.refuse(
                monitor, "'auto0' is the name of an automatic IOThread", "object-add", **{"qom-type": "iothread", "id": "auto0"}
            )
            self.refuse(monitor, "object 'auto0' not found", "object-del", id="auto0")

    def test_queue_when_its_state_changes_then_told(self):
        slow = ["--blockdev", "null-co,node-name=n0,size=1M,latency-ns=2000000000"]
        _, monitor = self.with_monitor(*slow, *self.export())
        states = lambda: [queue["state"] for queue in monitor.run("query-block-exports")[0]["queues"]]  # noqa: E731
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up()
            first, second = front.start(0), front.start(1)
            self.assertEqual(states(), ["waiting", "waiting"])
            first.run(READ, 0, room=512)
            self.assertEqual(states(), ["running", "waiting"])
            front.must(SET_VRING_ENABLE, struct.pack("=II", 0, 0))
            second.make_available(SIZE + 5)
            second.kick()
            wait_until(lambda: states() == ["paused", "broken"], SECONDS, "the queue is broken")
            front.must(SET_VRING_ENABLE, struct.pack("=II", 0, 1))
            first.put(READ, 0, room=512)
            first.kick()
            front.send(GET_VRING_BASE, struct.pack("=II", 0, 0))
            wait_until(lambda: states()[0] in ("draining", "stopped"), SECONDS, "the queue is being stopped")
            front.receive()
            self.assertEqual(states(), ["stopped", "broken"])

    def test_answers_when_given_then_fit_the_schema(self):
        node = {"driver": "raw", "node-name": "n0", "file": {"driver": "file", "filename": str(self.make_image())}}
        keys = "vhost-user-scsi,id=s0,addr.type=unix"
        _, monitor = self.with_monitor(
            *("--blockdev", json.dumps(node), "--blockdev", "null-co,node-name=n1", "--object", "iothread,id=t0"),
            *("--export", f"{keys},addr.path={self.folder}/s0", "--device", "scsi-hd,drive=n0,bus=s0.0"),
            *self.export("n1", more="iothread=t0"),
        )
        types = {item["name"]: item for item in monitor.run("query-qmp-schema")}
        with FrontEnd(self.socket) as front:
            front.set_up().start().run(READ, 0, room=512)
            for command in ("query-block-exports", "query-iothreads", "query-named-block-nodes", "query-version"):
                answer = monitor.run(command)
                self.assertTrue(answer)
                self.check_type(types, types[command]["ret-type"], answer, command)

    def check_type(self, types, name, value, where):
        kind = types[name]
        if kind["meta-type"] == "array":
            for index, item in enumerate(value):
                self.check_type(types, kind["element-type"], item, f"{where}.{index}")
        elif kind["meta-type"] == "object":
            members = {member["name"]: member for member in kind["members"]}
            self.assertLessEqual(set(value), set(members), where)
            self.assertLessEqual({key for key in members if "default" not in members[key]}, set(value), where)
            for key, item in value.items():
                self.check_type(types, members[key]["type"], item, f"{where}.{key}")
        elif kind["meta-type"] == "enum":
            self.assertIn(value, kind["values"], where)
        else:
            expected = {"string": str, "int": int, "boolean": bool}[kind["json-type"]]
            self.assertIs(type(value), expected, where)

    def test_polling_when_changed_then_told_and_all_lanes_go_on(self):
        _, monitor = self.with_monitor(*RAM, "--object", "iothread,id=t0", *self.export(more="writable=on,num-queues=4,iothread=t0"))
        with FrontEnd(self.socket, rings=4) as front:
            front.set_up()
            rings = [front.start(index) for index in range(4)]
            for value in (0, 1, 1 << 30, 0, 32768):
                monitor.run("qom-set", path="/objects/t0", property="poll-max-ns", value=value)
                thread, = monitor.run("query-iothreads")
                self.assertEqual(thread["poll-max-ns"], value)
                for ring in rings:
                    self.assertEqual(ring.run(READ, 0, room=512)[0], 0)
            monitor.run("qom-set", path="t0", property="poll-shrink", value=4)
            self.assertEqual(monitor.run("query-iothreads")[0]["poll-shrink"], 4)


class Clients(Case):
    def raw(self):
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(str(self.folder / "m"))
        channel.settimeout(SECONDS)
        self.addCleanup(channel.close)
        return channel

    def test_client_when_it_never_reads_then_nobody_else_waits(self):
        daemon, monitor = self.with_monitor(*RAM, *self.export())
        deaf = self.raw()
        deaf.setblocking(False)
        asks = b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-qmp-schema"}' * MANY
        sent = deaf.send(asks)
        before = self.count_memory(daemon)
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            for turn in range(200):
                monitor.run("query-block-exports")
                monitor.run("object-add", **{"qom-type": "iothread", "id": "t0"})
                monitor.run("object-del", id="t0")
                self.assertEqual(ring.run(WRITE, turn, bytes([turn]) * 512)[0], 0)
        self.assertLess(self.count_memory(daemon) - before, 40 << 20)
        self.assertGreater(sent, 0)
        deaf.setblocking(True)
        self.read_answers(deaf, 3)
        self.assert_ends(daemon)

    def count_memory(self, daemon):
        with open(f"/proc/{daemon.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def read_answers(self, channel, count):
        with channel.makefile("rb") as file:
            return [json.loads(file.readline()) for _ in range(count)]

    def test_clients_when_several_then_each_has_its_answers_and_all_events(self):
        _, first = self.with_monitor(*RAM, *self.export())
        second, third = self.connect_monitor(), self.connect_monitor()
        first.run("object-add", **{"qom-type": "iothread", "id": "t0"})
        self.assertEqual([thread["id"] for thread in second.run("query-iothreads")], ["t0"])
        third.run("block-export-del", id="e0")
        for monitor in (first, second, third):
            monitor.wait_event("BLOCK_EXPORT_DELETED", id="e0")

    def test_clients_when_there_are_too_many_then_others_wait_until_one_goes(self):
        self.daemon(*self.monitor_options())
        clients = [self.raw() for _ in range(CLIENTS_MAX)]
        for client in clients:
            self.assertIn("QMP", self.read_answers(client, 1)[0])
        late = self.raw()
        late.sendall(b'{"execute": "qmp_capabilities"}')
        clients[7].sendall(b'{"execute": "qmp_capabilities"}')
        self.assertEqual(self.read_answers(clients[7], 1), [{"return": {}}])
        self.assertEqual(select.select([late], [], [], 0)[0], [])
        clients[3].close()
        self.assertEqual(["QMP" in answer or answer for answer in self.read_answers(late, 2)], [True, {"return": {}}])

    def remove(self, monitor):
        try:
            monitor.run("device_del", id="d0")
        except RuntimeError as error:
            self.assertRegex(str(error), "not found|in the process of unplug")

    def test_device_when_removed_by_two_at_once_then_gone_once(self):
        adapter = f"vhost-user-scsi,id=s0,addr.type=unix,addr.path={self.socket}"
        daemon, first = self.with_monitor(*RAM, "--export", adapter)
        second, ended = self.connect_monitor(), threading.Event()

        def remove_again_and_again():
            while not ended.is_set():
                self.remove(second)

        other = threading.Thread(target=remove_again_and_again)
        other.start()
        try:
            for _ in range(ROUNDS):
                first.run("device_add", driver="scsi-hd", id="d0", drive="n0", bus="s0.0")
                self.remove(first)
                first.wait_event("DEVICE_DELETED", device="d0")
        finally:
            ended.set()
            other.join()
        self.assert_ends(daemon)

    def test_client_when_it_goes_at_any_step_then_others_are_served(self):
        daemon, monitor = self.with_monitor(*RAM, *self.export())
        steps = [b"", b"{", b'{"execute": "qmp_capabilities"}', b"garbage\xff\x00", b'{"execute": "qmp_capabilities"}{"execute": "query-qmp-schema"}']
        for step in steps * 3:
            channel = self.raw()
            channel.sendall(step)
            channel.close()
        wait_until(lambda: len(monitor.run("query-block-exports")) == 1, SECONDS, "the monitor answers")
        before = daemon.count_fds()
        self.raw().close()
        wait_until(lambda: daemon.count_fds() <= before, SECONDS, "the client is forgotten")
        self.assertEqual(daemon.lines(), [])

    def test_command_when_too_long_then_only_that_client_is_dropped(self):
        _, monitor = self.with_monitor(*RAM, *self.export())
        long = self.raw()
        try:
            long.sendall(b'{"execute": "' + b"x" * (3 << 20))
            while long.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
        monitor.run("query-iothreads")

    def test_pretty_when_wanted_then_spread_over_lines(self):
        path = self.folder / "p"
        options = ["--chardev", f"socket,id=p,path={path},server,nowait", "--monitor", "p,pretty"]
        self.daemon(*options)
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(path))
            channel.settimeout(SECONDS)
            channel.sendall(b'{"execute": "qmp_capabilities"}')
            data = b""
            while b'{\n    "return": {}\n}' not in data:
                data += channel.recv(4096)


class Life(Case):
    def test_quit_when_asked_then_requests_are_finished_first(self):
        slow = ["--blockdev", "null-co,node-name=n0,size=1M,latency-ns=2000000000"]
        daemon, monitor = self.with_monitor(*slow, *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            number = ring.put(READ, 0, room=512)
            ring.kick()
            queue = lambda: monitor.run("query-block-exports")[0]["queues"][0]  # noqa: E731
            wait_until(lambda: queue()["in-flight"] + queue()["requests"] == 1, SECONDS, "the request is taken")
            monitor.run("quit")
            event = monitor.wait_event("SHUTDOWN")
            self.assertEqual(event["data"], {"guest": False, "reason": "host-qmp-quit"})
            self.assertEqual(daemon.wait(SECONDS), 0)
            self.assertEqual(ring.status(number), 0)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.is_socket()], [])
        self.assertEqual(daemon.lines(), [])

    def test_sigterm_when_client_listens_then_told(self):
        daemon, monitor = self.with_monitor(*RAM, *self.export())
        daemon.send(signal.SIGTERM)
        self.assertEqual(monitor.wait_event("SHUTDOWN")["data"]["reason"], "host-signal")
        monitor.wait_event("BLOCK_EXPORT_DELETED", id="e0")
        self.assertEqual(daemon.wait(SECONDS), 0)

    def test_daemon_when_its_last_export_goes_then_stays_for_its_monitor(self):
        mine, theirs = socket.socketpair()
        export = f"vhost-user-blk,id=e0,node-name=n0,addr.type=fd,addr.str={theirs.fileno()}"
        _, monitor = self.with_monitor(*RAM, "--export", export, pass_fds=[theirs.fileno()])
        theirs.close()
        mine.close()
        monitor.wait_event("BLOCK_EXPORT_DELETED", id="e0")
        self.assertEqual(monitor.run("query-block-exports"), [])

    def test_killed_daemon_when_started_again_then_same_sockets(self):
        for _ in range(3):
            daemon, monitor = self.with_monitor(*RAM, *self.export())
            with FrontEnd(self.socket) as front:
                self.assertEqual(front.set_up().capacity(), 1 << 20)
            self.assertEqual(len(monitor.run("query-block-exports")), 1)
            daemon.kill()
            self.assertTrue((self.folder / "m").is_socket())

    def test_live_monitor_when_another_daemon_wants_its_socket_then_not_stolen(self):
        _, monitor = self.with_monitor()
        self.assert_refused(f"--chardev m: socket '{self.folder}/m' is in use by another process", *self.monitor_options())
        monitor.run("query-iothreads")

    def test_daemonize_when_it_returns_then_monitor_listens(self):
        status, words = self.run_daemon(*self.monitor_options(), "--daemonize", "--pidfile", "pid")
        self.assertEqual((status, words), (0, ""))
        pid = int((self.folder / "pid").read_text())
        self.addCleanup(self.kill_if_there, pid)
        self.connect_monitor().run("quit")
        wait_until(lambda: not (self.folder / "m").exists(), SECONDS, "the daemon cleans up")

    def test_sigterm_when_sent_twice_then_monitor_socket_is_gone_too(self):
        slow = ["--blockdev", "null-co,node-name=n0,size=1M,latency-ns=100000000000"]
        daemon, monitor = self.with_monitor(*slow, *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            ring.put(READ, 0, room=512)
            ring.kick()
            in_flight = lambda: monitor.run("query-block-exports")[0]["queues"][0]["in-flight"] == 1  # noqa: E731
            wait_until(in_flight, SECONDS, "the request is taken")
            daemon.send(signal.SIGTERM)
            monitor.wait_event("SHUTDOWN")
            sentence = "ringlaned is ending"
            with self.assertRaisesRegex(RuntimeError, sentence):
                monitor.run("object-add", **{"qom-type": "iothread", "id": "t0"})
            daemon.send(signal.SIGTERM)
            self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertFalse((self.folder / "m").exists())


if __name__ == "__main__":
    captive.main()
