/* SPDX-License-Identifier: MIT */
/* CPU sets and their text form as the kernel writes it: "0-3,8". */
#ifndef RINGLANE_BASE_CPU_LIST_H
#define RINGLANE_BASE_CPU_LIST_H

#include "base/error.h"

#include <sched.h>
#include <stddef.h>

/* Where cpu_list_read puts what it has read. */
struct cpu_list_sink {
	unsigned limit;                                          /* CPUs are below it */
	int (*add)(void *opaque, unsigned first, unsigned last); /* 0 or -ENOMEM */
	void *opaque;
};

/* As cpu_list_parse, for sets of other kinds. On an error some may have been added. */
int cpu_list_read(const char *text, const struct cpu_list_sink *sink, struct error *error);

/*
 * Ranges and single CPUs with commas between them; a final newline is fine. An empty list, a range that goes down and
 * anything else: -EINVAL; a CPU that no set can hold: -ERANGE.
 */
int cpu_list_parse(const char *text, cpu_set_t *ret_set, struct error *error);
/* Always terminates (size > 0); what does not fit is left out by whole ranges. Returns text. */
char *cpu_list_format(const cpu_set_t *set, char *text, size_t size);

#endif
