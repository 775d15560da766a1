/* SPDX-License-Identifier: MIT */
/* `scheme:address`: which transport, and what it connects to. Pure. */
#ifndef RINGLANE_DRIVER_URI_H
#define RINGLANE_DRIVER_URI_H

#include "base/error.h"

#include <stdbool.h>

enum uri_scheme {
	URI_VHOST_USER_BLK,  /* address: path of a Unix socket */
	URI_VHOST_USER_SCSI, /* the same; ?target=T&lun=L */
};

#define URI_ADDRESS_BYTES 256

struct uri {
	enum uri_scheme scheme;
	char address[URI_ADDRESS_BYTES];
	bool has_lun; /* said in words; else both are 0 */
	unsigned target, lun;
};

int uri_parse(const char *text, struct uri *ret_uri, struct error *error);

#endif
