#include "archive/bucket/credentials.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/base/fd.h"

#define CREDENTIALS_SIZE_MAX 4096  /* bytes of the file */
#define CREDENTIALS_SECRET_MAX 256 /* characters; AWS has 40 */

/* One line or value, without blanks at its ends. A view. */
struct span {
	const char *text;
	size_t size;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span span_trim(struct span s)
{
	while (s.size > 0 && is_blank(s.text[0])) {
		s.text++;
		s.size--;
	}
	while (s.size > 0 && is_blank(s.text[s.size - 1])) {
		s.size--;
	}
	return s;
}

static bool span_is(struct span s, const char *text)
{
	return s.size == strlen(text) && memcmp(s.text, text, s.size) == 0;
}

/* Printable ASCII without blanks. */
static bool span_is_value(struct span s, size_t size_max)
{
	for (size_t i = 0; i < s.size; i++) {
		if (s.text[i] <= ' ' || s.text[i] > '~') {
			return false;
		}
	}
	return s.size > 0 && s.size <= size_max;
}

struct credentials_reader {
	const char *name;
	const char *text;
	size_t size;
	size_t at;
	unsigned line;
	bool in_section; /* inside [default], or before the first section */
	bool any_section;
	unsigned plain; /* lines without '=' outside sections */
	struct span id;
	struct span secret;
};

static bool reader_line(struct credentials_reader *r, struct span *ret)
{
	if (r->at >= r->size) {
		return false;
	}
	const char *begin = r->text + r->at;
	const char *end = memchr(begin, '\n', r->size - r->at);
	size_t size = end != NULL ? (size_t)(end - begin) : r->size - r->at;
	r->at += size + (end != NULL ? 1 : 0);
	r->line++;
	*ret = span_trim((struct span){ begin, size });
	return true;
}

static int reader_fail(const struct credentials_reader *r, struct et_error *reterr,
		       const char *what)
{
	return et_fail_plain(reterr, ET_EMALFORMED, "%s:%u: %s", r->name, r->line, what);
}

static int reader_set(const struct credentials_reader *r, struct span *field, struct span value,
		      size_t size_max, struct et_error *reterr)
{
	if (field->size != 0) {
		return reader_fail(r, reterr, "given twice");
	}
	if (!span_is_value(value, size_max)) {
		return reader_fail(r, reterr, "empty, too long, or with blanks inside");
	}
	*field = value;
	return 0;
}

static int reader_assignment(struct credentials_reader *r, struct span line, const char *equals,
			     struct et_error *reterr)
{
	size_t key_size = (size_t)(equals - line.text);
	struct span key = span_trim((struct span){ line.text, key_size });
	struct span value = span_trim((struct span){ equals + 1, line.size - key_size - 1 });
	if (span_is(key, "aws_access_key_id")) {
		return reader_set(r, &r->id, value, 128, reterr);
	}
	if (span_is(key, "aws_secret_access_key")) {
		return reader_set(r, &r->secret, value, CREDENTIALS_SECRET_MAX, reterr);
	}
	return reader_fail(r, reterr, "expected aws_access_key_id or aws_secret_access_key");
}

static int reader_take(struct credentials_reader *r, struct span line, struct et_error *reterr)
{
	if (line.size == 0 || line.text[0] == '#' || line.text[0] == ';') {
		return 0;
	}
	if (line.text[0] == '[') {
		if (r->plain != 0) {
			return reader_fail(r, reterr, "a section after plain lines");
		}
		r->any_section = true;
		r->in_section = span_is(line, "[default]");
		return 0;
	}
	if (r->any_section) {
		const char *equals = memchr(line.text, '=', line.size);
		if (equals == NULL) {
			return reader_fail(r, reterr, "expected KEY = VALUE");
		}
		return r->in_section ? reader_assignment(r, line, equals, reterr) : 0;
	}
	r->plain++;
	if (r->plain == 1) {
		return reader_set(r, &r->id, line, 128, reterr);
	}
	if (r->plain == 2) {
		return reader_set(r, &r->secret, line, CREDENTIALS_SECRET_MAX, reterr);
	}
	return reader_fail(r, reterr, "more than two lines: the key id, then the secret");
}

static int credentials_make(const struct credentials_reader *r, struct et_credentials *ret,
			    struct et_error *reterr)
{
	if (r->id.size == 0 || r->secret.size == 0) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "%s: holds no key id and secret: two lines, or a section "
				     "[default]",
				     r->name);
	}
	struct et_credentials c = { .secret = et_secret_copy(r->secret.text, r->secret.size) };
	if (c.secret == NULL) {
		return et_fail(reterr, -ENOMEM, "credentials");
	}
	memcpy(c.key_id, r->id.text, r->id.size);
	c.key_id[r->id.size] = '\0';
	*ret = c;
	return 0;
}

int et_credentials_parse(const char *name, const char *text, size_t size,
			 struct et_credentials *ret, struct et_error *reterr)
{
	struct credentials_reader r = { .name = name, .text = text, .size = size };
	struct span line;
	while (reader_line(&r, &line)) {
		int rc = reader_take(&r, line, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return credentials_make(&r, ret, reterr);
}

static int credentials_check_file(int fd, const char *path, struct et_error *reterr)
{
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "credentials '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return et_fail_plain(reterr, ET_EMALFORMED, "credentials '%s': not a file", path);
	}
	if ((st.st_mode & 0177) != 0 || (st.st_uid != 0 && st.st_uid != geteuid())) {
		int rc = et_fail(reterr, ET_EKEYPERM, "credentials '%s'", path);
		(void)et_fail_next(reterr, "chmod 0400 %s", path);
		return rc;
	}
	return 0;
}

int et_credentials_load(const char *path, struct et_credentials *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		return et_fail(reterr, -errno, "credentials '%s'", path);
	}
	int rc = credentials_check_file(fd, path, reterr);
	if (rc < 0) {
		return rc;
	}
	char text[CREDENTIALS_SIZE_MAX + 1];
	size_t size = 0;
	ssize_t n = 1;
	while (n > 0 && size < sizeof(text)) {
		n = read(fd, text + size, sizeof(text) - size);
		size += n > 0 ? (size_t)n : 0;
		n = n < 0 && errno == EINTR ? 1 : n;
	}
	if (n < 0) {
		rc = et_fail(reterr, -errno, "credentials '%s'", path);
	} else if (size > CREDENTIALS_SIZE_MAX) {
		rc = et_fail_plain(reterr, ET_EMALFORMED, "credentials '%s': longer than %d bytes",
				   path, CREDENTIALS_SIZE_MAX);
	} else {
		rc = et_credentials_parse(path, text, size, ret, reterr);
	}
	explicit_bzero(text, sizeof(text));
	return rc;
}

void et_credentials_release(struct et_credentials *c)
{
	c->secret = et_secret_free(c->secret);
	c->key_id[0] = '\0';
}
