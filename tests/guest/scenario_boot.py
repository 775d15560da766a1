# SPDX-License-Identifier: MIT
"""The firmware boots from the disk: SeaBIOS drives one queue, without interrupts, before any kernel."""

from scenario import Scenario

WORD = b"booted from the lane\r\n\0"

# 16-bit code at 0x7c00: reads the second sector to 0x7e00 through the firmware, then prints its text on the serial port.
BOOT_SECTOR = bytes(
    [
        *(0xFA, 0x31, 0xC0, 0x8E, 0xD8, 0x8E, 0xC0),  # cli; xor ax,ax; mov ds,ax; mov es,ax
        *(0x8E, 0xD0, 0xBC, 0x00, 0x7C, 0xFB),  # mov ss,ax; mov sp,0x7c00; sti
        *(0xB8, 0x01, 0x02),  # mov ax,0x0201: read one sector
        *(0xBB, 0x00, 0x7E),  # mov bx,0x7e00
        *(0xB9, 0x02, 0x00, 0xB6, 0x00),  # mov cx,2: cylinder 0, sector 2; mov dh,0; dl is the boot disk
        *(0xCD, 0x13),  # int 0x13
        *(0xBE, 0x00, 0x7E),  # mov si,0x7e00
        *(0xAC, 0x84, 0xC0, 0x74, 0x10),  # next: lodsb; test al,al; jz halt
        *(0x88, 0xC4, 0xBA, 0xFD, 0x03),  # mov ah,al; mov dx,0x3fd
        *(0xEC, 0xA8, 0x20, 0x74, 0xFB),  # wait: in al,dx; test al,0x20; jz wait
        *(0x88, 0xE0, 0xB2, 0xF8, 0xEE),  # mov al,ah; mov dl,0xf8; out dx,al
        *(0xEB, 0xEA),  # jmp next
        *(0xF4, 0xEB, 0xFD),  # halt: hlt; jmp halt
    ]
)


class Boot(Scenario):
    disk_options = [{"boot": True}]
    cpus = 1
    kernel = False

    def create_disks(self):
        super().create_disks()
        with self.disks[0].path.open("r+b") as file:
            file.write(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + WORD)

    def case_firmware_boots_from_the_disk(self):
        self.guest.wait_console(WORD.decode().strip("\r\n\0"))
