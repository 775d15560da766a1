/* SPDX-License-Identifier: MIT */
/* What the files of the VFIO transport share. See transport_vfio.c. */
#ifndef RINGLANE_DRIVER_TRANSPORT_VFIO_H
#define RINGLANE_DRIVER_TRANSPORT_VFIO_H

#include "driver/transport.h"
#include "driver/virtio_pci.h"
#include "vfio/container.h"
#include "vfio/irq.h"
#include "vfio/pci.h"

#include <pthread.h>
#include <stdbool.h>

#define VFIO_QUEUES_MAX 258 /* 256 that a driver may use and the two of virtio-scsi */

struct vfio_queue {
	struct transport_ring ring;
	bool known;   /* to us: between queue_start and queue_stop */
	bool running; /* the device has it */
	bool masked;  /* wants no interrupt */
	struct doorbell doorbell;
};

/*
 * Passes the interrupts of vectors on to several event fds each, on a thread of its own: only where there are fewer
 * vectors than queues.
 */
struct vfio_hub {
	pthread_t thread;
	int stop_fd;
	unsigned vector_count, listener_count;
	int *vector_fds;
	struct vfio_listener {
		unsigned vector;
		int fd; /* borrowed; -1: none */
	} * listeners;
};

/* Starts the thread. listeners is copied. On failure nothing is left. */
int vfio_hub_start(struct vfio_hub *hub, unsigned vectors, const struct vfio_listener *listeners,
		   unsigned count, struct error *error);
/* A hub that was not started (all zero) is fine. */
void vfio_hub_stop(struct vfio_hub *hub);

struct transport_vfio {
	struct transport base;
	struct vfio_container container;
	struct vfio_pci function;
	bool has_function;
	struct virtio_pci_access access;
	struct virtio_pci device;
	uint64_t features, acked;
	bool negotiated; /* since the last reset */
	bool running;    /* DRIVER_OK */
	unsigned queue_count;
	uint16_t queue_size_max;
	struct vfio_queue *queues;
	int event_fd, gone_fd;
	/* transport_vfio_irq.c */
	struct vfio_irq msix, error_irq, request_irq;
	unsigned vectors; /* in use; the first is the configuration's */
	struct vfio_hub hub;
};

/* Feature bits that this transport takes by itself. */
uint64_t transport_vfio_features(void);

/* transport_vfio_irq.c: which vector signals whom. */
int transport_vfio_irqs_init(struct transport_vfio *self, struct error *error);
/*
 * As many vectors as the known queues and the configuration want, at most max; how many there are is in self->vectors
 * then.
 */
int transport_vfio_irqs_start(struct transport_vfio *self, unsigned max, struct error *error);
void transport_vfio_irqs_stop(struct transport_vfio *self);
/* Of the configuration (0) and of a known queue. */
unsigned transport_vfio_queue_vector(const struct transport_vfio *self, unsigned index);
/* Does anybody want its interrupt? */
bool transport_vfio_vector_is_wanted(const struct transport_vfio *self, unsigned vector);
int transport_vfio_queue_mask(struct transport *transport, unsigned index, struct error *error);
int transport_vfio_queue_unmask(struct transport *transport, unsigned index, struct error *error);

/* For tests: with another kernel. */
int transport_vfio_open_on(const struct vfio_kernel *kernel, const char *address,
			   unsigned device_id, unsigned timeout_ms,
			   struct transport **ret_transport, struct error *error);

#endif
