# SPDX-License-Identifier: MIT
"""Measures the lanes of a disk from inside the guest: who really serves which CPU.

Requests are sent from one guest CPU; the interrupt that rises is its queue's, the daemon's thread that works is its IOThread.
"""

import collections

READS = 300

Lane = collections.namedtuple("Lane", "cpu queue interrupt interrupt_cpus thread host_cpus")


def find_virtio(guest, device):
    """The virtio device behind a disk, as in /proc/interrupts."""
    return guest.check(f"readlink -f /sys/block/{device}/device | grep -o 'virtio[0-9]*' | tail -n 1").strip()


def find_disk(guest, serial):
    """The guest's name of the disk with this serial."""
    script = f'cd /sys/block && for disk in vd*; do [ "$(cat $disk/serial)" = {serial} ] && echo $disk; done; true'
    return guest.check(script).strip()


def read_interrupts(guest, device):
    """(number, how often, summed over CPUs) of each queue's interrupt, by queue."""
    table = []
    for line in guest.check(f"grep '{find_virtio(guest, device)}-req' /proc/interrupts").splitlines():
        words = line.split()
        table.append((words[0].rstrip(":"), sum(int(word) for word in words[1 : 1 + guest.cpus])))
    return table


def count_interrupts(guest, device):
    return [count for _, count in read_interrupts(guest, device)]


def measure_lane(guest, backend, device, cpu, thread_names):
    before, threads = read_interrupts(guest, device), backend.list_threads()
    read = f"dd if=/dev/{device} of=/dev/null bs=4k count={READS} iflag=direct 2>/dev/null"
    guest.check(f"taskset -c {cpu} {read}")
    risen = [new[1] - old[1] for old, new in zip(before, read_interrupts(guest, device))]
    queue = max(range(len(risen)), key=risen.__getitem__)
    now = backend.list_threads()
    thread = max(thread_names, key=lambda name: now[name].run_ns - threads[name].run_ns)
    owner = guest.check(f"cat /proc/irq/{before[queue][0]}/smp_affinity_list").strip()
    return Lane(cpu, queue, before[queue][0], owner, thread, now[thread].cpus)


def measure_lanes(guest, backend, device, thread_names):
    """A lane for each of the guest's CPUs."""
    return [measure_lane(guest, backend, device, cpu, thread_names) for cpu in range(guest.cpus)]
