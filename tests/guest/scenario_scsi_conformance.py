# SPDX-License-Identifier: MIT
"""libiscsi's conformance tests, all families, on disks of one daemon: a disk that two adapters show to one guest, and one that is
write-protected. What may be skipped, and why, stands in tests/scsi/conformance_skips.txt."""

from pathlib import Path

import conformance
from scsi import ScsiScenario

ALLOWED = Path(__file__).resolve().parent.parent / "scsi" / "conformance_skips.txt"
GIB = 1 << 30


class ScsiConformance(ScsiScenario):
    adapter_options = [{"name": "a0"}, {"name": "a1"}]
    node_options = [{"name": "shared", "size": GIB}, {"name": "locked", "size": GIB, "read_only": True}]
    lun_options = [
        {"id": f"shared{n}", "node": "shared", "adapter": f"a{n}", "serial": "shared", "options": {"share-rw": True}} for n in (0, 1)
    ]
    lun_options.append({"id": "locked", "node": "locked", "target": 1, "serial": "locked"})
    cpus = 2

    def create_disks(self):
        super().create_disks()
        for lun in self.luns:
            lun.wwn = 0x5000C50015EA0010 + (lun.id == "locked")

    def run_family(self, family):
        """Run all suites of a family; the details that the case reports."""
        shared = [f"/dev/{disk.name}" for disk in self.list_disks() if disk.serial == "shared"]
        assert len(shared) == 2, self.list_disks()
        locked = "/dev/" + self.guest.check(f"ls /sys/block/{self.find_disk('locked')}/device/scsi_generic").strip()
        outcomes = {}
        for suite, tests in conformance.list_tests().items():
            if suite.startswith(f"{family}."):
                devices = [locked] if suite.endswith(".ReadOnly") else shared
                outcomes |= conformance.run_suite(self.guest, suite, tests, devices)
        return conformance.sum_up(family, outcomes, conformance.read_allowed(ALLOWED))

    def case_family_scsi(self):
        return self.run_family("SCSI")

    def case_family_all(self):
        return self.run_family("ALL")

    def case_family_linux(self):
        return self.run_family("LINUX")

    def case_family_iscsi(self):
        return self.run_family("iSCSI")
