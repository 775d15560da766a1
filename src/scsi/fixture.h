/* SPDX-License-Identifier: MIT */
/*
 * For the tests of this folder: a captive loop, up to four units on ram nodes, each seen by two initiators, and one command at a
 * time that is waited for.
 *
 *     static void test_something(void **state)
 *     {
 *             struct scsi_fixture *f = *state;
 *             uint8_t data[96];
 *
 *             scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, sizeof(data));
 *             scsi_assert_good(f);
 *     }
 *
 * Buffers lie in two pieces of memory of their own, exactly as long as they are told, so that a sanitizer sees each step beyond.
 */
#ifndef RINGLANE_SCSI_FIXTURE_H
#define RINGLANE_SCSI_FIXTURE_H

#include "scsi/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SCSI_FIXTURE_UNITS 4u
#define SCSI_FIXTURE_LUNS_MAX 300u

enum scsi_who { FIRST, SECOND, SCSI_INITIATORS };

/* One command; several may be out at once (scsi_run_start). */
struct scsi_run {
	struct scsi_task task;
	struct scsi_fixture *fixture;
	struct scsi_run *next_waiting;
	struct iovec out[2], in[2];
	uint8_t *in_memory[2], *out_memory[2];
	void *in_copy; /* where data in goes when it is done */
	unsigned done_count;
};

struct scsi_fixture_unit {
	struct block_node *node;
	struct scsi_unit *unit;
	struct scsi_nexus *nexuses[SCSI_INITIATORS];
	struct block_channel *channel;
};

struct scsi_fixture {
	struct loop *loop;
	struct block_graph *graph;
	char dir[64]; /* for state files; goes with the fixture */
	struct scsi_fixture_unit units[SCSI_FIXTURE_UNITS];
	unsigned unit_count;
	/* of units[0] */
	struct block_node *node;
	struct scsi_unit *unit;
	struct scsi_nexus *nexuses[SCSI_INITIATORS];

	struct scsi_run run; /* the command of scsi_do */
	enum scsi_attribute attribute;
	bool well_known, without_unit; /* how the next commands are addressed */
	unsigned target_unit;          /* index of the unit that they go to */
	unsigned planned_count;        /* commands that went the short way */

	/* what the task asked of the others */
	bool hold_exclusive,
		hold_abort;       /* wait for scsi_fixture_grant instead of granting at once */
	struct scsi_run *waiting; /* first of those that wait */
	unsigned exclusive_count, abort_count;
	bool aborted[SCSI_INITIATORS]; /* whose commands abort_marked took */
	unsigned peers_out;            /* got and not put back */
	uint64_t luns[SCSI_FIXTURE_LUNS_MAX];
	unsigned lun_count;
};

/* ---- set up ---- */

/* cmocka's: units[0] is a ram disk of 1 MiB with 512-byte blocks; no unit attention is pending. */
int scsi_fixture_setup(void **state);
int scsi_fixture_teardown(void **state);
#define scsi_test(f) cmocka_unit_test_setup_teardown(f, scsi_fixture_setup, scsi_fixture_teardown)

/* An empty one, without units, for tests that want another disk. */
struct scsi_fixture *scsi_fixture_new(void);
void scsi_fixture_free(struct scsi_fixture *fixture);
/* A unit on a node of the fixture's graph. config: node and loop are filled in; NULL: defaults. Returns its index. */
unsigned scsi_fixture_add(struct scsi_fixture *fixture, struct block_node *node,
			  const struct scsi_unit_config *config);
/* A ram node of its own. */
struct block_node *scsi_fixture_ram(struct scsi_fixture *fixture, const char *name, uint64_t size);
/* A file in the fixture's directory: can be resized, and discards. */
struct block_node *scsi_fixture_file(struct scsi_fixture *fixture, const char *name, uint64_t size);
/* Takes a unit away and makes it anew with this config, as a restart does; attentions stay pending. */
void scsi_fixture_restart(struct scsi_fixture *fixture, unsigned index,
			  const struct scsi_unit_config *config);
/* Forgets all that is pending. */
void scsi_fixture_clear_attentions(struct scsi_fixture *fixture);
/* A path in the fixture's directory, valid until the next call. */
const char *scsi_fixture_path(struct scsi_fixture *fixture, const char *name);

/* ---- commands ---- */

#define CDB(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })

/* Waits for the end; the answer is fixture->run.task. */
void scsi_do(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb, size_t cdb_bytes);
void scsi_do_in(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb,
		size_t cdb_bytes, void *in, size_t in_bytes);
void scsi_do_out(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb,
		 size_t cdb_bytes, const void *out, size_t out_bytes);

/* The same in steps: start, turn the loop, look at run->done_count. A run is used once, zeroed before. */
struct scsi_run_data {
	const void *out;
	size_t out_bytes;
	void *in;
	size_t in_bytes;
};
void scsi_run_start(struct scsi_fixture *fixture, struct scsi_run *run, enum scsi_who who,
		    const uint8_t *cdb, size_t cdb_bytes, const struct scsi_run_data *data);
/* Turns the loop until it is done; fails after a deadline. */
/* fixture_transfer.c: as a device does. */
void scsi_fixture_execute(struct scsi_run *run);
void scsi_run_wait(struct scsi_run *run);
/* Frees the memory of its data; scsi_do does so by itself. */
void scsi_run_fini(struct scsi_run *run);
/* The command that has waited longest for exclusive() or abort_marked() is resumed, or abandoned. */
void scsi_fixture_grant(struct scsi_fixture *fixture);
void scsi_fixture_abandon(struct scsi_fixture *fixture);
/* Turns the loop until *flag, with a deadline. */
void scsi_fixture_wait(struct scsi_fixture *fixture, const bool *flag);
void scsi_fixture_turn(struct scsi_fixture *fixture);

/* ---- what came of it: of fixture->run ---- */

void scsi_assert_good(struct scsi_fixture *fixture);
void scsi_assert_status(struct scsi_fixture *fixture, enum scsi_status status); /* no sense */
/* CHECK CONDITION with this, in whichever format. */
void scsi_assert_sense(struct scsi_fixture *fixture, enum scsi_sense_key key, enum scsi_asc asc);
/* ILLEGAL REQUEST, INVALID FIELD IN CDB / PARAMETER LIST, with this field pointer; bit -1: none. */
void scsi_assert_bad_cdb(struct scsi_fixture *fixture, unsigned byte, int bit);
void scsi_assert_bad_parameter(struct scsi_fixture *fixture, unsigned byte, int bit);
void scsi_assert_information(struct scsi_fixture *fixture, uint64_t information);
void scsi_assert_residual(struct scsi_fixture *fixture, enum scsi_fit fit, uint64_t residual);

/* Sense taken apart, of either format; false when it has no such field. */
enum scsi_sense_key scsi_sense_key_of(const struct scsi_task *task);
enum scsi_asc scsi_sense_asc_of(const struct scsi_task *task);
bool scsi_sense_information_of(const struct scsi_task *task, uint64_t *ret_information);
/* Three bytes: SKSV and what follows (SPC-4, 4.5.2.4). */
const uint8_t *scsi_sense_specific_of(const struct scsi_task *task);

/* The disk's bytes, past the target. */
void scsi_fixture_peek(struct scsi_fixture *fixture, unsigned unit, uint64_t offset, void *bytes,
		       size_t size);
void scsi_fixture_poke(struct scsi_fixture *fixture, unsigned unit, uint64_t offset,
		       const void *bytes, size_t size);

#endif
