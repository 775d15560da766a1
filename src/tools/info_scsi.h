/* SPDX-License-Identifier: MIT */
/* The LUNs of a SCSI device, for `ringlane info`. */
#ifndef RINGLANE_TOOLS_INFO_SCSI_H
#define RINGLANE_TOOLS_INFO_SCSI_H

#include "tools/tools.h"

#include <jansson.h>
#include <ringlane/scsi.h>

#define INFO_LUNS_MAX 64

struct info_luns {
	unsigned count; /* told; more may be there */
	unsigned there;
	struct {
		struct ringlane_lun_info info; /* info.unit counts always */
		char error[200];               /* "" or why the rest is not known */
	} luns[INFO_LUNS_MAX];
};

int info_luns_read(struct ringlane_device *device, struct info_luns *luns, struct error *error);
void info_luns_print(const struct info_luns *luns);
json_t *info_luns_json(const struct info_luns *luns);

#endif
