/* SPDX-License-Identifier: MIT */
/* For tests: the modern interface of a device in memory. */
#ifndef RINGLANE_DRIVER_TEST_VIRTIO_PCI_H
#define RINGLANE_DRIVER_TEST_VIRTIO_PCI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "driver/fake_pci.h"
#include "driver/virtio_pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <string.h>

#define TIMEOUT_MS 10000    /* of what comes to its end */
#define TIMEOUT_SHORT_MS 30 /* of what does not */

struct rig {
	struct fake_pci fake;
	struct virtio_pci pci;
};

static inline void rig_attach(struct rig *rig)
{
	struct error error = { 0 };

	if (virtio_pci_init(&rig->fake.access, TIMEOUT_MS, &rig->pci, &error) < 0)
		fail_msg("init: %s", error.text);
}

static inline void rig_init(struct rig *rig)
{
	fake_pci_init(&rig->fake, VIRTIO_ID_BLOCK);
	rig_attach(rig);
}

/* Reset, greeted, features agreed on. */
static inline void rig_negotiate(struct rig *rig)
{
	struct error error = { 0 };
	int ret = virtio_pci_reset(&rig->pci, &error);

	virtio_pci_greet(&rig->pci);
	if (ret == 0)
		ret = virtio_pci_set_features(&rig->pci, virtio_pci_features(&rig->pci), &error);
	if (ret < 0)
		fail_msg("negotiate: %s", error.text);
}

static inline void rules_kept(const struct rig *rig)
{
	if (rig->fake.broken)
		fail_msg("a rule was broken: %s", rig->fake.broken);
}

#endif
