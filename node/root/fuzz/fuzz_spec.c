/* Any text as the specification of a node root: what is accepted is complete and bounded. */
#include <stdlib.h>
#include <string.h>

#include "node/root/root.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_root_spec s;
	struct et_error e = { 0 };
	char *text = malloc(size + 1);

	if (text == NULL) {
		return 0;
	}
	if (size > 0) {
		memcpy(text, data, size);
	}
	text[size] = '\0';
	int rc = et_root_spec_parse(text, &s, &e);
	if (rc != 0 && (rc != ET_EMALFORMED || e.text[0] == '\0')) {
		abort();
	}
	if (rc == 0 && s.kind == ET_ROOT_PKCS11 &&
	    (s.token[0] == '\0' || s.module[0] != '/' || s.id_size > sizeof(s.id) ||
	     (s.object[0] == '\0' && s.id_size == 0))) {
		abort();
	}
	if (rc == 0 && s.source.kind == ET_ROOT_FROM_CREDENTIAL &&
	    (strchr(s.source.name, '/') != NULL || s.source.name[0] == '.')) {
		abort();
	}
	free(text);
	return 0;
}
