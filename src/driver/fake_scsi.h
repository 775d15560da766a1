/* SPDX-License-Identifier: MIT */
/*
 * For tests: a virtio-scsi back end on a thread of this process, with LUNs of one small disk at target 0. It can have a configuration
 * space or none, answer with any response, lie about lengths, stay silent, and send any event. One client after the other.
 */
#ifndef RINGLANE_DRIVER_FAKE_SCSI_H
#define RINGLANE_DRIVER_FAKE_SCSI_H

#include <linux/virtio_scsi.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_SCSI_BLOCKS 256u
#define FAKE_SCSI_SERIAL "fake-scsi-1"
#define FAKE_SCSI_WWN 0x5000c500deadbeefull

enum fake_scsi_trick {
	FAKE_SCSI_HONEST,
	FAKE_SCSI_HOLDS,       /* takes commands and does not answer: setup.lets_go, release */
	FAKE_SCSI_RESPONDS,    /* does nothing and answers with setup.answer */
	FAKE_SCSI_NO_RESPONSE, /* completes without having written anything */
	FAKE_SCSI_BAD_ID,
	FAKE_SCSI_TWICE,
	FAKE_SCSI_ATTENTION, /* CHECK CONDITION, UNIT ATTENTION */
	FAKE_SCSI_DIES,      /* closes the connection when a command comes */
};

/* Which task management function ends commands that are held; those below it are answered and do nothing. */
enum fake_scsi_lets_go {
	FAKE_SCSI_LETS_GO_NEVER,
	FAKE_SCSI_LETS_GO_AT_ABORT,
	FAKE_SCSI_LETS_GO_AT_LUN_RESET,
	FAKE_SCSI_LETS_GO_AT_NEXUS_RESET,
};

/* A task management function that came. */
struct fake_scsi_tmf {
	unsigned subtype, target, lun;
	uint64_t tag;
};

#define FAKE_SCSI_TMFS 32u /* that are remembered */

/* As it goes over the wire, but in host order. */
struct fake_scsi_answer {
	uint32_t sense_len, residual;
	uint16_t qualifier;
	uint8_t status, response;
	uint8_t sense[96];
};

struct fake_scsi_setup {
	unsigned ring_max; /* 0: 4 */
	bool has_config;   /* offers CONFIG, with: */
	struct virtio_scsi_config config;
	unsigned cdb_size, sense_size; /* 0: 32, 96; a written configuration changes them */
	unsigned luns;                 /* 0: 1 */
	unsigned first_lun;            /* the LUNs are first_lun … first_lun + luns - 1 */
	bool no_report_luns, no_mode_page, no_pages, short_capacity;
	uint32_t last_block; /* 0: FAKE_SCSI_BLOCKS - 1; what READ CAPACITY tells */
	enum fake_scsi_trick trick;
	unsigned honest_first; /* commands before the trick begins */
	unsigned tricks_max;   /* it is honest again after so many; 0: never */
	struct fake_scsi_answer answer;
	bool silent_control; /* never answers on the control queue */
	uint8_t tmf_response;
	enum fake_scsi_lets_go lets_go;
};

struct fake_scsi;

struct fake_scsi *fake_scsi_new(const struct fake_scsi_setup *setup);
void fake_scsi_free(struct fake_scsi *fake);
const char *fake_scsi_uri(const struct fake_scsi *fake);
/* From the next command on. */
void fake_scsi_set_trick(struct fake_scsi *fake, enum fake_scsi_trick trick);
/* What READ CAPACITY tells from now on. */
void fake_scsi_resize(struct fake_scsi *fake, uint32_t last_block);
/* Sends these bytes, `written` of them as the used entry says. Returns when it is done; false: there was no buffer. */
bool fake_scsi_send_event(struct fake_scsi *fake, const void *bytes, unsigned size,
			  uint32_t written);
/* Commands and TMFs taken; the last CDB and its tag and attribute. Atomic, or to be read when nothing is in flight. */
unsigned fake_scsi_taken(const struct fake_scsi *fake);
unsigned fake_scsi_managed(const struct fake_scsi *fake);
/* index < fake_scsi_managed(), FAKE_SCSI_TMFS */
struct fake_scsi_tmf fake_scsi_tmf(const struct fake_scsi *fake, unsigned index);
/* What is held is answered, as done; returns when it is. */
void fake_scsi_release(struct fake_scsi *fake);
const uint8_t *fake_scsi_last_request(const struct fake_scsi *fake);

#endif
