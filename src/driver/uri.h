/* SPDX-License-Identifier: MIT */
/* `scheme:address`: which transport, and what it connects to. Pure. */
#ifndef RINGLANE_DRIVER_URI_H
#define RINGLANE_DRIVER_URI_H

#include "base/error.h"

#include <stdbool.h>

enum uri_transport {
	URI_VHOST_USER, /* address: path of a Unix socket */
	URI_VFIO,       /* address: of a PCI function, 0000:00:04.0 */
};

#define URI_ADDRESS_BYTES 256

struct uri {
	enum uri_transport transport;
	bool is_scsi; /* else blk */
	char address[URI_ADDRESS_BYTES];
	bool has_lun; /* SCSI: ?target=T&lun=L was said; else both are 0 */
	unsigned target, lun;
};

int uri_parse(const char *text, struct uri *ret_uri, struct error *error);

#endif
