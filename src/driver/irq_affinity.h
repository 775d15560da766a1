/* SPDX-License-Identifier: MIT */
/*
 * Where the interrupts of a VFIO device go. VFIO allocates MSI-X vectors that the kernel does not manage, so their
 * affinity is root's to write: /proc/irq/N/smp_affinity_list. N is found by the action in /proc/interrupts,
 * "vfio-msix[VECTOR](ADDRESS)", which names the vector exactly.
 *
 * Others write there, too. The kernel moves an interrupt whose last CPU goes offline, and does not move it back; irqbalance
 * and administrators do what they want; and setting vectors up anew makes other interrupts of them. So whoever owns the
 * device calls irq_affinity_apply after each change of vectors, and irq_affinity_verify now and then and when CPUs come or go.
 *
 * A vector's affinity, and what leads out of it:
 *
 * UNKNOWN   no such action in /proc/interrupts: the vector is not set up. apply looks again.
 * OURS      what we wrote is there. Anything else there: managed mode writes again (OURS); hint mode: FOREIGN.
 * DISPLACED none of its CPUs is online, and it is wherever the kernel has put it; that is no failure. One comes: written (OURS), in
 *           hint mode only when nobody else has changed it meanwhile.
 * FOREIGN   hint mode: somebody else's will, never written over. Ours again when that is what is there, or when the vector has become
 *           another interrupt.
 * REFUSED   writing failed; the error says why. Both functions try again.
 *
 * A vector whose owner has given its interrupt back for a while is off: nobody looks for it. Where it is found afterwards is the kernel's
 * doing, so it is said anew where it is wanted, unless it was FOREIGN.
 *
 * Control path, blocking, one thread at a time.
 */
#ifndef RINGLANE_DRIVER_IRQ_AFFINITY_H
#define RINGLANE_DRIVER_IRQ_AFFINITY_H

#include "base/error.h"

#include <hwloc.h>
#include <stdbool.h>

enum irq_mode {
	IRQ_MODE_MANAGED, /* ours is kept */
	IRQ_MODE_HINT,    /* ours is said once, then whoever says otherwise is right */
};

enum irq_state { IRQ_UNKNOWN, IRQ_OURS, IRQ_DISPLACED, IRQ_FOREIGN, IRQ_REFUSED };

struct irq_vector {
	unsigned vector; /* of the device */
	int number;      /* the kernel's; -1: not found */
	enum irq_state state;
	bool is_said;          /* this interrupt has once been where it is wanted */
	bool is_off;           /* has no interrupt now */
	hwloc_bitmap_t wanted; /* CPUs */
	hwloc_bitmap_t seen;   /* what was there when it was last looked at */
};

struct irq_affinity {
	char *proc;    /* folder */
	char *address; /* "0000:00:04.0" */
	enum irq_mode mode;
	unsigned count;
	struct irq_vector *vectors;
};

struct irq_affinity_options {
	const char *proc;    /* NULL: "/proc" */
	const char *address; /* of the PCI function */
	enum irq_mode mode;
	unsigned count;
	const unsigned *vectors;           /* numbers in the device's table, count of them */
	const hwloc_const_bitmap_t *masks; /* for each; copied */
};

/* Touches no file. -ENOMEM, -EINVAL for a mask without CPUs. */
int irq_affinity_init(struct irq_affinity *irqs, const struct irq_affinity_options *options,
		      struct error *error);
/* Also of one that is all zeroes. Interrupts stay where they are. */
void irq_affinity_fini(struct irq_affinity *irqs);

/* Before apply and verify: has this vector (if it is one of ours) an interrupt now? All have at first. */
void irq_affinity_set_off(struct irq_affinity *irqs, unsigned vector, bool is_off);

/*
 * Finds the interrupts again and sends them where they are wanted. One that fails does not keep the others; the first failure is
 * returned, -ENOENT when a vector is not in /proc/interrupts.
 */
int irq_affinity_apply(struct irq_affinity *irqs, struct error *error);

/*
 * Reads what is there. Returns how many vectors were not as wanted (whether put right or left to somebody else), or the first
 * failure. online: CPUs; NULL when not known.
 */
int irq_affinity_verify(struct irq_affinity *irqs, hwloc_const_bitmap_t online,
			struct error *error);

/* ---- one interrupt ---- */

/* The interrupt of a vector, or -ENOENT; -errno when /proc/interrupts cannot be read. */
int irq_find(const char *proc, const char *address, unsigned vector, struct error *error);
/* The CPUs that an interrupt may go to. -ENOENT: there is no such interrupt any more. */
int irq_affinity_read(const char *proc, int number, hwloc_bitmap_t ret_cpus, struct error *error);
/*
 * -EPERM: the kernel manages it itself; -EACCES: not root; -ENOENT: gone; -EINVAL: none of the CPUs is online; -ENOSPC: these have
 * no vector left.
 */
int irq_affinity_write(const char *proc, int number, hwloc_const_bitmap_t cpus,
		       struct error *error);
/* What the kernel means when it refuses a write with code: the sentence, and the code of the list above. */
int irq_write_explain(int code, int number, const char *cpus, struct error *error);

#endif
