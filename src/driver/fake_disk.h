/* SPDX-License-Identifier: MIT */
/*
 * For tests: a back end on a thread of this process that keeps its disk in memory. It can lack features, answer with any
 * status, break the rules of the ring, hold its requests back, lose notifications, die at any step and come back. One client
 * after the other; its bytes outlive them.
 */
#ifndef RINGLANE_DRIVER_FAKE_DISK_H
#define RINGLANE_DRIVER_FAKE_DISK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_ID "fake-disk-0123456789" /* 20 bytes, no end */

enum fake_trick {
	FAKE_HONEST,
	FAKE_HOLDS, /* takes requests and keeps them; a stop waits for fake_disk_release, too */
	FAKE_DROPS, /* takes requests and never finishes them; a stop is answered and they are forgotten */
	FAKE_LOSES_KICK,      /* a kick is taken and nothing is looked at */
	FAKE_LOSES_CALL,      /* completes and does not call */
	FAKE_DIES,            /* closes the connection when a request comes */
	FAKE_DIES_AT_KICK,    /* before it has looked at the ring */
	FAKE_DIES_DONE,       /* when it has done what a request says and not told it */
	FAKE_DIES_TOLD,       /* when it has filled the used ring and not called */
	FAKE_WRITES_STATUS,   /* completes with setup.status */
	FAKE_NO_STATUS,       /* completes without writing one */
	FAKE_REVERSES,        /* completes what it finds in the opposite order */
	FAKE_BAD_ID,          /* used entries: an id that is none */
	FAKE_NOT_OUTSTANDING, /* an id that was not given to it */
	FAKE_TWICE,           /* each id twice */
	FAKE_LENGTH,          /* more written than there is room */
	FAKE_LENGTH_0,        /* nothing written, which is not true */
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
	unsigned tricks_max;   /* it is honest again after so many; 0: never */
	unsigned dies_at_turn; /* hangs up instead of reading from the socket the n-th time; 0: never */
	unsigned dying_clients; /* so many of the first clients see dies_at_turn; 0: all */
	uint8_t status;
	/* Told about each request that is taken, in the order in which they are; on the fake's thread. */
	void (*watch)(void *opaque, uint64_t sector);
	void *watch_opaque;
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
/* From the next request on. */
void fake_disk_set_trick(struct fake_disk *disk, enum fake_trick trick);

/* These return when the fake has done it. */

/* Closes the connection. Who comes next is another client. */
void fake_disk_hang_up(struct fake_disk *disk);
/* Closes the connection and the listening socket. */
void fake_disk_go_away(struct fake_disk *disk);
/* After that: listens again at the same path, as setup says now: features, queue_max, config, trick. */
void fake_disk_come_back(struct fake_disk *disk, const struct fake_setup *setup);
/* Finishes the requests that FAKE_HOLDS has kept, and a stop that waits for them. */
void fake_disk_release(struct fake_disk *disk);

/* Requests taken so far; tricks played; clients that came. Atomic. */
unsigned fake_disk_taken(const struct fake_disk *disk);
unsigned fake_disk_tricks(const struct fake_disk *disk);
unsigned fake_disk_clients(const struct fake_disk *disk);

/* Open files of this process: before and after a test it must be the same number. */
unsigned fake_open_fds(void);

#endif
