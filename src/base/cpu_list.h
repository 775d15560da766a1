/* SPDX-License-Identifier: MIT */
/* CPU sets and their text form as the kernel writes it: "0-3,8". */
#ifndef RINGLANE_BASE_CPU_LIST_H
#define RINGLANE_BASE_CPU_LIST_H

#include "base/error.h"

#include <sched.h>
#include <stddef.h>

int cpu_list_parse(const char *text, cpu_set_t *ret_set, struct error *error);
/* Always terminates; returns text. */
char *cpu_list_format(const cpu_set_t *set, char *text, size_t size);

#endif
