/* SPDX-License-Identifier: MIT */
/* What the bits of a back end are called. */
#ifndef RINGLANE_TOOLS_INFO_NAMES_H
#define RINGLANE_TOOLS_INFO_NAMES_H

#include <stddef.h>

/* Both return the name, or "bit N" written into buffer. */
const char *info_feature_name(unsigned bit, char *buffer, size_t size);
const char *info_scsi_feature_name(unsigned bit, char *buffer, size_t size);
const char *info_protocol_feature_name(unsigned bit, char *buffer, size_t size);

#endif
