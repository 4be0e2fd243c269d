#include "node/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void et_assert_fail(const char *cond, const char *file, int line)
{
	(void)fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, cond);
	abort();
}

const char *et_strerror(int code)
{
	switch (code) {
	case 0:
		return "success";
#define ET_ERROR_CASE(name, value, text)                                                           \
	case name:                                                                                 \
		return text;
		ET_ERROR_MAP(ET_ERROR_CASE)
#undef ET_ERROR_CASE
	default:
		break;
	}
	const char *text = strerrordesc_np(-code);
	return text != NULL ? text : "unknown error";
}

const char *et_errname(int code)
{
	switch (code) {
	case 0:
		return "OK";
#define ET_ERROR_CASE(name, value, text)                                                           \
	case name:                                                                                 \
		return #name;
		ET_ERROR_MAP(ET_ERROR_CASE)
#undef ET_ERROR_CASE
	default:
		break;
	}
	const char *text = strerrorname_np(-code);
	return text != NULL ? text : "EUNKNOWN";
}

__attribute__((format(printf, 3, 0))) static int error_format(struct et_error *e, int code,
							      const char *fmt, va_list ap)
{
	int used = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	et_assert(used >= 0);
	e->code = code;
	e->next[0] = '\0';
	return used;
}

int et_fail(struct et_error *e, int code, const char *fmt, ...)
{
	et_assert(code < 0);
	if (e == NULL) {
		return code;
	}

	va_list ap;
	va_start(ap, fmt);
	int used = error_format(e, code, fmt, ap);
	va_end(ap);
	if ((size_t)used < sizeof(e->text)) {
		size_t left = sizeof(e->text) - (size_t)used;
		(void)snprintf(e->text + used, left, ": %s", et_strerror(code));
	}
	return code;
}

int et_fail_plain(struct et_error *e, int code, const char *fmt, ...)
{
	et_assert(code < 0);
	if (e == NULL) {
		return code;
	}

	va_list ap;
	va_start(ap, fmt);
	(void)error_format(e, code, fmt, ap);
	va_end(ap);
	return code;
}

int et_fail_next(struct et_error *e, const char *fmt, ...)
{
	if (e == NULL) {
		return 0;
	}

	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(e->next, sizeof(e->next), fmt, ap);
	va_end(ap);
	return e->code;
}

int et_exit_code(int code)
{
	switch (code) {
	case 0:
		return 0;
	case ET_EUSAGE:
		return 2;
	case ET_ENOQUORUM:
	case ET_EUNREACHABLE:
	case ET_EUNKNOWN:
	case ET_ENOTLEADER:
	case ET_ETOKENABSENT:
	case -ECONNREFUSED:
	case -ETIMEDOUT:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return 3;
	case ET_EDENIED:
	case ET_EUNTRUSTED:
	case ET_EKEYPERM:
	case ET_EROOTSECRET:
	case ET_ETOKENLOCKED:
	case -EACCES:
	case -EPERM:
		return 4;
	case ET_ENOTFOUND:
	case -ENOENT:
		return 5;
	case ET_EDEGRADED:
	case ET_ETRUNCATED:
		return 6;
	case ET_EPOLICY:
		return 8;
	case ET_EINTEGRITY:
	case ET_ECORRUPT:
		return 9;
	default:
		return 1;
	}
}
