/* SPDX-License-Identifier: MIT */
/* For the tests of pr_rules.c: three initiators that are registered, and what became of them. */
#ifndef RINGLANE_SCSI_TEST_PR_RULES_H
#define RINGLANE_SCSI_TEST_PR_RULES_H

#include "scsi/reservation_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Initiators and their keys. */
enum { A = 0xa1, B = 0xb2, C = 0xc3, STRANGER = 0xd4 };
enum { KEY_A = 0xaaa, KEY_B = 0xbbb, KEY_C = 0xccc, KEY_OTHER = 0xeee };

static const enum pr_type types[] = {
	PR_WRITE_EXCLUSIVE,
	PR_EXCLUSIVE_ACCESS,
	PR_WRITE_EXCLUSIVE_REGISTRANTS,
	PR_EXCLUSIVE_ACCESS_REGISTRANTS,
	PR_WRITE_EXCLUSIVE_ALL,
	PR_EXCLUSIVE_ACCESS_ALL,
};

static inline bool is_registrants_only(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_REGISTRANTS || type == PR_EXCLUSIVE_ACCESS_REGISTRANTS;
}

static inline bool is_all(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* A, B and C are registered; A holds, if there is anything to hold. */
static inline struct pr_table three(enum pr_type type)
{
	struct pr_table table = {
		.registrations = { { .initiator = A, .key = KEY_A },
				   { .initiator = B, .key = KEY_B },
				   { .initiator = C, .key = KEY_C } },
		.count = 3,
		.type = type,
		.holder = type == PR_NONE || is_all(type) ? 0 : A,
		.generation = 7,
	};

	return table;
}

/* The change that the tests look at. */
static struct pr_change change;

static inline enum pr_outcome decide(const struct pr_table *table, struct pr_command command)
{
	enum pr_outcome outcome = pr_decide(table, &command, &change).outcome;

	if (outcome == PR_GOOD) {
		assert_true(pr_table_is_sound(&change.table));
		if (!change.changed)
			assert_memory_equal(&change.table, table, sizeof(*table));
	}
	return outcome;
}
#define DECIDE(table, ...) decide(&(table), (struct pr_command){ __VA_ARGS__ })

static inline enum scsi_asc told(uint64_t initiator)
{
	enum scsi_asc attention = SCSI_ASC_NONE;

	for (unsigned i = 0; i < change.notice_count; i++) {
		if (change.notices[i].initiator == initiator) {
			assert_int_equal(attention, SCSI_ASC_NONE); /* not twice */
			attention = change.notices[i].attention;
		}
	}
	return attention;
}

static inline bool aborted(uint64_t initiator)
{
	for (unsigned i = 0; i < change.notice_count; i++) {
		if (change.notices[i].initiator == initiator && change.notices[i].abort)
			return true;
	}
	return false;
}

static inline void assert_all_told(enum scsi_asc a, enum scsi_asc b, enum scsi_asc c)
{
	assert_int_equal(told(A), a);
	assert_int_equal(told(B), b);
	assert_int_equal(told(C), c);
}

static inline uint64_t key_of(uint64_t initiator)
{
	const struct pr_registration *registration = pr_table_find(&change.table, initiator);

	return registration ? registration->key : 0;
}

#endif
