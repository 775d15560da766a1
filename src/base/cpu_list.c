// SPDX-License-Identifier: MIT
/* Reads and writes "0-3,8". Pure. */
#include "base/cpu_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A number in *text, which moves behind it; -EINVAL without digits, -ERANGE for a CPU that no set can hold. */
static int number_parse(const char **text)
{
	unsigned long value;
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	value = strtoul(*text, &end, 10);
	if (value >= CPU_SETSIZE)
		return -ERANGE;
	*text = end;
	return (int)value;
}

/* "3" or "3-5" in *text, which moves behind it; -errno, the set may then be half changed. */
static int range_parse(const char **text, cpu_set_t *set)
{
	int first = number_parse(text), last = first;

	if (first >= 0 && **text == '-') {
		(*text)++;
		last = number_parse(text);
	}
	if (first < 0 || last < 0)
		return MIN(first, last);
	if (last < first)
		return -EINVAL;
	for (int cpu = first; cpu <= last; cpu++)
		CPU_SET(cpu, set);
	return 0;
}

int cpu_list_parse(const char *text, cpu_set_t *ret_set, struct error *error)
{
	const char *at = text;
	cpu_set_t set;
	int ret;

	CPU_ZERO(&set);
	for (;;) {
		ret = range_parse(&at, &set);
		if (ret == -ERANGE)
			return error_set(error, ret, "CPU list '%s': CPUs go from 0 to %d", text,
					 CPU_SETSIZE - 1);
		if (ret < 0 || *at != ',')
			break;
		at++;
	}
	if (*at == '\n')
		at++;
	if (ret < 0 || *at)
		return error_set(error, -EINVAL, "'%s' is no CPU list such as 0-3,8", text);
	*ret_set = set;
	return 0;
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
