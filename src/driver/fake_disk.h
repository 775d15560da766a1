/* SPDX-License-Identifier: MIT */
/*
 * For tests: a back end on a thread of this process that keeps its disk in memory. It can lack features, answer with any
 * status, break the rules of the ring, hold its requests back, or die. One client after the other.
 */
#ifndef RINGLANE_DRIVER_FAKE_DISK_H
#define RINGLANE_DRIVER_FAKE_DISK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_ID "fake-disk-0123456789" /* 20 bytes, no end */

enum fake_trick {
	FAKE_HONEST,
	FAKE_HOLDS,           /* takes requests and keeps them */
	FAKE_DIES,            /* closes the connection when a request comes */
	FAKE_WRITES_STATUS,   /* completes with setup.status */
	FAKE_NO_STATUS,       /* completes without writing one */
	FAKE_REVERSES,        /* completes what it finds in the opposite order */
	FAKE_BAD_ID,          /* used entries: an id that is none */
	FAKE_NOT_OUTSTANDING, /* an id that was not given to it */
	FAKE_TWICE,           /* each id twice */
	FAKE_LENGTH,          /* more written than there is room */
	FAKE_INDEX_JUMPS,     /* the used index runs ahead */
};

struct fake_setup {
	uint64_t features_off;          /* virtio bits that it lacks */
	uint64_t protocol_features_off; /* vhost-user bits that it lacks */
	unsigned queue_max;             /* 0: 4 */
	bool read_only;
	struct virtio_blk_config config; /* capacity 0: 2048 sectors, and what goes with it */
	enum fake_trick trick;
	unsigned honest_first; /* requests before the trick begins */
	uint8_t status;
};

struct fake_disk;

struct fake_disk *fake_disk_new(const struct fake_setup *setup);
/* The client has closed or does not mind. Nothing stays behind. */
void fake_disk_free(struct fake_disk *disk);
const char *fake_disk_uri(const struct fake_disk *disk);
/* A useful configuration of so many sectors, to be changed by a test. */
struct virtio_blk_config fake_config(uint64_t sectors);
/* The device's memory; to be looked at when no request is in flight. */
uint8_t *fake_disk_bytes(struct fake_disk *disk);
/* Tells the client that the disk has so many sectors now (at most those it began with). */
void fake_disk_resize(struct fake_disk *disk, uint64_t sectors);
/* Closes the connection. */
void fake_disk_hang_up(struct fake_disk *disk);
/* Requests taken so far; atomic. */
unsigned fake_disk_taken(const struct fake_disk *disk);

/* Open files of this process: before and after a test it must be the same number. */
unsigned fake_open_fds(void);

#endif
