/* The text of a specification. It stands in a configuration file and in arguments, so it names
 * secrets by place and never holds one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/root/root_internal.h"

static const char *const kind_names[] = { "file", "credential", "passphrase", "pkcs11" };

const char *et_root_kind_name(enum et_root_kind kind)
{
	return kind_names[kind];
}

/* What may stand between double quotes in YAML and on a line of a log as it is. */
static bool text_is_plain(const char *text)
{
	size_t size = strnlen(text, ET_ROOT_SPEC_MAX + 1);

	if (size == 0 || size > ET_ROOT_SPEC_MAX) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\') {
			return false;
		}
	}
	return true;
}

static int spec_fail(struct et_error *reterr, const char *what, const char *text)
{
	return et_fail_plain(reterr, ET_EMALFORMED, "%s, not \"%.100s\"", what, text);
}

/* What follows `prefix`, or NULL. */
static const char *after(const char *text, const char *prefix)
{
	size_t size = strlen(prefix);

	return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static int path_take(const char *path, char ret[ET_ROOT_PATH_MAX + 1], const char *text,
		     struct et_error *reterr)
{
	if (path[0] != '/' || path[1] == '\0' || strlen(path) > ET_ROOT_PATH_MAX) {
		return spec_fail(reterr, "a path is absolute and at most 512 bytes", text);
	}
	(void)snprintf(ret, ET_ROOT_PATH_MAX + 1, "%s", path);
	return 0;
}

/* systemd's rule for names of credentials, narrower: no path leads out of the folder. */
static int credential_take(const char *name, char ret[ET_ROOT_PATH_MAX + 1], const char *text,
			   struct et_error *reterr)
{
	size_t size = strlen(name);

	if (size == 0 || size > 63 || name[0] == '.' || strchr(name, '/') != NULL) {
		return spec_fail(reterr, "a credential is a name without slashes", text);
	}
	(void)snprintf(ret, ET_ROOT_PATH_MAX + 1, "%s", name);
	return 0;
}

int et_root_source_parse(const char *text, struct et_root_source *ret, struct et_error *reterr)
{
	struct et_root_source s = { .fd = -1 };
	const char *rest;
	int rc = 0;

	if (text_is_plain(text) && (rest = after(text, "file:")) != NULL) {
		s.kind = ET_ROOT_FROM_FILE;
		rc = path_take(rest, s.name, text, reterr);
	} else if (text_is_plain(text) && (rest = after(text, "credential:")) != NULL) {
		s.kind = ET_ROOT_FROM_CREDENTIAL;
		rc = credential_take(rest, s.name, text, reterr);
	} else if ((rest = after(text, "fd:")) != NULL && *rest >= '0' && *rest <= '9') {
		char *end;
		unsigned long fd = strtoul(rest, &end, 10);
		s.kind = ET_ROOT_FROM_FD;
		s.fd = (int)fd;
		if (*end != '\0' || fd > 1023) {
			rc = spec_fail(reterr, "fd:N is a descriptor from 0 to 1023", text);
		}
	} else if (strcmp(text, "terminal") == 0) {
		s.kind = ET_ROOT_FROM_TERMINAL;
	} else {
		rc = spec_fail(reterr,
			       "a secret comes from file:/PATH, credential:NAME, fd:N or terminal",
			       text);
	}
	if (rc == 0) {
		*ret = s;
	}
	return rc;
}

/* ---- pkcs11: (RFC 7512) ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded; false: too long, or not that. *ret_size may be NULL for text: no NUL in it. */
static bool decode(const char *from, size_t size, char *ret, size_t room, size_t *ret_size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		int c = (unsigned char)from[i];
		if (c == '%') {
			int high = i + 2 < size ? hex_digit(from[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(from[i + 2]) : -1;
			if (low < 0) {
				return false;
			}
			c = high * 16 + low;
			i += 2;
		}
		if (n + 1 >= room || (ret_size == NULL && (c < ' ' || c == 0x7f))) {
			return false;
		}
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	if (ret_size != NULL) {
		*ret_size = n;
	}
	return n > 0;
}

static int attribute_take(struct et_root_spec *s, const char *name, size_t name_size,
			  const char *value, size_t size, char pin[ET_ROOT_PATH_MAX + 32])
{
	struct {
		const char *name;
		char *target;
		size_t room;
	} texts[] = {
		{ "token", s->token, sizeof(s->token) },
		{ "serial", s->serial, sizeof(s->serial) },
		{ "object", s->object, sizeof(s->object) },
		{ "module-path", s->module, sizeof(s->module) },
		{ "pin-source", pin, ET_ROOT_PATH_MAX + 32 },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		if (strlen(texts[i].name) == name_size &&
		    memcmp(texts[i].name, name, name_size) == 0) {
			bool is_new = texts[i].target[0] == '\0';
			return is_new && decode(value, size, texts[i].target, texts[i].room, NULL)
				       ? 0
				       : ET_EMALFORMED;
		}
	}
	char id[sizeof(s->id) + 1];
	if (name_size == 2 && memcmp(name, "id", 2) == 0 && s->id_size == 0 &&
	    decode(value, size, id, sizeof(id), &s->id_size)) {
		memcpy(s->id, id, s->id_size);
		return 0;
	}
	if (name_size == 4 && memcmp(name, "type", 4) == 0 && size == 10 &&
	    memcmp(value, "secret-key", 10) == 0) {
		return 0;
	}
	return ET_EMALFORMED;
}

static int pkcs11_take(const char *rest, struct et_root_spec *s, const char *text,
		       struct et_error *reterr)
{
	char pin[ET_ROOT_PATH_MAX + 32] = "";

	while (*rest != '\0') {
		size_t size = strcspn(rest, ";?&");
		const char *equal = memchr(rest, '=', size);
		size_t name_size = equal != NULL ? (size_t)(equal - rest) : size;
		if (name_size == 9 && memcmp(rest, "pin-value", 9) == 0) {
			return et_fail_plain(reterr, ET_EMALFORMED,
					     "a PIN never stands in a configuration: use "
					     "pin-source=file:/PATH or credential:NAME");
		}
		if (equal == NULL ||
		    attribute_take(s, rest, name_size, equal + 1, size - name_size - 1, pin) < 0) {
			return et_fail_plain(
				reterr, ET_EMALFORMED,
				"pkcs11: takes token, serial, object, id, module-path and "
				"pin-source, each once, percent-encoded; not \"%.*s\"",
				(int)(size > 60 ? 60 : size), rest);
		}
		rest += size + (rest[size] != '\0');
	}
	if (s->token[0] == '\0' || (s->object[0] == '\0' && s->id_size == 0)) {
		return spec_fail(reterr, "pkcs11: needs token=LABEL and object=LABEL (or id=)",
				 text);
	}
	if (s->module[0] != '/' || pin[0] == '\0') {
		return spec_fail(reterr,
				 "pkcs11: needs module-path=/PATH and pin-source=file:/PATH or "
				 "credential:NAME",
				 text);
	}
	return et_root_source_parse(pin, &s->source, reterr);
}

int et_root_spec_parse(const char *text, struct et_root_spec *ret, struct et_error *reterr)
{
	struct et_root_spec s = { .source = { .fd = -1 } };
	const char *rest;
	int rc;

	if (!text_is_plain(text)) {
		rc = spec_fail(reterr,
			       "a node root is 1 to 1024 printing characters without spaces, "
			       "quotes and backslashes",
			       text);
	} else if ((rest = after(text, "file:")) != NULL) {
		s.kind = ET_ROOT_FILE;
		s.source.kind = ET_ROOT_FROM_FILE;
		rc = path_take(rest, s.source.name, text, reterr);
	} else if ((rest = after(text, "credential:")) != NULL) {
		s.kind = ET_ROOT_CREDENTIAL;
		s.source.kind = ET_ROOT_FROM_CREDENTIAL;
		rc = credential_take(rest, s.source.name, text, reterr);
	} else if ((rest = after(text, "passphrase:")) != NULL) {
		s.kind = ET_ROOT_PASSPHRASE;
		rc = et_root_source_parse(rest, &s.source, reterr);
	} else if ((rest = after(text, "pkcs11:")) != NULL) {
		s.kind = ET_ROOT_PKCS11;
		rc = pkcs11_take(rest, &s, text, reterr);
	} else {
		rc = spec_fail(reterr,
			       "a node root is file:/PATH, credential:NAME, passphrase:SOURCE or "
			       "pkcs11:token=...",
			       text);
	}
	if (rc == 0) {
		*ret = s;
	}
	return rc;
}
