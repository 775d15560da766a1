// SPDX-License-Identifier: MIT
/*
 * Puts together who has a vector (the transport), which CPUs a queue is for (a spread), and how an interrupt is placed
 * (irq_affinity.h). The device's thread, and a managed device's keeper, under the device's lock; blocking.
 */
#include "driver/interrupts.h"

#include "driver/spread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Vectors and their masks, as irq_affinity_init wants them. */
struct placing {
	unsigned count;
	unsigned *vectors;
	hwloc_bitmap_t *masks;
};

static int error_no_interrupts(struct error *error)
{
	return error_set(error, -ENOTSUP, "the device has no interrupts: it calls by event fds");
}

static struct transport_vector vector_of(const struct ringlane_device *device, unsigned queue)
{
	const struct transport *transport = device->transport;
	struct transport_vector vector;

	transport->ops->queue_vector(transport, device->ring_first + queue, &vector);
	return vector;
}

/* The mask of a vector, new if need be. NULL: no memory. */
static hwloc_bitmap_t placing_mask(struct placing *placing, unsigned vector)
{
	for (unsigned i = 0; i < placing->count; i++)
		if (placing->vectors[i] == vector)
			return placing->masks[i];
	placing->vectors[placing->count] = vector;
	placing->masks[placing->count] = hwloc_bitmap_alloc();
	return placing->masks[placing->count] ? placing->masks[placing->count++] : NULL;
}

static int placing_fill(struct placing *placing, const struct ringlane_device *device,
			const struct affinity_spread *spread, const char **ret_address)
{
	unsigned count = MIN(device->info.queues, spread->count);

	placing->vectors = calloc(count, sizeof(placing->vectors[0]));
	placing->masks = calloc(count, sizeof(placing->masks[0]));
	if (!placing->vectors || !placing->masks)
		return -ENOMEM;
	for (unsigned queue = 0; queue < count; queue++) {
		struct transport_vector vector = vector_of(device, queue);
		hwloc_bitmap_t mask = placing_mask(placing, vector.number);

		*ret_address = vector.address;
		if (!mask || hwloc_bitmap_or(mask, mask, spread->masks[queue]) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void placing_fini(struct placing *placing)
{
	for (unsigned i = 0; i < placing->count; i++)
		hwloc_bitmap_free(placing->masks[i]);
	free(placing->masks);
	free(placing->vectors);
}

static int interrupts_init(struct ringlane_device *device, const struct affinity_spread *spread,
			   enum irq_mode mode, const char *proc, struct error *error)
{
	struct irq_affinity_options options = { .proc = proc, .mode = mode };
	struct placing placing = { 0 };
	int ret = placing_fill(&placing, device, spread, &options.address);

	device->interrupts = calloc(1, sizeof(*device->interrupts));
	if (ret < 0 || !device->interrupts) {
		ret = error_set(error, -ENOMEM, "out of memory");
	} else {
		options.count = placing.count;
		options.vectors = placing.vectors;
		options.masks = (const hwloc_const_bitmap_t *)placing.masks;
		ret = irq_affinity_init(device->interrupts, &options, error);
	}
	placing_fini(&placing);
	return ret;
}

static void vectors_off_tell(const struct ringlane_device *device)
{
	for (unsigned queue = 0; queue < device->info.queues; queue++) {
		struct transport_vector vector = vector_of(device, queue);

		irq_affinity_set_off(device->interrupts, vector.number, vector.is_off);
	}
}

int interrupts_place(struct ringlane_device *device, const struct affinity_spread *spread,
		     enum irq_mode mode, const char *proc, struct error *error)
{
	int ret;

	if (!device->transport->ops->queue_vector)
		return error_no_interrupts(error);
	interrupts_free(device);
	ret = interrupts_init(device, spread, mode, proc, error);
	if (ret < 0) {
		interrupts_free(device);
		return ret;
	}
	vectors_off_tell(device);
	return irq_affinity_apply(device->interrupts, error);
}

int interrupts_verify(struct ringlane_device *device, hwloc_const_bitmap_t online,
		      struct error *error)
{
	if (!device->transport->ops->queue_vector)
		return error_no_interrupts(error);
	if (!device->interrupts)
		return 0;
	vectors_off_tell(device);
	return irq_affinity_verify(device->interrupts, online, error);
}

static int online_verify(struct ringlane_device *device, struct error *error)
{
	hwloc_bitmap_t online = hwloc_bitmap_alloc();
	int ret = online ? topology_online_read(NULL, online, error) :
			   error_set(error, -ENOMEM, "out of memory");

	if (ret == 0)
		ret = interrupts_verify(device, hwloc_bitmap_iszero(online) ? NULL : online, error);
	hwloc_bitmap_free(online);
	return ret;
}

bool interrupts_is_masked(const struct ringlane_device *device, unsigned queue)
{
	return device->transport->ops->queue_vector && vector_of(device, queue).is_off;
}

int interrupts_mask(struct ringlane_device *device, unsigned queue, struct error *error)
{
	struct transport *transport = device->transport;
	int ret = transport->ops->queue_mask(transport, device->ring_first + queue, error);

	if (ret == 0 && device->interrupts)
		vectors_off_tell(device);
	return ret;
}

int interrupts_unmask(struct ringlane_device *device, unsigned queue, struct error *error)
{
	struct transport *transport = device->transport;
	int ret = transport->ops->queue_unmask(transport, device->ring_first + queue, error);

	if (ret == 0 && device->interrupts)
		online_verify(device, NULL);
	return ret;
}

void interrupts_free(struct ringlane_device *device)
{
	if (device->interrupts)
		irq_affinity_fini(device->interrupts);
	free(device->interrupts);
	device->interrupts = NULL;
}

int interrupts_get(const struct ringlane_device *device, unsigned queue, const char *proc,
		   struct ringlane_interrupt *ret_interrupt, struct error *error)
{
	struct ringlane_interrupt interrupt = { 0 };
	hwloc_bitmap_t cpus;
	struct transport_vector vector;
	int ret;

	if (!device->transport->ops->queue_vector)
		return error_no_interrupts(error);
	if (queue >= device->info.queues)
		return error_set(error, -ENOENT, "the device has no queue %u", queue);
	vector = vector_of(device, queue);
	interrupt.vector = vector.number;
	interrupt.number = irq_find(proc, vector.address, vector.number, error);
	if (interrupt.number < 0)
		return interrupt.number;
	cpus = hwloc_bitmap_alloc();
	if (!cpus)
		return error_set(error, -ENOMEM, "out of memory");
	ret = irq_affinity_read(proc, interrupt.number, cpus, error);
	topology_list_format(cpus, interrupt.cpus, sizeof(interrupt.cpus));
	hwloc_bitmap_free(cpus);
	if (ret == 0)
		*ret_interrupt = interrupt;
	return ret;
}

/* ---- the public face ---- */

enum irq_mode interrupts_mode(enum ringlane_interrupt_mode mode)
{
	return mode == RINGLANE_INTERRUPTS_HINT ? IRQ_MODE_HINT : IRQ_MODE_MANAGED;
}

int ringlane_interrupts_place(struct ringlane_device *device, const struct ringlane_spread *spread,
			      enum ringlane_interrupt_mode mode, struct ringlane_error *error)
{
	int ret = 0;

	pthread_mutex_lock(&device->lock);
	if (mode == RINGLANE_INTERRUPTS_LEAVE)
		interrupts_free(device);
	else
		ret = interrupts_place(device, &spread->classes[RINGLANE_INTERRUPT_QUEUES].spread,
				       interrupts_mode(mode), NULL, error_of(error));
	pthread_mutex_unlock(&device->lock);
	return ret;
}

int ringlane_interrupts_verify(struct ringlane_device *device, struct ringlane_error *error)
{
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = online_verify(device, error_of(error));
	pthread_mutex_unlock(&device->lock);
	return ret;
}

int ringlane_interrupt_get(const struct ringlane_device *device, unsigned queue,
			   struct ringlane_interrupt *ret_interrupt, struct ringlane_error *error)
{
	pthread_mutex_t *lock = &((struct ringlane_device *)device)->lock;
	int ret;

	pthread_mutex_lock(lock);
	ret = interrupts_get(device, queue, NULL, ret_interrupt, error_of(error));
	pthread_mutex_unlock(lock);
	return ret;
}
