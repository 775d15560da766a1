/* SPDX-License-Identifier: MIT */
/* Stands in for what is not written yet; goes away with the last of them. */
#include "scsi/internal.h"

#include <errno.h>
#include <stdlib.h>

#define WEAK __attribute__((weak))

WEAK void scsi_extended_copy(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_receive_copy_results(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

WEAK void scsi_copy_results_free(struct scsi_nexus *nexus)
{
}
