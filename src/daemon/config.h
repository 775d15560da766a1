/* SPDX-License-Identifier: MIT */
/*
 * What the command line asks for: parsed, cross-checked, not yet done.
 *
 * config_parse() is pure but for looking at file descriptors and file types that the line names: it opens, creates and changes
 * nothing. When it succeeds, the references between exports, nodes and IOThreads hold, and the mapping of each export is valid.
 * Strings of the specs live in the JSON trees, which the config owns.
 */
#ifndef RINGLANE_DAEMON_CONFIG_H
#define RINGLANE_DAEMON_CONFIG_H

#include "base/error.h"
#include "daemon/schema.h"
#include "device/blk.h"
#include "device/vq_map.h"

#include <jansson.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define CONFIG_ID_MAX 63

enum config_action {
	CONFIG_RUN,
	CONFIG_HELP,
	CONFIG_VERSION,
	CONFIG_CAPABILITIES,
	CONFIG_OBJECT_HELP,
	CONFIG_BLOCKDEV_HELP,
	CONFIG_EXPORT_HELP,
	CONFIG_DEVICE_HELP,
	CONFIG_CHARDEV_HELP,
	CONFIG_MONITOR_HELP,
};

struct export;
struct device;

struct iothread_spec {
	STAILQ_ENTRY(iothread_spec) next;
	json_t *tree;
	const char *id;
	unsigned type;
	uint64_t poll_max_ns, poll_grow, poll_shrink;
	json_t *cpus_value;
	bool pinned;
	cpu_set_t cpus;
};

/* All keys of all drivers; a driver's schema says which of them it takes. */
struct blockdev_values {
	const char *driver, *node_name, *filename;
	unsigned locking, discard, aio, only_off; /* indices of choices */
	bool read_only, auto_read_only, direct, no_flush, read_zeroes;
	uint64_t size, offset, latency_ns, busy_ns, every, bytes;
	json_t *file, *ops;
	const char *error_name;
};

struct blockdev_driver;

struct blockdev_spec {
	STAILQ_ENTRY(blockdev_spec) next;
	json_t *tree;
	const struct blockdev_driver *driver;
	char name[CONFIG_ID_MAX + 1];
	char origin[CONFIG_ID_MAX + 16]; /* "--blockdev NAME": begins what is said about it */
	struct blockdev_values values;
	struct blockdev_spec *child;
	bool has_size;
	int error_number;
	unsigned op_mask; /* 0: all */
	bool written;     /* somebody writes it, or may */
	bool optional;    /* if it cannot be written, it can be read */
	bool is_inline;   /* described by the node over it, and goes with it */
	bool lock_now;    /* others are served: locks are not waited for */
	bool unused;      /* by anybody that the command line has */
};

/* Who uses a node: share.c says who may be there together. */
struct node_use {
	STAILQ_ENTRY(node_use) next; /* in the config, once it was allowed */
	struct blockdev_spec *node;  /* NULL: none yet */
	const char *kind, *id;       /* "export", "device" */
	bool writes, shares;         /* shares: another device may show the same node */
};

enum export_type { EXPORT_BLK, EXPORT_SCSI };
enum export_address { EXPORT_UNIX, EXPORT_FD };

struct export_spec {
	STAILQ_ENTRY(export_spec) next;
	json_t *tree;
	const char *id, *node_name, *path, *fd_text, *serial, *iothread;
	unsigned type, address, writethrough;
	bool writable, fixed_iothread;
	uint64_t num_queues, logical_block_size, cdb_size, sense_size;
	json_t *map_value;
	struct vq_map_entry *entries;
	uint16_t *vqs;
	struct vq_map_list map; /* of entries; count 0 = none given */
	int fd;                 /* EXPORT_FD */
	bool fd_listens;
	struct node_use use; /* of what it serves; of an adapter its disks use nodes */
	char serial_text[BLK_ID_BYTES + 1];
	char origin[CONFIG_ID_MAX + 16];
	/* the server's */
	struct export *export;  /* once it is made */
	uint16_t relative_port; /* of an adapter; 0: none yet */
	bool joined;            /* drains that were there when it came */
	bool leaving;           /* somebody wants it to end */
	bool ended;             /* its socket is closed: it goes when its devices have gone */
};

/* A SCSI disk behind an adapter: QEMU's scsi-hd. */
struct device_spec {
	STAILQ_ENTRY(device_spec) next;
	json_t *tree;
	unsigned driver;
	const char *id, *drive, *bus;
	const char *serial, *vendor, *product, *revision, *device_id, *state_path;
	uint64_t channel, scsi_id, lun, wwn, logical_block_size, rotation_rate;
	bool has_scsi_id, has_lun, share_rw, read_only;
	struct export_spec *export;
	struct node_use use;
	char made_id[CONFIG_ID_MAX + 1];
	char origin[CONFIG_ID_MAX + 16];
	/* the server's */
	struct device *device; /* once it is made */
	bool gone;
};

/* Where clients of a monitor come from. */
struct chardev_spec {
	STAILQ_ENTRY(chardev_spec) next;
	json_t *tree;
	const char *id, *path;
	unsigned backend, server, wait;
	char origin[CONFIG_ID_MAX + 16];
};

struct monitor_spec {
	json_t *tree;
	STAILQ_ENTRY(monitor_spec) next;
	const char *chardev_id;
	unsigned mode;
	bool pretty;
	struct chardev_spec *chardev;
};

/* The back-end program convention of vhost-user. */
struct short_form {
	const char *socket_path, *fd_text, *blk_file;
	bool read_only;
};

struct config {
	enum config_action action;
	const char *pidfile;
	bool daemonize;
	struct short_form short_form;
	STAILQ_HEAD(, iothread_spec) iothreads;
	STAILQ_HEAD(, blockdev_spec) blockdevs; /* a child stands before its parents */
	STAILQ_HEAD(, export_spec) exports;
	STAILQ_HEAD(, device_spec) devices;
	STAILQ_HEAD(, chardev_spec) chardevs;
	STAILQ_HEAD(, monitor_spec) monitors;
	STAILQ_HEAD(, node_use) uses;
};

/* The newest spec of a list; NULL: it is empty. */
#define CONFIG_LAST(list, type) \
	(STAILQ_EMPTY(list) ? NULL : container_of((list)->stqh_last, struct type, next.stqe_next))

void config_init(struct config *config);
void config_fini(struct config *config);
/* The first mistake ends it with one sentence. */
int config_parse(struct config *config, int argc, char **argv, struct error *error);

/* What several tables need: a name as QEMU takes it: a letter, then letters, digits, '-', '.', '_'. */
int config_check_id(const char *key, const char *id, struct error *error);
struct iothread_spec *config_find_iothread(const struct config *config, const char *id);
struct blockdev_spec *config_find_blockdev(const struct config *config, const char *name);
struct export_spec *config_find_export(const struct config *config, const char *id);
struct device_spec *config_find_device(const struct config *config, const char *id);

enum config_kind {
	CONFIG_OBJECT,
	CONFIG_BLOCKDEV,
	CONFIG_EXPORT,
	CONFIG_DEVICE,
	CONFIG_CHARDEV,
	CONFIG_MONITOR
};

/* What a command line adds: as below, and the sentence says which option it is about. */
int config_add(struct config *config, enum config_kind kind, json_t *tree, struct error *error);

/* Each takes the tree, whatever it returns, and puts the new spec at the end of its list. */
int iothread_spec_add(struct config *config, json_t *tree, struct error *error);
int blockdev_spec_add(struct config *config, json_t *tree, struct error *error);
int export_spec_add(struct config *config, json_t *tree, struct error *error);
int device_spec_add(struct config *config, json_t *tree, struct error *error);
int chardev_spec_add(struct config *config, json_t *tree, struct error *error);
int monitor_spec_add(struct config *config, json_t *tree, struct error *error);
int short_form_add(struct config *config, struct error *error);

const char *export_type_name(unsigned type); /* enum export_type */

/* When all are known: references, mappings, who writes what. */
int export_specs_check(struct config *config, struct error *error);
int export_spec_check(struct config *config, struct export_spec *spec, struct error *error);
int device_specs_check(struct config *config, struct error *error);
int monitor_specs_check(struct config *config, struct error *error);
int device_spec_check(struct config *config, struct device_spec *spec, struct error *error);

/* -EPERM names who is there already. */
int node_use_add(struct config *config, struct node_use *use, struct error *error);
void node_use_remove(struct config *config, struct node_use *use);
/* The node of this chain that must not be written, or NULL. */
const struct blockdev_spec *blockdev_spec_read_only(const struct blockdev_spec *spec);
/* Somebody writes this node, and so what lies under it. */
void blockdev_spec_mark_written(struct blockdev_spec *spec);

/* A serial that is the same in each run and differs for others: the beginning of name and a hash. */
void export_spec_make_serial(struct export_spec *spec, const char *name, const char *hashed);

/* What it says is not there any more. */
void config_remove_export(struct config *config, struct export_spec *spec);
void config_remove_device(struct config *config, struct device_spec *spec);
void config_remove_iothread(struct config *config, struct iothread_spec *spec);
void config_remove_blockdev(struct config *config, struct blockdev_spec *spec);
/* Those that were added after it; NULL: all. */
void config_remove_blockdevs_after(struct config *config, struct blockdev_spec *spec);

void iothread_spec_free(struct iothread_spec *spec);
void blockdev_spec_free(struct blockdev_spec *spec);
void export_spec_free(struct export_spec *spec);
void device_spec_free(struct device_spec *spec);
void chardev_spec_free(struct chardev_spec *spec);
void monitor_spec_free(struct monitor_spec *spec);

void iothread_spec_print_help(FILE *file);
void blockdev_spec_print_help(FILE *file);
void export_spec_print_help(FILE *file);
void device_spec_print_help(FILE *file);
void chardev_spec_print_help(FILE *file);
void monitor_spec_print_help(FILE *file);

#endif
