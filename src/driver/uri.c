// SPDX-License-Identifier: MIT
/* One table of schemes. Pure; any thread. */
#include "driver/uri.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	enum uri_scheme scheme;
} schemes[] = {
	{ "vhost-user-blk:", URI_VHOST_USER_BLK },
};

int uri_parse(const char *text, struct uri *ret_uri, struct error *error)
{
	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t length = strlen(schemes[i].name);

		if (strncmp(text, schemes[i].name, length) != 0)
			continue;
		if (!text[length])
			return error_set(error, -EINVAL, "'%s' lacks the path of a socket", text);
		*ret_uri = (struct uri){ schemes[i].scheme, text + length };
		return 0;
	}
	return error_set(error, -EINVAL, "'%s' is no disk's URI: vhost-user-blk:PATH is", text);
}
