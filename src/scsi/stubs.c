/* SPDX-License-Identifier: MIT */
/* Stands in for what is not written yet; goes away with the last of them. */
#include "scsi/internal.h"

#include <errno.h>
#include <stdlib.h>

#define WEAK __attribute__((weak))

WEAK void scsi_inquiry(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_read(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_write(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_write_atomic(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_synchronize_cache(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_prefetch(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_extended_copy(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_receive_copy_results(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_sanitize(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK bool scsi_sanitize_progress(struct scsi_unit *unit, uint16_t *ret_progress)
{
	return false;
}

WEAK void scsi_sanitize_end(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque)
{
	done(opaque);
}

WEAK void scsi_copy_results_free(struct scsi_nexus *nexus)
{
}

WEAK bool scsi_unit_can_unmap(const struct scsi_unit *unit)
{
	return unit->node->limits.discard_max > 0;
}

WEAK unsigned scsi_designators(const struct scsi_nexus *nexus, uint8_t *bytes, size_t size)
{
	return 0;
}

WEAK bool scsi_unit_unmap_zeroes(const struct scsi_unit *unit)
{
	return unit->node->limits.discard_zeroes;
}
