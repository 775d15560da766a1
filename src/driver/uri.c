// SPDX-License-Identifier: MIT
/* One table of schemes. Pure; any thread. */
#include "driver/uri.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TARGET_MAX 255
#define LUN_MAX 16383

static const struct uri_name {
	const char *name;
	enum uri_transport transport;
	bool is_scsi;
	const char *address; /* what stands behind it */
} schemes[] = {
	{ "vhost-user-blk:", URI_VHOST_USER, false, "path of a socket" },
	{ "vhost-user-scsi:", URI_VHOST_USER, true, "path of a socket" },
	{ "vfio-blk:", URI_VFIO, false, "address of a PCI function" },
	{ "vfio-scsi:", URI_VFIO, true, "address of a PCI function" },
};

/* "name=number", up to '&' or the end. NULL: it is something else. */
static const char *number_parse(const char *text, const char *name, unsigned max,
				unsigned *ret_number)
{
	size_t length = strlen(name);
	unsigned long number;
	char *end;

	if (strncmp(text, name, length) != 0 || text[length] < '0' || text[length] > '9')
		return NULL;
	errno = 0;
	number = strtoul(text + length, &end, 10);
	if (errno || number > max || (*end && *end != '&'))
		return NULL;
	*ret_number = (unsigned)number;
	return *end ? end + 1 : end;
}

static int query_parse(const char *query, struct uri *uri, struct error *error)
{
	const char *text = query;

	while (*text) {
		const char *next = number_parse(text, "target=", TARGET_MAX, &uri->target);

		if (!next)
			next = number_parse(text, "lun=", LUN_MAX, &uri->lun);
		if (!next)
			return error_set(error, -EINVAL,
					 "'?%s': target=0…%d and lun=0…%d are wanted", query,
					 TARGET_MAX, LUN_MAX);
		text = next;
		uri->has_lun = true;
	}
	return 0;
}

static int address_parse(const char *text, const struct uri_name *name, struct uri *ret_uri,
			 struct error *error)
{
	const char *address = text + strlen(name->name);
	const char *query = name->is_scsi ? strrchr(address, '?') : NULL;
	size_t length = query ? (size_t)(query - address) : strlen(address);
	struct uri uri = { .transport = name->transport, .is_scsi = name->is_scsi };
	int ret;

	if (!length)
		return error_set(error, -EINVAL, "'%s' lacks the %s", text, name->address);
	if (length >= sizeof(uri.address))
		return error_set(error, -EINVAL, "'%.100s…' is too long for the %s", text,
				 name->address);
	memcpy(uri.address, address, length);
	ret = query ? query_parse(query + 1, &uri, error) : 0;
	if (ret == 0)
		*ret_uri = uri;
	return ret;
}

int uri_parse(const char *text, struct uri *ret_uri, struct error *error)
{
	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strncmp(text, schemes[i].name, strlen(schemes[i].name)) == 0)
			return address_parse(text, &schemes[i], ret_uri, error);
	return error_set(error, -EINVAL,
			 "'%s' is no disk's URI: vhost-user-blk:PATH, vhost-user-scsi:PATH, "
			 "vfio-blk:ADDRESS and vfio-scsi:ADDRESS are",
			 text);
}
