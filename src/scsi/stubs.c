/* SPDX-License-Identifier: MIT */
/* Stands in for what is not written yet; goes away with the last of them. */
#include "scsi/internal.h"

#include <errno.h>
#include <stdlib.h>

#define WEAK __attribute__((weak))

