# SPDX-License-Identifier: MIT
"""A guest with an IOMMU whose disks are QEMU's own, and in which the `ringlane` tool drives them over VFIO.

The tool, its libraries and the kernel's VFIO modules come in as an archive on a disk of its own, so that the initramfs, which is
cached and shared by all guests, need not change with each build.
"""

import re
import tarfile
from pathlib import Path

import image
from guest import Guest

MODULES = ["vfio", "vfio_iommu_type1", "vfio-pci"]
BLOCK = 1 << 16

UNPACK = """
cd / && for disk in /sys/block/vd*; do
    case $(readlink $disk) in */0000:00:1e.0/*) tar xf /dev/${disk##*/};; esac
done
for module in $(cat /vfio/order); do insmod /vfio/$module || exit 1; done
"""

BIND = """
device=/sys/bus/pci/devices/{address}
echo {driver} >$device/driver_override
[ ! -e $device/driver ] || echo {address} >$device/driver/unbind
echo {address} >/sys/bus/pci/drivers_probe
"""


class VfioGuest(Guest):
    """The IOMMU has addresses of 39 bits; devices with iommu_platform=on are behind it."""

    def machine_options(self):
        options = super().machine_options()
        first = options.index("-device")
        return [*options[:first], "-device", "intel-iommu,intremap=on", *options[first:]]

    def kernel_options(self):
        options = super().kernel_options()
        return [*options[:-1], f"{options[-1]} intel_iommu=on"]


def write_archive(path, tool):
    modules = image.order_modules(image.find_kernel()[1], MODULES)
    order = path.with_suffix(".order")
    order.write_text("\n".join(module.name for module in modules) + "\n")
    with tarfile.open(path, "w") as archive:
        archive.add(tool, "opt/ringlane")
        for library in image.find_libraries(tool):
            archive.add(Path(library).resolve(), library.lstrip("/"))
        for module in modules:
            archive.add(module, f"vfio/{module.name}")
        archive.add(order, "vfio/order")
    with path.open("r+b") as file:
        file.truncate((path.stat().st_size + BLOCK - 1) // BLOCK * BLOCK)


def archive_options(folder, tool):
    """Options of QEMU for the archive's disk; unpack() looks for it at this address."""
    path = folder / "tool.tar"
    write_archive(path, tool)
    return [
        *("-drive", f"file={path},format=raw,if=none,id=tool,readonly=on"),
        *("-device", "virtio-blk-pci,drive=tool,addr=0x1e"),
    ]


def unpack(guest):
    guest.check(UNPACK)


def bind(guest, address, driver="vfio-pci"):
    """Give a function to another driver."""
    guest.check(BIND.format(address=address, driver=driver))


def count_interrupts(guest, address):
    """How many interrupts each vector of the function has had, by vector, per CPU."""
    counts = {}
    for line in guest.check("cat /proc/interrupts").splitlines():
        found = re.search(rf"vfio-msix\[(\d+)\]\({re.escape(address)}\)", line)
        if found:
            fields = line.split()[1:]
            counts[int(found.group(1))] = [int(word) for word in fields[: guest.cpus]]
    return counts
