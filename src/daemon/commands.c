/* SPDX-License-Identifier: MIT */
/* What the commands of all subjects share: see commands.h. */
#include "daemon/commands.h"

#include <stdlib.h>
#include <string.h>

struct qmp_handler *commands_collect(unsigned *ret_count)
{
	static const struct command_table *const tables[] = { &commands_block, &commands_device,
							      &commands_export, &commands_iothread,
							      &commands_query };
	struct qmp_handler *handlers;
	unsigned i, count = 0;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		count += tables[i]->count;
	handlers = calloc(count, sizeof(*handlers));
	if (!handlers)
		return NULL;
	count = 0;
	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		memcpy(handlers + count, tables[i]->handlers, tables[i]->count * sizeof(*handlers));
		count += tables[i]->count;
	}
	*ret_count = count;
	return handlers;
}

void command_answer(struct qmp_call *call, int result, const struct error *error)
{
	if (result)
		qmp_fail(call, error);
	else
		qmp_return(call, NULL);
}

const char *command_text(const json_t *arguments, const char *name)
{
	return json_string_value(json_object_get(arguments, name));
}
