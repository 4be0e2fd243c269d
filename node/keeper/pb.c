#include <string.h>

#include "node/keeper/keeper_internal.h"

void pb_text(char **field, const char *text)
{
	*field = strdup(text);
	et_assert(*field != NULL);
}

void pb_bytes(ProtobufCBinaryData *field, const void *data, size_t size)
{
	field->data = malloc(size > 0 ? size : 1);
	et_assert(field->data != NULL);
	memcpy(field->data, data, size);
	field->len = size;
}

void pb_roles(size_t *n, char ***field, uint32_t roles)
{
	*field = calloc(ET_ROLES, sizeof(**field));
	et_assert(*field != NULL);
	*n = 0;
	for (unsigned i = 0; i < ET_ROLES; i++) {
		if ((roles & 1U << i) != 0) {
			pb_text(&(*field)[(*n)++], et_role_name(i));
		}
	}
}

uint32_t roles_of(size_t n, char *const *words)
{
	uint32_t roles = 0;

	for (size_t i = 0; i < n; i++) {
		roles |= et_role_of(words[i]);
	}
	return roles;
}
