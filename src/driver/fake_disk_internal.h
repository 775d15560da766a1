/* SPDX-License-Identifier: MIT */
/* What the files of the fake disk share. All of it on the fake's thread, but for the fields that are atomic. */
#ifndef RINGLANE_DRIVER_FAKE_DISK_INTERNAL_H
#define RINGLANE_DRIVER_FAKE_DISK_INTERNAL_H

#include "driver/fake_disk.h"
#include "vhost_user/backend.h"
#include "virtq/virtq.h"

#include <pthread.h>

#define FAKE_RINGS_MAX 8
#define FAKE_IOV_MAX 1024
#define FAKE_HELD_MAX 1024

/* A request that was taken and is not finished. */
struct fake_held {
	struct virtq_chain chain;
	struct iovec *iov;
};

struct fake_ring {
	bool running;
	struct virtq_device q;
	int kick_fd, call_fd;
	struct fake_held held[FAKE_HELD_MAX];
	unsigned held_count;
};

struct fake_disk {
	struct fake_setup setup;
	char folder[64], path[96], uri[128];
	uint8_t *bytes;
	pthread_t thread;
	int listen_fd, wake_fd;
	/* the thread's */
	struct vhu_backend *backend;
	struct mem_map *map;
	struct fake_ring rings[FAKE_RINGS_MAX];
	uint64_t acked;
	unsigned turns;    /* of the socket, in this connection */
	unsigned stopping; /* the ring whose stop is pending */
	bool dead;
	/* guarded by lock: what the test wishes */
	pthread_mutex_t lock;
	pthread_cond_t granted;
	struct fake_wishes {
		bool quit, hang_up, away, release;
		unsigned asked, done; /* rounds */
	} wishes;
	/* atomic */
	uint64_t sectors, sectors_told;
	unsigned taken, tricks, clients;
	enum fake_trick trick;
};

/* fake_disk_ring.c */
void fake_ring_process(struct fake_disk *disk, struct fake_ring *ring);
/* Finishes what is held, and calls. */
void fake_ring_release(struct fake_disk *disk, struct fake_ring *ring);
void fake_ring_forget(struct fake_ring *ring);

/* fake_disk_protocol.c */
extern const struct vhu_backend_ops fake_disk_ops;
/* Answers a stop that was kept waiting. */
void fake_stop_finish(struct fake_disk *disk);

#endif
