// SPDX-License-Identifier: MIT
/*
 * Which vector signals whom. With a vector for each queue and one for the configuration, each signals its queue's call
 * fd by itself. With fewer, the queues share those behind the first (or, if there is one only, that one), and a thread
 * passes on what comes.
 *
 * A queue can be masked: its vector's event fd is taken away, alone, which frees the interrupt; the vector stays allocated. (The
 * kernel knows no masking of MSI-X for user space.) A vector that is shared is freed when all its queues are masked; the one of the
 * configuration never is.
 *
 * On the thread that owns the device.
 */
#include "driver/transport_vfio.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>

/* Errors of the bus and the kernel's wish to have the device back: not every function tells. */
static void gone_irq_init(struct transport_vfio *self, unsigned index, struct vfio_irq *irq)
{
	if (vfio_irq_init(&self->function, index, irq, NULL) == 0)
		vfio_irq_enable(irq, &self->gone_fd, 1, NULL);
}

int transport_vfio_irqs_init(struct transport_vfio *self, struct error *error)
{
	int ret = vfio_irq_init(&self->function, VFIO_PCI_MSIX_IRQ_INDEX, &self->msix, error);

	if (ret == -ENOTSUP)
		return error_set(
			error, ret,
			"%s has no MSI-X interrupts, which this driver needs (QEMU: vectors=0)",
			self->function.address);
	if (ret < 0)
		return ret;
	gone_irq_init(self, VFIO_PCI_ERR_IRQ_INDEX, &self->error_irq);
	gone_irq_init(self, VFIO_PCI_REQ_IRQ_INDEX, &self->request_irq);
	return 0;
}

static unsigned known_count(const struct transport_vfio *self)
{
	unsigned count = 0;

	for (unsigned i = 0; i < self->queue_count; i++)
		count += self->queues[i].known;
	return count;
}

/* The place of a queue among those that are known. */
static unsigned rank_of(const struct transport_vfio *self, unsigned index)
{
	unsigned rank = 0;

	for (unsigned i = 0; i < index; i++)
		rank += self->queues[i].known;
	return rank;
}

static unsigned vector_of_rank(const struct transport_vfio *self, unsigned rank)
{
	return self->vectors < 2 ? 0 : 1 + rank % (self->vectors - 1);
}

unsigned transport_vfio_queue_vector(const struct transport_vfio *self, unsigned index)
{
	return vector_of_rank(self, rank_of(self, index));
}

bool transport_vfio_vector_is_wanted(const struct transport_vfio *self, unsigned vector)
{
	unsigned rank = 0;

	for (unsigned i = 0; vector && i < self->queue_count; i++) {
		const struct vfio_queue *queue = &self->queues[i];

		if (queue->known && vector_of_rank(self, rank++) == vector && !queue->masked)
			return true;
	}
	return vector == 0;
}

/* With a vector for everybody: listener i has vector i. Else they are the hub's. */
static int vectors_assign(struct transport_vfio *self, struct vfio_listener *listeners,
			  unsigned count, int *fds, struct error *error)
{
	unsigned next = 0;
	int ret;

	listeners[next++] = (struct vfio_listener){ 0, self->event_fd };
	for (unsigned i = 0; i < self->queue_count; i++)
		if (self->queues[i].known)
			listeners[next++] =
				(struct vfio_listener){ transport_vfio_queue_vector(self, i),
							self->queues[i].ring.call_fd };
	if (self->vectors < count) {
		ret = vfio_hub_start(&self->hub, self->vectors, listeners, count, error);
		if (ret < 0)
			return ret;
	}
	for (unsigned i = 0; i < self->vectors; i++) {
		fds[i] = self->vectors < count ? self->hub.vector_fds[i] : listeners[i].fd;
		if (!transport_vfio_vector_is_wanted(self, i))
			fds[i] = -1;
	}
	return 0;
}

/* 0, -errno, or the number of vectors that can be had. */
static int vectors_try(struct transport_vfio *self, unsigned count, struct error *error)
{
	struct vfio_listener listeners[VFIO_QUEUES_MAX + 1];
	int fds[VFIO_QUEUES_MAX + 1];
	int ret = vectors_assign(self, listeners, count, fds, error);

	if (ret == 0)
		ret = vfio_irq_enable(&self->msix, fds, self->vectors, error);
	if (ret != 0)
		vfio_hub_stop(&self->hub);
	return ret;
}

int transport_vfio_irqs_start(struct transport_vfio *self, unsigned max, struct error *error)
{
	unsigned wanted = known_count(self) + 1;
	int ret;

	transport_vfio_irqs_stop(self);
	self->vectors = MIN(MIN(wanted, max), self->msix.max);
	ret = vectors_try(self, wanted, error);
	if (ret <= 0)
		return ret;
	self->vectors = (unsigned)ret;
	ret = vectors_try(self, wanted, error);
	return ret > 0 ? error_set(error, -ENOSPC, "%s: the kernel has no interrupts left",
				   self->function.address) :
			 ret;
}

void transport_vfio_irqs_stop(struct transport_vfio *self)
{
	vfio_irq_disable(&self->msix, NULL);
	vfio_hub_stop(&self->hub);
}

/* ---- one queue's ---- */

/* Of a device that does not run it is noted, and done when the device starts. */
static int queue_set_masked(struct transport *transport, unsigned index, bool masked,
			    struct error *error)
{
	struct transport_vfio *self = container_of(transport, struct transport_vfio, base);
	bool was_wanted, is_wanted, was_masked;
	unsigned vector;
	int fd, ret;

	if (index >= self->queue_count)
		return error_set(error, -ENOENT, "the device has no queue %u", index);
	vector = transport_vfio_queue_vector(self, index);
	fd = self->hub.vector_count ? self->hub.vector_fds[vector] :
				      self->queues[index].ring.call_fd;
	was_wanted = transport_vfio_vector_is_wanted(self, vector);
	was_masked = self->queues[index].masked;
	self->queues[index].masked = masked;
	is_wanted = transport_vfio_vector_is_wanted(self, vector);
	if (!self->running || is_wanted == was_wanted)
		return 0;
	ret = vfio_irq_set(&self->msix, vector, is_wanted ? fd : -1, error);
	if (ret < 0)
		self->queues[index].masked = was_masked;
	return ret;
}

int transport_vfio_queue_mask(struct transport *transport, unsigned index, struct error *error)
{
	return queue_set_masked(transport, index, true, error);
}

int transport_vfio_queue_unmask(struct transport *transport, unsigned index, struct error *error)
{
	return queue_set_masked(transport, index, false, error);
}
