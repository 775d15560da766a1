/* SPDX-License-Identifier: MIT */
/* `scheme:address`: which transport, and what it connects to. Pure. */
#ifndef RINGLANE_DRIVER_URI_H
#define RINGLANE_DRIVER_URI_H

#include "base/error.h"

enum uri_scheme {
	URI_VHOST_USER_BLK, /* address: path of a Unix socket */
};

struct uri {
	enum uri_scheme scheme;
	const char *address; /* inside the text that was parsed */
};

int uri_parse(const char *text, struct uri *ret_uri, struct error *error);

#endif
