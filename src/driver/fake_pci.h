/* SPDX-License-Identifier: MIT */
/*
 * For tests: the registers of a virtio device over PCI. It keeps the rules of the specification and sees whether the
 * driver does; it can be told to break them. Its registers are in BAR 2, its doorbells in BAR 4. One thread.
 */
#ifndef RINGLANE_DRIVER_FAKE_PCI_H
#define RINGLANE_DRIVER_FAKE_PCI_H

#include "driver/virtio_pci.h"

#include <stdbool.h>
#include <stdint.h>

#define FAKE_PCI_QUEUES_MAX 8
#define FAKE_PCI_CONFIG_MAX 128
#define FAKE_PCI_REGISTERS 2 /* BAR */
#define FAKE_PCI_DOORBELLS 4 /* BAR */
#define FAKE_PCI_BAR_SIZE 4096
#define FAKE_PCI_MULTIPLIER 4
#define FAKE_PCI_NOTIFY_AT 0x100 /* in its BAR */
#define FAKE_PCI_DEVICE_AT 0x100 /* in its BAR */

enum fake_pci_trick {
	FAKE_PCI_HONEST,
	FAKE_PCI_NEVER_RESETS,
	FAKE_PCI_REFUSES_FEATURES,
	FAKE_PCI_CONFIG_CHANGES_ONCE, /* while it is read */
	FAKE_PCI_CONFIG_CHANGES_ALWAYS,
	FAKE_PCI_REFUSES_VECTORS,
	FAKE_PCI_FORGETS_SIZE,
	FAKE_PCI_NEVER_ENABLES,
	FAKE_PCI_NEVER_RESETS_QUEUES,
	FAKE_PCI_NEEDS_RESET, /* as soon as it runs */
	FAKE_PCI_GONE,        /* all ones */
};

struct fake_pci_queue {
	uint16_t size_max, notify_off;
	uint16_t size, vector, enable, reset;
	uint64_t desc, avail, used;
};

struct fake_pci {
	struct virtio_pci_access access;
	/* a test changes these */
	enum fake_pci_trick trick;
	uint8_t space[256]; /* configuration space */
	uint64_t bar_sizes[6];
	uint64_t features;
	uint8_t config[FAKE_PCI_CONFIG_MAX];
	uint32_t config_length;
	uint16_t queue_count, vector_count;
	unsigned slow; /* reads of a register before a reset is over */
	/* what it knows */
	unsigned cap_end, cap_last; /* in space */
	uint64_t acked;
	uint32_t device_select, driver_select;
	uint16_t config_vector, queue_select;
	uint8_t status, generation;
	unsigned resets, reads_left;
	struct fake_pci_queue queues[FAKE_PCI_QUEUES_MAX];
	const char *broken; /* the rule that the driver has broken, or NULL */
	void *owner;
	void (*on_reset)(void *owner);
};

/* An honest device of this type with all structures, 3 queues of 256 entries and 4 vectors. */
void fake_pci_init(struct fake_pci *fake, unsigned device_id);
/* The same with no capability at all. */
void fake_pci_init_bare(struct fake_pci *fake, unsigned device_id);

struct fake_pci_cap {
	uint8_t type, bar, cap_length; /* 0: what the type has */
	uint32_t offset, length;
	uint32_t multiplier;
};

/* Where it is in the configuration space. */
unsigned fake_pci_cap_add(struct fake_pci *fake, const struct fake_pci_cap *cap);
/* As a register access does; also for a fake kernel's BAR. */
uint32_t fake_pci_read(void *fake, uint64_t offset, unsigned width);
void fake_pci_write(void *fake, uint64_t offset, unsigned width, uint32_t value);
/* The configuration changes: a new generation. */
void fake_pci_config_change(struct fake_pci *fake);

#endif
