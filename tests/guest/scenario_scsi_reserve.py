# SPDX-License-Identifier: MIT
"""Persistent reservations between two guests that share a disk through two adapters of one daemon: a cluster of two."""

from guest import Guest
from scsi import ScsiScenario

WRITE_EXCLUSIVE, EXCLUSIVE, WRITE_REGISTRANTS, EXCLUSIVE_REGISTRANTS = 1, 3, 5, 6
ATTENTION, CONFLICT = 6, 24  # exit statuses of sg3-utils


class ScsiReserve(ScsiScenario):
    backends = {"ringlaned": ScsiScenario.backends["ringlaned"]}
    adapter_options = [{"name": "a0"}, {"name": "a1"}]
    node_options = [{"name": "shared"}]
    threads = {"t0": "", "t1": ""}
    cpus = 2

    def create_disks(self):
        self.lun_options = [
            {
                "id": f"shared{number}",
                "node": "shared",
                "adapter": f"a{number}",
                "serial": "shared",
                "options": {"share-rw": True, "state": str(self.folder / "shared.state")},
            }
            for number in (0, 1)
        ]
        super().create_disks()

    def start_guest(self):
        """Each guest has one of the adapters."""
        folder = self.folder / "second"
        folder.mkdir(exist_ok=True)
        self.second = Guest(folder, cpus=self.cpus)
        for guest, adapter in ((self.guest, self.disks[0]), (self.second, self.disks[1])):
            guest.start(self.backend.qemu_options(adapter))
        self.guests = [self.guest, self.second]
        self.names = [self.wait_disk("shared", guest=guest) for guest in self.guests]

    def kill_guests(self):
        for guest in self.guests:
            guest.kill()

    def stop(self):
        self.second.kill()
        super().stop()

    def discard(self):
        if getattr(self, "second", None):
            self.second.kill()
        self.second = None
        super().discard()

    def persist_out(self, number, words):
        """sg_persist of one of the guests; its exit status. What others have done is told once, as a unit attention."""
        command = f"/opt/sg_persist --out {words} /dev/{self.names[number]} 2>&1"
        status = self.guests[number].run(command).status
        return self.guests[number].run(command).status if status == ATTENTION else status

    def test_ready(self, number):
        return self.guests[number].run(f"/opt/sg_turs --verbose /dev/{self.names[number]} 2>&1")

    def persist_in(self, number, words):
        return self.guests[number].check(f"/opt/sg_persist --in --no-inquiry {words} /dev/{self.names[number]}")

    def register(self, number, key, words=""):
        assert self.persist_out(number, f"--register-ignore --param-sark={key} {words}") == 0

    def clear_all(self):
        for number in (0, 1):
            self.register(number, "0xc1")
        assert self.persist_out(0, "--clear --param-rk=0xc1") == 0
        assert "there are NO registered" in self.persist_in(0, "--read-keys")

    def can_read(self, number):
        return self.guests[number].run(f"dd if=/dev/{self.names[number]} of=/dev/null bs=4k count=1 iflag=direct").status == 0

    def can_write(self, number, text="text"):
        write = f"echo {text} | dd of=/dev/{self.names[number]} bs=4k count=1 conv=sync,notrunc oflag=direct"
        return self.guests[number].run(write).status == 0

    def case_both_guests_see_one_disk(self):
        assert self.can_write(0, "written-by-one")
        assert self.guests[1].check(f"dd if=/dev/{self.names[1]} bs=4k count=1 iflag=direct 2>/dev/null | head -c 14") == "written-by-one"

    def case_registrations_are_seen_by_both(self):
        self.clear_all()
        self.register(0, "0xa0")
        self.register(1, "0xa1")
        for number in (0, 1):
            keys = self.persist_in(number, "--read-keys")
            assert "0xa0" in keys and "0xa1" in keys, keys
        assert self.persist_in(0, "--read-full-status").count("Key=0xa") == 2

    def case_clear_is_told_to_the_other_once(self):
        self.clear_all()
        self.register(0, "0xa0")
        self.register(1, "0xa1")
        assert self.test_ready(1).status == 0
        assert self.persist_out(0, "--clear --param-rk=0xa0") == 0
        assert self.test_ready(0).status == 0
        told = self.test_ready(1)
        assert told.status != 0 and "Reservations preempted" in told.output, told
        assert self.test_ready(1).status == 0

    def case_reservation_keeps_the_other_out(self):
        self.clear_all()
        for kind, may_read in ((WRITE_EXCLUSIVE, True), (EXCLUSIVE, False)):
            self.register(0, "0xa0")
            assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={kind}") == 0
            assert self.can_write(0) and self.can_read(0)
            assert not self.can_write(1)
            assert self.can_read(1) == may_read, f"type {kind}"
            self.register(1, "0xa1")
            assert self.persist_out(1, f"--reserve --param-rk=0xa1 --prout-type={kind}") == CONFLICT
            assert self.persist_out(0, f"--release --param-rk=0xa0 --prout-type={kind}") == 0
            assert self.can_write(1)
            self.clear_all()

    def case_registrants_share_a_reservation(self):
        self.clear_all()
        for kind in (WRITE_REGISTRANTS, EXCLUSIVE_REGISTRANTS):
            self.register(0, "0xa0")
            assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={kind}") == 0
            assert not self.can_write(1)
            self.register(1, "0xa1")
            assert self.can_write(1) and self.can_read(1)
            self.clear_all()

    def case_preempt_takes_the_reservation_over(self):
        self.clear_all()
        self.register(0, "0xa0")
        self.register(1, "0xa1")
        assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={WRITE_EXCLUSIVE}") == 0
        assert self.persist_out(1, f"--preempt --param-rk=0xa1 --param-sark=0xa0 --prout-type={WRITE_EXCLUSIVE}") == 0
        assert "0xa1" in self.persist_in(1, "--read-reservation")
        assert "0xa0" not in self.persist_in(1, "--read-keys")
        assert self.can_write(1) and not self.can_write(0)

    def case_preempt_and_abort_fences_a_busy_guest(self):
        """The guest that is shut out is writing: none of its writes lands after the other has been answered."""
        self.clear_all()
        self.register(0, "0xa0")
        self.register(1, "0xa1")
        assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={WRITE_EXCLUSIVE}") == 0
        write = "--direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --minimal --size=16M --time_based --runtime=120"
        load = self.start_load("shared", write)
        abort = f"--preempt-abort --param-rk=0xa1 --param-sark=0xa0 --prout-type={WRITE_EXCLUSIVE}"
        assert self.persist_out(1, abort) == 0
        image = self.find_node("shared").path.read_bytes()
        assert load.wait(60) != 0, load.read_log()
        assert self.find_node("shared").path.read_bytes() == image
        assert self.can_write(1) and not self.can_write(0)
        self.clear_all()

    def case_reservation_survives_the_guests_reset(self):
        self.clear_all()
        self.register(0, "0xa0")
        assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={EXCLUSIVE}") == 0
        self.guest.reset()
        self.names[0] = self.wait_disk("shared")
        assert self.can_write(0)
        assert not self.can_read(1)

    def case_aptpl_keeps_the_reservation_over_a_restart(self):
        self.clear_all()
        self.register(0, "0xa0", "--param-aptpl")
        self.register(1, "0xa1", "--param-aptpl")
        assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={WRITE_EXCLUSIVE}") == 0
        self.kill_guests()
        self.backend.kill()
        self.backend.start()
        self.start_guest()
        assert "0xa0" in self.persist_in(1, "--read-reservation")
        keys = self.persist_in(0, "--read-keys")
        assert "0xa0" in keys and "0xa1" in keys, keys
        assert self.can_write(0) and not self.can_write(1)
        self.clear_all()

    def case_without_aptpl_a_restart_forgets(self):
        self.clear_all()
        self.register(0, "0xa0")
        assert self.persist_out(0, f"--reserve --param-rk=0xa0 --prout-type={EXCLUSIVE}") == 0
        self.kill_guests()
        assert self.backend.stop() == 0
        self.backend.start()
        self.start_guest()
        assert "there are NO registered" in self.persist_in(1, "--read-keys")
        assert self.can_write(1)
