# SPDX-License-Identifier: MIT
"""The firmware boots from a LUN: SeaBIOS drives one request queue, without interrupts, before any kernel."""

from scenario_boot import BOOT_SECTOR, WORD
from scsi import ScsiScenario


class ScsiBoot(ScsiScenario):
    adapter_options = [{"boot": True}]
    node_options = [{"name": "boot"}]
    lun_options = [{"id": "boot", "node": "boot", "serial": "boot"}]
    cpus = 1
    kernel = False

    def create_disks(self):
        super().create_disks()
        with self.find_node("boot").path.open("r+b") as file:
            file.write(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + WORD)

    def case_firmware_boots_from_a_lun(self):
        self.guest.wait_console(WORD.decode().strip("\r\n\0"))
