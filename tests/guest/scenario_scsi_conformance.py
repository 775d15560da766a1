# SPDX-License-Identifier: MIT
"""libiscsi's conformance tests, all families, on disks of one daemon: a disk that two adapters show to one guest, one that is
write-protected, and one whose physical blocks are its logical ones: on others, the tests of GET LBA STATUS look for an LBA that
they did not ask for. What may be skipped, and why, stands in tests/scsi/conformance_skips.txt.

The program's families are lists of the same suites (SCSI and iSCSI make up ALL, LINUX is a part of it): a suite is run once in a
scenario, and counts in each family that has it."""

from pathlib import Path

import conformance
from scsi import MIB, ScsiScenario

ALLOWED = Path(__file__).resolve().parent.parent / "scsi" / "conformance_skips.txt"
SIZE = 1023 * MIB  # the last block is within reach of READ (6)


class ScsiConformance(ScsiScenario):
    adapter_options = [{"name": "a0"}, {"name": "a1"}]
    node_options = [{"name": "shared", "size": SIZE}, {"name": "locked", "size": SIZE, "read_only": True}, {"name": "wide", "size": SIZE}]
    lun_options = [
        {"id": f"shared{n}", "node": "shared", "adapter": f"a{n}", "serial": "shared", "options": {"share-rw": True}} for n in (0, 1)
    ]
    lun_options.append({"id": "locked", "node": "locked", "target": 1, "serial": "locked"})
    lun_options.append({"id": "wide", "node": "wide", "target": 2, "serial": "wide", "options": {"logical_block_size": 4096}})
    cpus = 2
    memory_mib = 768

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.choices = None
        self.suites = {}  # name without family: {test without family: Outcome}

    def create_disks(self):
        super().create_disks()
        for lun in self.luns:
            lun.wwn = 0x5000C50015EA0010 + lun.target

    def start_guest(self):
        super().start_guest()
        conformance.reserve_memory(self.guest)
        self.choices = self.choose_devices()

    def choose_devices(self):
        """The device nodes that each suite gets; "" are all the others."""
        shared = [f"/dev/{disk.name}" for disk in self.list_disks() if disk.serial == "shared"]
        assert len(shared) == 2, self.list_disks()
        generic = self.guest.check(f"ls /sys/block/{self.find_disk('locked')}/device/scsi_generic").strip()
        return {"": shared, "ReadOnly": [f"/dev/{generic}"], "GetLBAStatus": ["/dev/" + self.find_disk("wide")]}

    def run_suite(self, family, suite, tests):
        """Its outcomes: those of an earlier family if it had the same tests."""
        if set(self.suites.get(suite, {})) != set(tests):
            devices = self.choices.get(suite, self.choices[""])
            done = conformance.run_suite(self.guest, f"{family}.{suite}", tests, devices)
            self.suites[suite] = {name.split(".")[2]: outcome for name, outcome in done.items()}
        return {f"{family}.{suite}.{test}": outcome for test, outcome in self.suites[suite].items()}

    def run_family(self, family):
        """Run all suites of a family; the details that the case reports."""
        outcomes = {}
        for name, tests in conformance.list_tests().items():
            its_family, suite = name.split(".")
            if its_family == family:
                outcomes |= self.run_suite(family, suite, tests)
        return conformance.sum_up(family, outcomes, conformance.read_allowed(ALLOWED))

    def case_family_scsi(self):
        return self.run_family("SCSI")

    def case_family_all(self):
        return self.run_family("ALL")

    def case_family_linux(self):
        return self.run_family("LINUX")

    def case_family_iscsi(self):
        return self.run_family("iSCSI")
