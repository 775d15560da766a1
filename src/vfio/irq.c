// SPDX-License-Identifier: MIT
/* See irq.h. */
#include "vfio/irq.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

static int set(const struct vfio_irq *irq, struct vfio_irq_set *set)
{
	set->index = irq->index;
	return irq->pci->kernel->ioctl(irq->pci->kernel, irq->pci->fd, VFIO_DEVICE_SET_IRQS, set);
}

int vfio_irq_init(const struct vfio_pci *pci, unsigned index, struct vfio_irq *ret_irq,
		  struct error *error)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
	int ret;

	if (index >= pci->irq_count)
		return error_set(error, -ENOTSUP, "%s has no interrupts of kind %u", pci->address,
				 index);
	ret = pci->kernel->ioctl(pci->kernel, pci->fd, VFIO_DEVICE_GET_IRQ_INFO, &info);
	if (ret < 0)
		return error_set(error, ret, "%s: interrupts: %s", pci->address,
				 strerrordesc_np(-ret));
	if (!info.count || !(info.flags & VFIO_IRQ_INFO_EVENTFD))
		return error_set(error, -ENOTSUP, "%s has no interrupts of kind %u", pci->address,
				 index);
	*ret_irq = (struct vfio_irq){
		.pci = pci,
		.index = index,
		.max = MIN(info.count, (unsigned)VFIO_IRQ_MAX),
		.noresize = info.flags & VFIO_IRQ_INFO_NORESIZE,
	};
	return 0;
}

/* 0, -errno, or the number of vectors that can be had. */
static int set_eventfds(const struct vfio_irq *irq, unsigned start, const int *fds, unsigned count)
{
	size_t data = count * sizeof(int32_t), bytes = sizeof(struct vfio_irq_set) + data;
	struct vfio_irq_set *request = calloc(1, bytes);
	int ret;

	if (!request)
		return -ENOMEM;
	request->argsz = (uint32_t)bytes;
	request->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	request->start = start;
	request->count = count;
	memcpy(request->data, fds, data);
	ret = set(irq, request);
	free(request);
	return ret;
}

/* All at once, which every kernel can. */
int vfio_irq_enable(struct vfio_irq *irq, const int *fds, unsigned count, struct error *error)
{
	int ret;

	if (!count || count > irq->max)
		return error_set(error, -EINVAL, "%s has %u vectors, not %u", irq->pci->address,
				 irq->max, count);
	ret = vfio_irq_disable(irq, error);
	if (ret < 0)
		return ret;
	ret = set_eventfds(irq, 0, fds, count);
	if (ret > 0 && (unsigned)ret < count)
		return ret;
	if (ret != 0)
		return error_set(error, ret < 0 ? ret : -EIO, "%s: %u interrupts: %s",
				 irq->pci->address, count, strerrordesc_np(ret < 0 ? -ret : EIO));
	irq->enabled = count;
	return 0;
}

int vfio_irq_set(const struct vfio_irq *irq, unsigned vector, int fd, struct error *error)
{
	int ret;

	if (vector >= irq->enabled)
		return error_set(error, -EINVAL, "%s: vector %u is not enabled", irq->pci->address,
				 vector);
	ret = set_eventfds(irq, vector, &fd, 1);
	if (ret != 0)
		return error_set(error, ret < 0 ? ret : -EIO, "%s: vector %u: %s",
				 irq->pci->address, vector, strerrordesc_np(ret < 0 ? -ret : EIO));
	return 0;
}

int vfio_irq_disable(struct vfio_irq *irq, struct error *error)
{
	struct vfio_irq_set request = {
		.argsz = sizeof(request),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
	};
	int ret;

	if (!irq->enabled)
		return 0;
	ret = set(irq, &request);
	if (ret < 0)
		return error_set(error, ret, "%s: interrupts cannot be disabled: %s",
				 irq->pci->address, strerrordesc_np(-ret));
	irq->enabled = 0;
	return 0;
}

int vfio_irq_trigger(const struct vfio_irq *irq, unsigned vector, struct error *error)
{
	struct vfio_irq_set request = {
		.argsz = sizeof(request),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.start = vector,
		.count = 1,
	};
	int ret = set(irq, &request);

	if (ret < 0)
		return error_set(error, ret, "%s: vector %u cannot be triggered: %s",
				 irq->pci->address, vector, strerrordesc_np(-ret));
	return 0;
}
