/* SPDX-License-Identifier: MIT */
/*
 * The text of an option with keys, as qemu-storage-daemon writes it, made into one JSON tree.
 *
 *     driver=file,node-name=d0,cache.direct=on        dotted keys; each value becomes a string
 *     iothread,id=t0                                  the first key may be implied
 *     vqs.0=1,vqs.1=3                                 keys that are all numbers make an array
 *     filename=a,,b                                   a doubled comma stands for one
 *     {"driver": "file", "cache": {"direct": true}}   a JSON object
 *
 * A key that is given twice has its last value. Pure; any thread.
 */
#ifndef RINGLANE_DAEMON_KEYVAL_H
#define RINGLANE_DAEMON_KEYVAL_H

#include "base/error.h"

#include <jansson.h>

/* implied_key: of a first value without '='; may be NULL. -EINVAL with a sentence that names the key; the caller owns *ret_tree. */
int keyval_parse(const char *text, const char *implied_key, json_t **ret_tree, struct error *error);

#endif
