// SPDX-License-Identifier: MIT
/* Reads and writes "0-3,8". Pure. */
#include "base/cpu_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A number in *text, which moves behind it; -EINVAL without digits, -ERANGE for a CPU beyond limit. */
static int number_parse(const char **text, unsigned limit)
{
	unsigned long value;
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	value = strtoul(*text, &end, 10);
	if (value >= limit)
		return -ERANGE;
	*text = end;
	return (int)value;
}

/* "3" or "3-5" in *text, which moves behind it. */
static int range_parse(const char **text, const struct cpu_list_sink *sink)
{
	int first = number_parse(text, sink->limit), last = first;

	if (first >= 0 && **text == '-') {
		(*text)++;
		last = number_parse(text, sink->limit);
	}
	if (first < 0 || last < 0)
		return MIN(first, last);
	if (last < first)
		return -EINVAL;
	return sink->add(sink->opaque, (unsigned)first, (unsigned)last);
}

int cpu_list_read(const char *text, const struct cpu_list_sink *sink, struct error *error)
{
	const char *at = text;
	int ret;

	for (;;) {
		ret = range_parse(&at, sink);
		if (ret < 0 || *at != ',')
			break;
		at++;
	}
	if (ret == -ERANGE)
		return error_set(error, ret, "CPU list '%s': CPUs go from 0 to %u", text,
				 sink->limit - 1);
	if (ret == -ENOMEM)
		return error_set(error, ret, "out of memory");
	if (*at == '\n')
		at++;
	if (ret < 0 || *at)
		return error_set(error, -EINVAL, "'%s' is no CPU list such as 0-3,8", text);
	return 0;
}

static int set_add(void *set, unsigned first, unsigned last)
{
	for (unsigned cpu = first; cpu <= last; cpu++)
		CPU_SET(cpu, (cpu_set_t *)set);
	return 0;
}

int cpu_list_parse(const char *text, cpu_set_t *ret_set, struct error *error)
{
	cpu_set_t set;
	const struct cpu_list_sink sink = { .limit = CPU_SETSIZE, .add = set_add, .opaque = &set };
	int ret;

	CPU_ZERO(&set);
	ret = cpu_list_read(text, &sink, error);
	if (ret == 0)
		*ret_set = set;
	return ret;
}

char *cpu_list_format(const cpu_set_t *set, char *text, size_t size)
{
	size_t used = 0;

	assert(size > 0);
	text[0] = '\0';
	for (int first = 0, last; first < CPU_SETSIZE; first = last + 1) {
		char item[32];
		int length;

		last = first;
		if (!CPU_ISSET(first, set))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
			last++;
		length = snprintf(item, sizeof(item), first == last ? "%s%d" : "%s%d-%d",
				  used ? "," : "", first, last);
		if (used + (size_t)length >= size)
			break;
		used += (size_t)snprintf(text + used, size - used, "%s", item);
	}
	return text;
}
