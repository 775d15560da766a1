#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SCSI adapters of ringlaned with clients: disks behind them, how they come, go, grow and are shared.

usage: tests/integration/ringlaned_scsi.py PATH-OF-RINGLANED
"""

import os
import select
import signal
import struct
import threading

import captive
from captive import SECONDS, Case
from process import wait_until
from vhost_user import (
    CHECK_CONDITION,
    CONFIG,
    EVENTS_MISSED,
    FUNCTION_COMPLETE,
    GET_PROTOCOL_FEATURES,
    GET_QUEUE_NUM,
    GOOD,
    INCORRECT_LUN,
    LUN_RESET,
    PARAM_CHANGE,
    QUERY_TASK,
    REMOVED,
    RESCAN,
    RESET_DEVICE,
    S_BAD_TARGET,
    S_OK,
    SIZE,
    TRANSPORT_RESET,
    FrontEnd,
    ScsiFrontEnd,
)

FINE = (S_OK, GOOD)
POWER_ON, LUNS_CHANGED, CAPACITY_CHANGED = (0x29, 0), (0x3F, 0x0E), (0x2A, 0x09)
RESERVATION_CONFLICT = 0x18
IN_FLIGHT = SIZE // 4
LONG = 6000  # milliseconds: for what must be seen while commands are in flight


def ram(name, size="1M"):
    return ["--blockdev", f"ram,node-name={name},size={size}"]


def slow(name, milliseconds=2000):  # slow enough to look at what is in flight on a busy machine
    return ["--blockdev", f"null-co,node-name={name},size=1M,latency-ns={milliseconds * 1000000}"]


def disk(node, bus="s0.0", more="", name=None):
    return ["--device", f"scsi-hd,id={name or 'd-' + node},drive={node},bus={bus}{',' if more else ''}{more}"]


class Adapters(Case):
    def adapter(self, name="s0", path=None, more="num-queues=2"):
        return ["--export", f"vhost-user-scsi,id={name},addr.type=unix,addr.path={path or self.socket},{more}"]

    def connect(self, path=None, queues=2, cold=True):
        """A front end whose rings all run; the attentions of target 0, LUN 0 are taken."""
        front = ScsiFrontEnd(path or self.socket, queues)
        self.addCleanup(front.close)
        rings = front.start_all()
        if cold:
            self.assertEqual(rings[0].settle(), [POWER_ON])
        return front, rings

    def assert_fine(self, answer, data=None):
        self.assertEqual(answer.outcome, FINE, answer.sense.hex())
        if data is not None:
            self.assertEqual(answer.data, data)


class Disks(Adapters):
    def test_disk_when_written_by_one_queue_then_read_by_another(self):
        self.daemon(*ram("n0"), *self.adapter(), *disk("n0"))
        _, (first, second) = self.connect()
        self.assertEqual(first.capacity(), 1 << 20)
        self.assert_fine(first.write(7, b"a" * 1024))
        self.assert_fine(second.read(8, 1), b"a" * 512)

    def test_names_when_given_then_told(self):
        keys = "vendor=Vend,product=Prod,ver=9.8,serial=S-123,wwn=0x5000c500a1b2c3d4"
        self.daemon(*ram("n0"), *self.adapter(), *disk("n0", more=keys))
        _, (ring, _) = self.connect()
        data = ring.inquiry()
        self.assertEqual((data[8:16], data[16:32], data[32:36]), (b"Vend    ", b"Prod".ljust(16), b"9.8 "))
        page = ring.inquiry(page=0x80)
        self.assertEqual(page[4 : 4 + page[3]], b"S-123")
        self.assertIn(bytes.fromhex("5000c500a1b2c3d4"), ring.inquiry(page=0x83))

    def test_names_when_not_given_then_the_same_in_each_run(self):
        pages = []
        for _ in range(2):
            daemon = self.daemon(*ram("n0"), *ram("n1"), *self.adapter(), *disk("n0"), *disk("n1"))
            _, (ring, _) = self.connect()
            ring.settle(target=1)
            self.assertEqual(ring.inquiry()[8:36], b"RINGLANE" + b"Ringlane disk".ljust(16) + b"0.1 ")
            pages.append([ring.inquiry(page=number, target=target) for number in (0x80, 0x83) for target in (0, 1)])
            self.assert_ends(daemon)
        self.assertEqual(pages[0], pages[1])
        self.assertEqual(len({bytes(page) for page in pages[0]}), 4)

    def test_addresses_when_given_and_not_then_there(self):
        nodes = [option for number in range(5) for option in ram(f"n{number}", f"{number + 1}M")]
        devices = [
            *disk("n0", more="scsi-id=3,lun=300"),
            *disk("n1"),
            *disk("n2", more="scsi-id=3"),
            *disk("n3", more="lun=7"),
            *disk("n4", more="scsi-id=255,lun=16383"),
        ]
        daemon, monitor = self.with_monitor(*nodes, *self.adapter(), *devices)
        told = monitor.run("query-block-exports")[0]["devices"]
        places = [(device["drive"], device["scsi-id"], device["lun"]) for device in told]
        _, (ring, _) = self.connect(cold=False)
        for node, target, lun in places:
            where = {"target": target, "lun": lun}
            self.assertIn(POWER_ON, ring.settle(**where))
            self.assertEqual(ring.capacity(**where), (int(node[1:]) + 1) << 20, where)
        self.assertIn(("n0", 3, 300), places)
        self.assertIn(("n4", 255, 16383), places)
        self.assertEqual([place[1] for place in places if place[0] == "n2"], [3])
        self.assertEqual([place[2] for place in places if place[0] == "n3"], [7])
        self.assertEqual(len(set(place[1:] for place in places)), 5)

    def test_address_when_nothing_is_there_then_said(self):
        self.daemon(*ram("n0"), *self.adapter(), *disk("n0"))
        front, (ring, _) = self.connect()
        self.assertEqual(ring.command(bytes(6), target=1).response, S_BAD_TARGET)
        answer = ring.command(bytes(6), lun=1)
        self.assertEqual((answer.outcome, answer.attention), ((S_OK, CHECK_CONDITION), (5, 0x25, 0)))
        self.assertEqual(front.control.manage(LUN_RESET, lun=1), INCORRECT_LUN)

    def test_node_when_read_only_then_disk_is_write_protected(self):
        self.daemon("--blockdev", "ram,node-name=n0,size=1M,read-only=on", *self.adapter(), *disk("n0"))
        _, (ring, _) = self.connect()
        self.assert_fine(ring.read(0), bytes(512))
        answer = ring.write(0, b"x" * 512)
        self.assertEqual((answer.status, answer.attention[:2]), (CHECK_CONDITION, (7, 0x27)))

    def test_management_when_asked_then_answered(self):
        self.daemon(*ram("n0"), *self.adapter(), *disk("n0"))
        front, (ring, _) = self.connect()
        self.assertEqual(front.control.manage(QUERY_TASK, tag=5), FUNCTION_COMPLETE)
        self.assertEqual(front.control.manage(LUN_RESET), FUNCTION_COMPLETE)
        attentions = ring.settle()
        self.assertEqual([attention[0] for attention in attentions], [0x29])
        self.assert_fine(ring.read(0))

    def test_adapter_when_it_has_no_disk_then_served(self):
        daemon = self.daemon(*self.adapter())
        _, (ring, _) = self.connect(cold=False)
        self.assertEqual(ring.command(bytes(6)).response, S_BAD_TARGET)
        self.assert_ends(daemon)

    def test_reset_when_it_comes_then_begins_anew(self):
        self.daemon(*ram("n0"), *self.adapter(), *disk("n0"))
        front, rings = self.connect()
        for _ in range(3):
            self.assert_fine(rings[0].write(0, b"r" * 512))
            front.must(RESET_DEVICE)
            for index, ring in enumerate(front.rings):
                ring.clear()
                front.start(index)
            self.assertEqual(len(rings[0].settle()), 1)
            self.assert_fine(rings[1].read(0), b"r" * 512)

    def test_ring_when_stopped_in_flight_then_answers_after_them(self):
        _, monitor = self.with_monitor(*slow("n0"), *self.adapter(), *disk("n0"))
        front, (ring, _) = self.connect()
        asked = lambda: monitor.run("query-block-exports")[0]["devices"][0]["requests"]
        before = asked()
        numbers = [ring.put_command([0x28] + [0] * 7 + [1, 0], room=512) for _ in range(IN_FLIGHT)]
        ring.kick()
        wait_until(lambda: asked() == before + IN_FLIGHT, SECONDS, "they are taken")
        base = front.stop(2)
        self.assertEqual((base, ring.used_count()), (ring.next, ring.next))
        for number in numbers:
            self.assertEqual(ring.answer(number).outcome, FINE)
        self.assertEqual(front.stop(0), 0)
        self.assertEqual(front.stop(1), 0)


class Protocol(Adapters):
    def test_features_when_asked_then_no_config(self):
        self.daemon(*self.adapter(more="num-queues=7"))
        with ScsiFrontEnd(self.socket) as front:
            offered, = struct.unpack("=Q", front.ask(GET_PROTOCOL_FEATURES))
            self.assertEqual(offered & CONFIG, 0)
            self.assertEqual(struct.unpack("=Q", front.ask(GET_QUEUE_NUM)), (9,))

    def test_mapping_when_given_then_counts_request_queues(self):
        threads = ["--object", "iothread,id=t0", "--object", "iothread,id=t1"]
        keys = (
            "num-queues=3,iothread-vq-mapping.0.iothread=t0,iothread-vq-mapping.0.vqs.0=1,"
            "iothread-vq-mapping.1.iothread=t1,iothread-vq-mapping.1.vqs.0=0,iothread-vq-mapping.1.vqs.1=2"
        )
        daemon, monitor = self.with_monitor(*threads, *ram("n0"), *self.adapter(more=keys), *disk("n0"))
        _, rings = self.connect(queues=3)
        for ring in rings:
            self.assert_fine(ring.read(0))
        lines = daemon.map(5)
        self.assertEqual([line.split("queue ")[1].split(":")[0] for line in lines], ["ctrl", "event", "0", "1", "2"])
        self.assertRegex(lines[0], rf"^export s0: queue ctrl: main loop, tid {daemon.pid}, cpus \S+, waiting, requests 0,")
        queues = monitor.run("query-block-exports")[0]["queues"]
        self.assertEqual([queue["queue"] for queue in queues], ["ctrl", "event", "0", "1", "2"])
        self.assertEqual([queue["iothread"] for queue in queues], ["main", "main", "t1", "t0", "t1"])
        served = {thread["id"]: [queue["queue"] for queue in thread["queues"]] for thread in monitor.run("query-iothreads")}
        self.assertEqual(served, {"t0": ["1"], "t1": ["0", "2"]})

    def test_mapping_when_no_client_then_it_is_known_all_the_same(self):
        keys = "num-queues=2,iothread-vq-mapping.0.iothread=t0"
        options = [*self.adapter(more=keys), *self.adapter("s1", self.folder / "other")]  # the second one's IOThreads are not known yet
        daemon, monitor = self.with_monitor("--object", "iothread,id=t0", *ram("n0"), *options, *disk("n0"))
        exports = {export["id"]: export for export in monitor.run("query-block-exports")}
        told = [(queue["queue"], queue["iothread"], queue["state"]) for queue in exports["s0"]["queues"]]
        known = (("ctrl", "main"), ("event", "main"), ("0", "t0"), ("1", "t0"))
        self.assertEqual(told, [(name, thread, "stopped") for name, thread in known])
        self.assertEqual([queue["queue"] for queue in exports["s1"]["queues"]], ["ctrl", "event"])
        (thread,) = monitor.run("query-iothreads")
        self.assertEqual({queue["thread-id"] for queue in exports["s0"]["queues"]}, {daemon.pid, thread["thread-id"]})
        self.assertEqual([queue["queue"] for queue in thread["queues"]], ["0", "1"])

    def test_client_when_it_vanishes_in_flight_then_next_is_served(self):
        daemon = self.daemon(*slow("n0", 50), *self.adapter(), *disk("n0"))
        counts = []
        for _ in range(6):
            with ScsiFrontEnd(self.socket, 2) as front:
                rings = front.start_all()
                for ring in rings:
                    for _ in range(IN_FLIGHT):
                        ring.put_command([0x28] + [0] * 7 + [1, 0], room=512)
                    ring.kick()
                front.control.put_management(LUN_RESET)
                front.control.kick()
                front.events.put_event()
                rings[0].wait(1)
            with ScsiFrontEnd(self.socket, 2) as front:
                ring = front.start_all()[0]
                self.assertEqual(len(ring.settle()), 1)
                self.assert_fine(ring.read(0))
                counts.append(daemon.count_fds())
        self.assertEqual(len(set(counts)), 1, counts)
        self.assertEqual(daemon.lines(), [])
        self.assert_ends(daemon)

    def test_chain_when_broken_then_only_that_queue(self):
        daemon = self.daemon(*ram("n0"), *self.adapter(), *disk("n0"))
        front, rings = self.connect()
        for ring, name in ((rings[1], "1"), (front.control, "ctrl")):
            ring.make_available(SIZE + 5)
            ring.kick()
            daemon.wait_line(f"export s0: queue {name}: ")
        self.assert_fine(rings[0].read(0))
        self.assert_ends(daemon)


class Plugging(Adapters):
    def keep_busy(self, rings, turn):
        for index, ring in enumerate(rings):
            data = bytes([turn % 256, index]) * 256
            self.assert_fine(ring.write(8 * index, data))
            self.assert_fine(ring.read(8 * index), data)

    def test_disk_when_plugged_then_driver_is_told_and_others_go_on(self):
        _, monitor = self.with_monitor(*ram("n0"), *self.adapter(), *disk("n0"))
        front, rings = self.connect()
        told = front.events.put_event()
        monitor.run("blockdev-add", driver="ram", size=2 << 20, **{"node-name": "n1"})
        monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0", **{"scsi-id": 0, "lun": 4})
        self.assertEqual(front.events.event(told), (TRANSPORT_RESET, 0, 4, RESCAN))
        self.assertEqual(rings[0].settle(), [LUNS_CHANGED])
        self.keep_busy(rings, 1)
        self.assertEqual(rings[1].settle(lun=4), [POWER_ON])
        self.assertEqual(rings[1].capacity(lun=4), 2 << 20)
        told = front.events.put_event()
        monitor.run("device_del", id="d1")
        monitor.wait_event("DEVICE_DELETED", device="d1", path="/machine/peripheral/d1")
        self.assertEqual(front.events.event(told), (TRANSPORT_RESET, 0, 4, REMOVED))
        self.assertEqual(rings[0].settle(), [LUNS_CHANGED])
        self.assertEqual(rings[0].command(bytes(6), lun=4).attention, (5, 0x25, 0))
        monitor.run("blockdev-del", **{"node-name": "n1"})
        self.assertEqual([device["id"] for device in monitor.run("query-block-exports")[0]["devices"]], ["d-n0"])

    def test_disks_when_plugged_and_unplugged_under_load_then_no_command_is_lost(self):
        daemon, monitor = self.with_monitor(*ram("n0"), *ram("n1"), *self.adapter(), *disk("n0"))
        _, rings = self.connect()
        counts = []
        for turn in range(30):
            monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0", **{"scsi-id": 1})
            rings[0].settle()
            self.keep_busy(rings, turn)
            self.assertEqual(rings[1].settle(target=1), [POWER_ON])
            self.assert_fine(rings[1].write(turn, bytes([turn]) * 512, target=1))
            monitor.run("device_del", id="d1")
            monitor.wait_event("DEVICE_DELETED", device="d1")
            counts.append(daemon.count_fds())
        self.assertEqual(len(set(counts[2:])), 1, counts)
        self.assertEqual(daemon.lines(), [])

    def test_disk_when_unplugged_in_flight_then_commands_are_finished(self):
        _, monitor = self.with_monitor(*ram("n0"), *slow("n1", LONG), *self.adapter(), *disk("n0"), *disk("n1"))
        _, rings = self.connect()
        self.assertEqual(rings[1].settle(target=1), [POWER_ON])
        numbers = [rings[1].put_command([0x28] + [0] * 7 + [1, 0], room=512, target=1) for _ in range(IN_FLIGHT)]
        rings[1].kick()
        device = lambda: monitor.run("query-block-exports")[0]["devices"][1]  # noqa: E731
        wait_until(lambda: device()["in-flight"] == IN_FLIGHT, SECONDS, "the commands are taken")
        monitor.run("device_del", id="d-n1")
        with self.assertRaisesRegex(RuntimeError, "Device d-n1 is already in the process of unplug"):
            monitor.run("device_del", id="d-n1")
        with self.assertRaisesRegex(RuntimeError, "in use"):
            monitor.run("blockdev-del", **{"node-name": "n1"})
        self.keep_busy(rings[:1], 1)
        monitor.wait_event("DEVICE_DELETED", device="d-n1")
        rings[1].wait(rings[1].next)
        for number in numbers:
            self.assertEqual(rings[1].answer(number).outcome, FINE)
        self.assertEqual(rings[1].command(bytes(6), target=1).response, S_BAD_TARGET)

    def test_event_when_there_was_no_buffer_then_missed_is_told(self):
        _, monitor = self.with_monitor(*ram("n0"), *ram("n1"), *self.adapter(), *disk("n0"))
        front, _ = self.connect()
        told = front.events.put_event()
        monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0")
        self.assertEqual(front.events.event(told)[0], TRANSPORT_RESET)
        monitor.run("device_del", id="d1")
        monitor.wait_event("DEVICE_DELETED")
        event, _, _, _ = front.events.event(front.events.put_event())
        self.assertTrue(event & EVENTS_MISSED)

    def test_export_when_deleted_then_its_disks_go_with_it(self):
        daemon, monitor = self.with_monitor(*slow("n0", LONG), *ram("n1"), *self.adapter(), *disk("n0"), *disk("n1"))
        front, rings = self.connect()
        number = rings[0].put_command([0x28] + [0] * 7 + [1, 0], room=512)
        rings[0].kick()
        with self.assertRaisesRegex(RuntimeError, "export 's0' still in use"):
            monitor.run("block-export-del", id="s0")
        in_flight = lambda: monitor.run("query-block-exports")[0]["devices"][0]["in-flight"] == 1  # noqa: E731
        wait_until(in_flight, SECONDS, "the command is taken")
        monitor.run("block-export-del", id="s0", mode="hard")
        with self.assertRaisesRegex(RuntimeError, "Bus 's0.0' is going away"):
            monitor.run("device_add", driver="scsi-hd", drive="n2", bus="s0.0")
        for name in ("d-n0", "d-n1"):
            monitor.wait_event("DEVICE_DELETED", device=name)
        monitor.wait_event("BLOCK_EXPORT_DELETED", id="s0")
        self.assertEqual(rings[0].answer(number).outcome, FINE)
        for node in ("n0", "n1"):
            monitor.run("blockdev-del", **{"node-name": node})
        self.assertEqual(daemon.lines(), [])
        self.assert_ends(daemon)

    def test_adapter_when_added_at_run_time_then_as_from_the_command_line(self):
        _, monitor = self.with_monitor()
        monitor.run("object-add", **{"qom-type": "iothread", "id": "t0"})
        monitor.run("blockdev-add", driver="ram", size=1 << 20, **{"node-name": "n0"})
        keys = {"addr": {"type": "unix", "path": str(self.socket)}, "num-queues": 2, "iothread": "t0"}
        monitor.run("block-export-add", type="vhost-user-scsi", id="s0", **keys)
        monitor.run("device_add", driver="scsi-hd", drive="n0", bus="s0.0", serial="hot", wwn="0x5000c500a1b2c3d4")
        _, rings = self.connect()
        self.keep_busy(rings, 5)
        told, = monitor.run("query-block-exports")
        self.assertEqual(told["devices"][0]["serial"], "hot")
        self.assertEqual(told["devices"][0]["wwn"], "0x5000c500a1b2c3d4")
        self.assertEqual(told["devices"][0]["id"], "scsi-hd0")
        monitor.run("device_del", id="/machine/peripheral/scsi-hd0")
        monitor.wait_event("DEVICE_DELETED", device="scsi-hd0")

    def test_node_when_it_was_opened_for_reading_then_no_disk_that_writes(self):
        _, monitor = self.with_monitor(*ram("n0"), *self.adapter(), *self.export(path=self.folder / "blk", more="num-queues=1"))
        monitor.run("block-export-del", id="e0")
        monitor.wait_event("BLOCK_EXPORT_DELETED", id="e0")
        with self.assertRaisesRegex(RuntimeError, "node 'n0' was opened for reading, because nothing wrote it then"):
            monitor.run("device_add", driver="scsi-hd", drive="n0", bus="s0.0")
        monitor.run("blockdev-del", **{"node-name": "n0"})
        monitor.run("blockdev-add", driver="ram", size=1 << 20, **{"node-name": "n0"})
        monitor.run("device_add", driver="scsi-hd", drive="n0", bus="s0.0")

    def test_device_when_it_cannot_be_made_then_nothing_is_left(self):
        _, monitor = self.with_monitor(*ram("n0"), *ram("n1"), *self.adapter(), *disk("n0"))
        before = monitor.run("query-block-exports")
        for keys in ({"serial": "x" * 37}, {"vendor": "x" * 9}, {"scsi-id": 0, "lun": 0}, {"logical_block_size": 1000}):
            with self.assertRaises(RuntimeError):
                monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0", **keys)
        self.assertEqual(monitor.run("query-block-exports"), before)
        monitor.run("blockdev-del", **{"node-name": "n1"})


    def test_disk_when_sanitizing_then_resize_waits_for_a_piece_and_unplug_for_its_end(self):
        for waits in (True, False):
            daemon, monitor = self.with_monitor(*ram("n0"), *slow("n1", 100), *self.adapter(), *disk("n0"), *disk("n1"))
            _, (ring, _) = self.connect()
            self.assertEqual(ring.settle(target=1), [POWER_ON])
            self.assert_fine(ring.command([0x48, 0x82] + [0] * 8, target=1))
            resized = threading.Thread(target=monitor.run, args=("block_resize",), kwargs={"node-name": "n1", "size": 1 << 19})
            resized.start()
            other = self.connect_monitor()
            if waits:
                resized.join()
            other.run("device_del", id="d-n1")
            other.wait_event("DEVICE_DELETED", device="d-n1")
            resized.join()
            ring.settle()
            self.assert_fine(ring.read(0))
            self.assert_ends(daemon)

    def test_disk_when_its_name_is_in_use_then_refused(self):
        keys = "wwn=0x5000c500a1b2c3d4,serial=one"
        _, monitor = self.with_monitor(*ram("n0"), *ram("n1"), *ram("n2"), *self.adapter(), *disk("n0", more=keys), *disk("n2", more="serial=two"))
        add = lambda **keys: monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0", **keys)  # noqa: E731
        with self.assertRaisesRegex(RuntimeError, "Property 'scsi-hd.wwn' can't take value '0x5000c500a1b2c3d4', it's in use by the disk of node 'n0'$"):
            add(wwn="0x5000c500a1b2c3d4")
        with self.assertRaisesRegex(RuntimeError, "Property 'scsi-hd.serial' can't take value 'two', the WWN made of it is in use by the disk of node 'n2'$"):
            add(serial="two")
        add(serial="one")
        monitor.run("device_del", id="d1")
        monitor.wait_event("DEVICE_DELETED", device="d1")


class Sizes(Adapters):
    def image(self, name="n0"):
        path = self.make_image(name)
        return path, ["--blockdev", f"file,node-name={name},filename={path}"]

    def test_disk_when_resized_under_load_then_driver_is_told(self):
        _, options = self.image()
        _, monitor = self.with_monitor(*options, *ram("n1"), *self.adapter(), *disk("n0"), *disk("n1"))
        front, rings = self.connect()
        rings[1].settle(target=1)
        for size in (4 << 20, 2 << 20, 3 << 20):
            told = front.events.put_event()
            busy = [rings[0].put_command([0x28] + [0] * 7 + [1, 0], room=512) for _ in range(IN_FLIGHT)]
            rings[0].kick()
            monitor.run("block_resize", **{"node-name": "n0", "size": size})
            self.assert_fine(rings[1].write(0, b"o" * 512, target=1))
            rings[0].wait(rings[0].next)
            seen = [rings[0].answer(number) for number in busy]
            attentions = [answer.attention[1:] for answer in seen if answer.status == CHECK_CONDITION]
            event, target, lun, reason = front.events.event(told)
            self.assertEqual((event, target, lun, reason), (PARAM_CHANGE, 0, 0, 0x2A | 0x09 << 8))
            self.assertEqual(attentions + rings[0].settle(), [CAPACITY_CHANGED])
            self.assertEqual(rings[0].capacity(), size)
        self.assertEqual(rings[1].settle(target=1), [])

    def test_sighup_when_image_grew_then_driver_is_told(self):
        path, options = self.image()
        daemon = self.daemon(*options, *self.adapter(), *disk("n0"))
        front, rings = self.connect()
        told = front.events.put_event()
        os.truncate(path, 8 << 20)
        daemon.send(signal.SIGHUP)
        self.assertEqual(front.events.event(told)[0], PARAM_CHANGE)
        self.assertEqual(rings[0].settle(), [CAPACITY_CHANGED])
        self.assertEqual(rings[0].capacity(), 8 << 20)
        self.assert_fine(rings[0].write(8000, b"n" * 512))

    def test_size_when_node_under_it_changes_then_follows(self):
        _, options = self.image("under")
        window = ["--blockdev", "raw,node-name=n0,file=under,offset=64K"]
        _, monitor = self.with_monitor(*options, *window, *self.adapter(), *disk("n0"))
        _, rings = self.connect()
        monitor.run("block_resize", **{"node-name": "under", "size": 2 << 20})
        self.assertEqual(rings[0].settle(), [CAPACITY_CHANGED])
        self.assertEqual(rings[0].capacity(), (2 << 20) - 65536)


class Sharing(Adapters):
    def setUp(self):
        super().setUp()
        self.other = self.folder / "other"
        shared = "share-rw=on,serial=one"
        self.options = [
            *(*self.adapter(), *self.adapter("s1", self.other)),
            *(*disk("n0", more=shared, name="d0"), *disk("n0", bus="s1.0", more=shared, name="d1")),
        ]

    def persist(self, ring, action, kind, key, service_key):
        cdb = struct.pack(">BBBHIB", 0x5F, action, kind, 0, 24, 0)
        return ring.command(cdb, struct.pack(">QQII", key, service_key, 0, 0))

    def test_disk_when_on_two_adapters_then_one_disk_and_two_initiators(self):
        self.daemon(*ram("n0"), *self.options)
        _, (first, _) = self.connect()
        _, (second, _) = self.connect(self.other)
        self.assert_fine(first.write(0, b"1" * 512))
        self.assert_fine(second.read(0), b"1" * 512)
        self.assertEqual(first.inquiry(page=0x80), second.inquiry(page=0x80))
        self.assertNotEqual(first.inquiry(page=0x83), second.inquiry(page=0x83))
        self.assert_fine(self.persist(first, 0, 0, 0, 0xA))
        self.assert_fine(self.persist(first, 1, 1, 0xA, 0))  # write exclusive
        self.assertEqual(second.write(0, b"2" * 512).status, RESERVATION_CONFLICT)
        self.assert_fine(second.read(0), b"1" * 512)
        self.assert_fine(self.persist(second, 0, 0, 0, 0xB))
        self.assert_fine(self.persist(second, 4, 1, 0xB, 0xA))  # preempt
        self.assert_fine(second.write(0, b"2" * 512))
        self.assertEqual([attention[0] for attention in first.settle()], [0x2A])
        self.assertEqual(first.write(0, b"1" * 512).status, RESERVATION_CONFLICT)

    def test_disk_when_one_of_its_devices_goes_then_the_other_stays(self):
        _, monitor = self.with_monitor(*ram("n0"), *self.options)
        _, (first, _) = self.connect()
        _, (second, _) = self.connect(self.other)
        monitor.run("device_del", id="d0")
        monitor.wait_event("DEVICE_DELETED", device="d0")
        self.assertEqual(first.command(bytes(6)).response, S_BAD_TARGET)
        self.assert_fine(second.write(0, b"2" * 512))
        with self.assertRaisesRegex(RuntimeError, "Node 'n0' is in use"):
            monitor.run("blockdev-del", **{"node-name": "n0"})
        monitor.run("device_add", driver="scsi-hd", id="d0", drive="n0", bus="s0.0", serial="one", **{"share-rw": True})
        self.assertIn(POWER_ON, first.settle())
        self.assert_fine(first.read(0), b"2" * 512)

    def test_reservation_when_kept_on_disk_then_survives_a_restart(self):
        state = f"state={self.folder}/state"
        options = [option.replace("share-rw=on", f"share-rw=on,{state}") for option in self.options]
        path = self.make_image()
        options = ["--blockdev", f"file,node-name=n0,filename={path}", *options]
        daemon = self.daemon(*options)
        _, (first, _) = self.connect()
        cdb = struct.pack(">BBBHIB", 0x5F, 0, 0, 0, 24, 0)
        self.assert_fine(first.command(cdb, struct.pack(">QQIBBH", 0, 0xA, 0, 1, 0, 0)))  # APTPL
        self.assert_fine(self.persist(first, 1, 1, 0xA, 0))
        daemon.kill()
        self.daemon(*options)
        _, (second, _) = self.connect(self.other)
        self.assertEqual(second.write(0, b"2" * 512).status, RESERVATION_CONFLICT)
        _, (first, _) = self.connect()
        self.assert_fine(first.write(0, b"1" * 512))


class Ends(Adapters):
    def test_sigterm_when_commands_are_in_flight_then_they_end_first(self):
        daemon = self.daemon(*slow("n0"), *self.adapter(), *disk("n0"))
        front, rings = self.connect()
        start = [ring.next for ring in rings]
        for ring in rings:
            for _ in range(IN_FLIGHT):
                ring.put_command([0x28] + [0] * 7 + [1, 0], room=512)
            ring.kick()
        wait_until(lambda: daemon.count_taken(4) == sum(ring.next for ring in rings), SECONDS, "all commands are taken")
        self.assert_ends(daemon)
        for ring, first in zip(rings, start):
            self.assertEqual(ring.used_count(), ring.next)
            self.assertEqual([ring.answer(number).outcome for number in range(first, ring.next)], [FINE] * IN_FLIGHT)
        self.assertTrue(front.is_closed())
        self.assertFalse(self.socket.exists())

    def test_killed_daemon_when_started_again_then_same_sockets_and_data(self):
        path = self.make_image()
        options = ["--blockdev", f"file,node-name=n0,filename={path}", *self.adapter(), *disk("n0")]
        for turn in range(3):
            daemon, monitor = self.with_monitor(*options)
            with ScsiFrontEnd(self.socket, 2) as front:
                ring = front.start_all()[0]
                self.assertEqual(ring.settle(), [POWER_ON])
                if turn:
                    self.assert_fine(ring.read(0), bytes([turn - 1]) * 512)
                self.assert_fine(ring.write(0, bytes([turn]) * 512))
                ring.put_command([0x28] + [0] * 7 + [1, 0], room=512)
                ring.kick()
                daemon.kill()
        self.assertEqual(daemon.lines(), [])

    def test_other_clients_when_one_never_reads_then_disks_go_on(self):
        daemon, monitor = self.with_monitor(*ram("n0"), *ram("n1"), *self.adapter(), *disk("n0"))
        deaf = self.connect_monitor().channel.socket
        deaf.setblocking(False)
        self.assertGreater(deaf.send(b'{"execute": "query-qmp-schema"}' * 3000), 0)
        _, rings = self.connect()
        for turn in range(50):
            monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0")
            rings[0].settle()
            self.assert_fine(rings[0].write(turn, bytes([turn]) * 512))
            monitor.run("device_del", id="d1")
            monitor.wait_event("DEVICE_DELETED", device="d1")
        self.assertTrue(select.select([deaf], [], [], 0)[0])
        self.assert_ends(daemon)

    def test_blk_and_scsi_when_in_one_daemon_then_both_served(self):
        blk = self.folder / "blk"
        daemon = self.daemon(
            *ram("n0"), *ram("n1"), *self.adapter(), *disk("n0"), *self.export("n1", blk, "e0", "writable=on,num-queues=1")
        )
        _, rings = self.connect()
        with FrontEnd(blk) as front:
            ring = front.set_up().start()
            self.assertEqual(ring.run(1, 0, b"b" * 512)[0], 0)
            self.assert_fine(rings[0].write(0, b"s" * 512))
            self.assertEqual(ring.run(0, 0, room=512), (0, b"b" * 512))
        self.assert_ends(daemon)


if __name__ == "__main__":
    captive.main()
