# SPDX-License-Identifier: MIT
"""The guest's initramfs: busybox, fio, ext4 and SCSI tools, the kernel's virtio modules and an agent that runs commands.

The archive is written here (newc format), uncompressed because unpacking in an emulated CPU costs more than reading, and kept
in the cache under a key made of its contents' identity.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SG_TOOLS = ["sg_reset", "sg_compare_and_write", "sg_persist", "sg_inq", "sg_raw", "sg_turs", "sg_readcap", "sg_wr_mode"]
PROGRAMS = ["fio", "mke2fs", "e2fsck", "blkdiscard", "iscsi-test-cu", *SG_TOOLS]
MODULES = ["virtio_pci", "virtio_console", "virtio_blk", "virtio_scsi", "sd_mod", "sg", "crc32c-intel"]

UNUSED_SECONDS = 24 * 3600

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/opt:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo "init runs" >/dev/console
mkdir -p /tmp /mnt /run /etc
ln -s /proc/mounts /etc/mtab
mount -t tmpfs tmp /tmp
for module in $(cat /modules/order); do insmod /modules/$module; done
exec setsid sh /agent </dev/null
"""

# A command arrives as "ID SECONDS BASE64" and leaves as "ID STATUS LENGTH" and that many bytes.
AGENT = """
port=$(ls /dev/vport*p1)
exec 3<>$port
echo ready >&3
while read -r id seconds text <&3; do
    echo "$text" | base64 -d >/tmp/command
    timeout "$seconds" sh /tmp/command >/tmp/output 2>&1 3>&- </dev/null
    status=$?
    cp /tmp/output /tmp/answer
    { echo "$id $status $(wc -c </tmp/answer)"; cat /tmp/answer; } >&3
done
"""


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RINGLANE_CACHE") or Path(home) / "ringlane")


def find_program(name):
    """busybox may hide the real program of the same name behind PATH; only a real file of its own counts."""
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        path = Path(folder, name)
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is not installed: run scripts/install-deps.sh check")


def find_libraries(program):
    output = subprocess.run(["ldd", program], text=True, capture_output=True).stdout
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", output, re.MULTILINE)


def find_kernel():
    """The unpacked kernel package: the path of its image and of its modules."""
    done = subprocess.run([ROOT / "scripts" / "guest-kernel.sh"], text=True, stdout=subprocess.PIPE, check=True)
    folder = Path(done.stdout.strip())
    return next(folder.glob("boot/vmlinuz-*")), next(folder.glob("lib/modules/*"))


def read_module_depends(path):
    text = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
    return text.group(1).decode().split(",") if text and text.group(1) else []


def order_modules(folder, names=MODULES):
    """The named modules and what they depend on, in the order of insmod; what is built into the kernel is left out."""
    paths = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    ordered = []

    def visit(name):
        path = paths.get(name.replace("-", "_"))
        if path and path not in ordered:
            for other in read_module_depends(path):
                visit(other)
            ordered.append(path)

    for name in names:
        visit(name)
    return ordered


def collect_files():
    """(name in the guest, path on the host) of everything that is copied."""
    files = {"/bin/busybox": find_program("busybox")}
    for name in PROGRAMS:
        program = find_program(name)
        files[f"/opt/{name}"] = program
        for library in find_libraries(program):
            files[library] = Path(library)
    return files


class Archive:
    """Writes the newc format: a header of 13 hexadecimal fields, the name, the data, each padded to four bytes."""

    def __init__(self, file):
        self.file, self.inode, self.folders = file, 0, set()

    def add(self, name, mode, data=b""):
        self.add_parents(name)
        self.inode += 1
        raw = name.lstrip("/").encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        self.file.write(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        self.file.write(b"\0" * (-(110 + len(raw)) % 4) + data + b"\0" * (-len(data) % 4))

    def add_parents(self, name):
        for parent in reversed(Path(name).parents):
            if str(parent) not in ("/", ".") and parent not in self.folders:
                self.folders.add(parent)
                self.add(str(parent), 0o40755)

    def add_file(self, name, data, mode=0o755):
        self.add(name, 0o100000 | mode, data)

    def add_link(self, name, target):
        self.add(name, 0o120777, str(target).encode())

    def finish(self):
        self.add("TRAILER!!!", 0)


def write_archive(path, files, modules):
    with path.open("wb") as file:
        archive = Archive(file)
        for name in ("/proc", "/sys", "/dev"):
            archive.add(name, 0o40755)
        for name, source in sorted(files.items()):
            archive.add_file(name, source.read_bytes())
        archive.add_link("/bin/sh", "busybox")
        for module in modules:
            archive.add_file(f"/modules/{module.name}", module.read_bytes(), 0o644)
        archive.add_file("/modules/order", "\n".join(module.name for module in modules).encode(), 0o644)
        archive.add_file("/init", INIT.encode())
        archive.add_file("/agent", AGENT.encode())
        archive.finish()


def make_key(files, modules):
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name, path in sorted([*files.items(), *((module.name, module) for module in modules)]):
        status = path.stat()
        digest.update(f"{name} {path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]


def prepare():
    """Return (kernel, initramfs), building what the cache does not hold."""
    kernel, module_folder = find_kernel()
    files, modules = collect_files(), order_modules(module_folder)
    folder = cache_folder() / "initramfs"
    path = folder / f"{make_key(files, modules)}.cpio"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        write_archive(fresh, files, modules)
        fresh.rename(path)
    path.touch()
    remove_unused(folder)
    return kernel, path


def remove_unused(folder):
    """Archives that nobody has asked for since UNUSED_SECONDS: other builds may be about to use theirs."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
            if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
                path.unlink()


if __name__ == "__main__":
    print(*prepare(), sep="\n")
