// SPDX-License-Identifier: MIT
/*
 * Finds and writes; see irq_affinity.h. The kernel's files are believed, but read with care: a line that is not understood is
 * skipped.
 */
#include "driver/irq_affinity.h"

#include "base/fd.h"
#include "driver/topology.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROC "/proc"
#define PATH_SIZE 512
#define NAME_SIZE 128

/* ---- files ---- */

static int out_of_memory(struct error *error)
{
	return error_set(error, -ENOMEM, "out of memory");
}

static int read_more(int fd, char **text, size_t *used, size_t *size)
{
	ssize_t got;

	if (*size - *used < 2) {
		char *more = realloc(*text, *size ? *size * 2 : 16384);

		if (!more)
			return -ENOMEM;
		*text = more;
		*size = *size ? *size * 2 : 16384;
	}
	do
		got = read(fd, *text + *used, *size - *used - 1);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	*used += (size_t)got;
	(*text)[*used] = '\0';
	return got > 0;
}

/* All of a file; the caller frees it. */
static int file_read(const char *path, char **ret_text)
{
	fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0, size = 0;
	char *text = NULL;
	int ret;

	if (fd < 0)
		return -errno;
	do
		ret = read_more(fd, &text, &used, &size);
	while (ret > 0);
	if (ret < 0) {
		free(text);
		return ret;
	}
	*ret_text = text;
	return 0;
}

/* One write: the kernel takes a list whole or not at all. */
static int file_write(const char *path, const char *text)
{
	fd_auto fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ssize_t put;

	if (fd < 0)
		return -errno;
	do
		put = write(fd, text, strlen(text));
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : 0;
}

static void affinity_path(const char *proc, int number, char *path)
{
	snprintf(path, PATH_SIZE, "%s/irq/%d/smp_affinity_list", proc, number);
}

/* ---- /proc/interrupts ---- */

/* Is name a whole action of a line? Actions come last, with ", " between those that share an interrupt. */
static bool line_has_action(const char *line, size_t length, const char *name)
{
	size_t size = strlen(name);
	const char *end = line + length, *at = line;

	while ((at = memmem(at, (size_t)(end - at), name, size))) {
		bool starts = at > line && isspace((unsigned char)at[-1]);
		bool ends = at + size == end || at[size] == ',' || isspace((unsigned char)at[size]);

		if (starts && ends)
			return true;
		at++;
	}
	return false;
}

/* "  45:" begins the line of an interrupt that has a number. */
static int line_number(const char *line)
{
	unsigned long number;
	char *end;

	line += strspn(line, " ");
	if (!isdigit((unsigned char)*line))
		return -1;
	number = strtoul(line, &end, 10);
	return *end == ':' && number <= INT_MAX ? (int)number : -1;
}

static void action_name(const char *address, unsigned vector, char *name)
{
	snprintf(name, NAME_SIZE, "vfio-msix[%u](%s)", vector, address);
}

static int interrupts_find(const char *text, const char *address, unsigned vector)
{
	char name[NAME_SIZE];

	action_name(address, vector, name);
	while (*text) {
		size_t length = strcspn(text, "\n");
		int number = line_number(text);

		if (number >= 0 && line_has_action(text, length, name))
			return number;
		text += length + (text[length] == '\n');
	}
	return -ENOENT;
}

static int interrupts_read(const char *proc, char **ret_text, struct error *error)
{
	char path[PATH_SIZE];
	int ret;

	snprintf(path, sizeof(path), "%s/interrupts", proc);
	ret = file_read(path, ret_text);
	return ret < 0 ? error_set(error, ret, "%s: %s", path, strerrordesc_np(-ret)) : 0;
}

static int error_not_found(const char *proc, const char *address, unsigned vector,
			   struct error *error)
{
	char name[NAME_SIZE];

	action_name(address, vector, name);
	return error_set(error, -ENOENT, "%s/interrupts has no %s: the vector is not set up", proc,
			 name);
}

int irq_find(const char *proc, const char *address, unsigned vector, struct error *error)
{
	char *text;
	int ret = interrupts_read(proc ? proc : PROC, &text, error);

	if (ret < 0)
		return ret;
	ret = interrupts_find(text, address, vector);
	free(text);
	return ret < 0 ? error_not_found(proc ? proc : PROC, address, vector, error) : ret;
}

/* ---- /proc/irq/N/smp_affinity_list ---- */

int irq_affinity_read(const char *proc, int number, hwloc_bitmap_t ret_cpus, struct error *error)
{
	char path[PATH_SIZE], *text;
	struct error reason = { 0 };
	int ret;

	affinity_path(proc ? proc : PROC, number, path);
	ret = file_read(path, &text);
	if (ret == -ENOENT)
		return error_set(error, ret, "interrupt %d has gone", number);
	if (ret < 0)
		return error_set(error, ret, "%s: %s", path, strerrordesc_np(-ret));
	if (strcspn(text, "\n") == 0)
		hwloc_bitmap_zero(ret_cpus);
	else
		ret = topology_list_parse(text, ret_cpus, &reason);
	free(text);
	return ret < 0 ? error_set(error, ret, "%s: %s", path, reason.text) : 0;
}

/* A managed interrupt is EIO in older kernels and EPERM in newer ones. */
int irq_write_explain(int code, int number, const char *cpus, struct error *error)
{
	switch (code) {
	case -ENOENT:
		return error_set(error, -ENOENT, "interrupt %d has gone", number);
	case -EIO:
	case -EPERM:
		return error_set(error, -EPERM,
				 "interrupt %d: the kernel lets nobody else say where it goes",
				 number);
	case -EACCES:
	case -EROFS:
		return error_set(error, -EACCES, "interrupt %d: only root may say where it goes",
				 number);
	case -EINVAL:
		return error_set(error, code, "interrupt %d: none of the CPUs %s is online", number,
				 cpus);
	case -ENOSPC:
		return error_set(error, code, "interrupt %d: the CPUs %s have no vector left",
				 number, cpus);
	default:
		return error_set(error, code, "interrupt %d to CPUs %s: %s", number, cpus,
				 strerrordesc_np(-code));
	}
}

int irq_affinity_write(const char *proc, int number, hwloc_const_bitmap_t cpus, struct error *error)
{
	int length = topology_list_format(cpus, NULL, 0), ret;
	char path[PATH_SIZE], *list = malloc((size_t)length + 1);

	if (!list)
		return out_of_memory(error);
	topology_list_format(cpus, list, (size_t)length + 1);
	affinity_path(proc ? proc : PROC, number, path);
	ret = file_write(path, list);
	if (ret < 0)
		ret = irq_write_explain(ret, number, list, error);
	free(list);
	return ret;
}

/* ---- the vectors of a device ---- */

static int vector_init(struct irq_vector *vector, unsigned number, hwloc_const_bitmap_t mask)
{
	vector->vector = number;
	vector->number = -1;
	vector->wanted = hwloc_bitmap_dup(mask);
	vector->seen = hwloc_bitmap_alloc();
	return vector->wanted && vector->seen ? 0 : -ENOMEM;
}

int irq_affinity_init(struct irq_affinity *irqs, const struct irq_affinity_options *options,
		      struct error *error)
{
	for (unsigned i = 0; i < options->count; i++)
		if (hwloc_bitmap_iszero(options->masks[i]))
			return error_set(error, -EINVAL, "vector %u is given no CPU",
					 options->vectors[i]);
	*irqs = (struct irq_affinity){
		.proc = strdup(options->proc ? options->proc : PROC),
		.address = strdup(options->address),
		.mode = options->mode,
		.vectors = calloc(options->count + 1, sizeof(irqs->vectors[0])),
	};
	if (!irqs->proc || !irqs->address || !irqs->vectors)
		goto out_of_memory;
	for (; irqs->count < options->count; irqs->count++) {
		unsigned i = irqs->count;

		if (vector_init(&irqs->vectors[i], options->vectors[i], options->masks[i]) < 0) {
			irqs->count++;
			goto out_of_memory;
		}
	}
	return 0;
out_of_memory:
	irq_affinity_fini(irqs);
	return out_of_memory(error);
}

void irq_affinity_fini(struct irq_affinity *irqs)
{
	for (unsigned i = 0; i < irqs->count; i++) {
		hwloc_bitmap_free(irqs->vectors[i].wanted);
		hwloc_bitmap_free(irqs->vectors[i].seen);
	}
	free(irqs->vectors);
	free(irqs->proc);
	free(irqs->address);
	*irqs = (struct irq_affinity){ 0 };
}

void irq_affinity_set_off(struct irq_affinity *irqs, unsigned vector, bool is_off)
{
	for (unsigned i = 0; i < irqs->count; i++) {
		struct irq_vector *it = &irqs->vectors[i];

		if (it->vector != vector)
			continue;
		if (is_off && it->state != IRQ_FOREIGN)
			it->is_said = false;
		it->is_off = is_off;
	}
}

/* Another interrupt than before is nobody's yet. */
static void vector_rename(struct irq_vector *vector, int number)
{
	if (vector->number == number)
		return;
	vector->number = number;
	vector->state = IRQ_UNKNOWN;
	vector->is_said = false;
}

/* Waits for a CPU of its own; found is where the kernel has it meanwhile. */
static int vector_displace(struct irq_vector *vector, hwloc_const_bitmap_t found,
			   struct error *error)
{
	vector->state = IRQ_DISPLACED;
	return hwloc_bitmap_copy(vector->seen, found) < 0 ? out_of_memory(error) : 0;
}

static int vector_write(struct irq_affinity *irqs, struct irq_vector *vector,
			hwloc_const_bitmap_t found, struct error *error)
{
	struct error reason = { 0 };
	int ret = irq_affinity_write(irqs->proc, vector->number, vector->wanted, &reason);

	if (ret == -EINVAL)
		return vector_displace(vector, found, error);
	if (ret == 0) {
		vector->state = IRQ_OURS;
		vector->is_said = true;
		return 0;
	}
	if (ret == -ENOENT)
		vector_rename(vector, -1);
	else
		vector->state = IRQ_REFUSED;
	return error_set(error, ret, "%s", reason.text);
}

/* Reads what is there; 1: it is what is wanted. */
static int vector_look(struct irq_affinity *irqs, struct irq_vector *vector, hwloc_bitmap_t found,
		       struct error *error)
{
	int ret = irq_affinity_read(irqs->proc, vector->number, found, error);

	if (ret == -ENOENT)
		vector_rename(vector, -1);
	return ret < 0 ? ret : hwloc_bitmap_isequal(found, vector->wanted);
}

/* The vector's CPUs are not what is wanted: whose will is that, and what is to be done? */
static int vector_judge(struct irq_affinity *irqs, struct irq_vector *vector,
			hwloc_const_bitmap_t found, hwloc_const_bitmap_t online,
			struct error *error)
{
	bool can_go_there = !online || hwloc_bitmap_intersects(vector->wanted, online);
	bool is_kernels = vector->state == IRQ_DISPLACED &&
			  hwloc_bitmap_isequal(found, vector->seen);

	if (!can_go_there && vector->state != IRQ_FOREIGN)
		return vector_displace(vector, found, error);
	if (irqs->mode == IRQ_MODE_HINT && vector->is_said && !is_kernels) {
		vector->state = IRQ_FOREIGN;
		return 0;
	}
	return vector_write(irqs, vector, found, error);
}

/* One vector that has a number. 1: it was not as wanted. */
static int vector_settle(struct irq_affinity *irqs, struct irq_vector *vector,
			 hwloc_const_bitmap_t online, struct error *error)
{
	hwloc_bitmap_t found = hwloc_bitmap_alloc();
	int ret = found ? vector_look(irqs, vector, found, error) : out_of_memory(error);

	if (ret == 1) {
		vector->state = IRQ_OURS;
		vector->is_said = true;
		ret = 0;
	} else if (ret == 0) {
		ret = vector_judge(irqs, vector, found, online, error);
		ret = ret < 0 ? ret : 1;
	}
	hwloc_bitmap_free(found);
	return ret;
}

static int vectors_find(struct irq_affinity *irqs, struct error *error)
{
	char *text;
	int ret = interrupts_read(irqs->proc, &text, error);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < irqs->count; i++) {
		struct irq_vector *vector = &irqs->vectors[i];
		int number;

		if (vector->is_off)
			continue;
		number = interrupts_find(text, irqs->address, vector->vector);
		vector_rename(vector, number < 0 ? -1 : number);
	}
	free(text);
	return 0;
}

/* Each vector in turn; how many were not as wanted, or the first failure. */
static int vectors_settle(struct irq_affinity *irqs, hwloc_const_bitmap_t online,
			  struct error *error)
{
	int changed = 0, failure = 0;

	for (unsigned i = 0; i < irqs->count; i++) {
		struct irq_vector *vector = &irqs->vectors[i];
		struct error *first = failure ? NULL : error;
		int ret = 0;

		if (vector->is_off)
			continue;
		if (vector->number < 0)
			ret = error_not_found(irqs->proc, irqs->address, vector->vector, first);
		else
			ret = vector_settle(irqs, vector, online, first);
		if (ret > 0)
			changed++;
		else if (ret < 0 && !failure)
			failure = ret;
	}
	return failure ? failure : changed;
}

int irq_affinity_apply(struct irq_affinity *irqs, struct error *error)
{
	int ret = vectors_find(irqs, error);

	if (ret == 0)
		ret = vectors_settle(irqs, NULL, error);
	return ret < 0 ? ret : 0;
}

int irq_affinity_verify(struct irq_affinity *irqs, hwloc_const_bitmap_t online, struct error *error)
{
	int ret = vectors_find(irqs, error);

	return ret < 0 ? ret : vectors_settle(irqs, online, error);
}
