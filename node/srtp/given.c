#include "node/srtp/given.h"

#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>

#include "node/base/fd.h"

static bool is_word(struct et_view v, const char *text)
{
	return v.size == strlen(text) && strncasecmp((const char *)v.data, text, v.size) == 0;
}

/* The next field; `line` goes on behind its tab. */
static struct et_view field_take(struct et_view *line)
{
	const uint8_t *tab = line->size > 0 ? memchr(line->data, '\t', line->size) : NULL;
	struct et_view field = *line;

	if (tab == NULL) {
		line->data += line->size;
		line->size = 0;
	} else {
		field.size = (size_t)(tab - line->data);
		line->data += field.size + 1;
		line->size -= field.size + 1;
	}
	while (field.size > 0 && field.data[0] == ' ') {
		field.data++;
		field.size--;
	}
	while (field.size > 0 && field.data[field.size - 1] == ' ') {
		field.size--;
	}
	return field;
}

static bool ssrc_read(struct et_view v, struct et_srtp_entry *ret)
{
	char text[16];
	char *end = NULL;

	if (is_word(v, "*")) {
		return true;
	}
	if (v.size == 0 || v.size >= sizeof(text) || v.data[0] < '0' || v.data[0] > '9') {
		return false;
	}
	memcpy(text, v.data, v.size);
	text[v.size] = '\0';
	errno = 0;
	unsigned long long n = strtoull(text, &end, 0);
	if (*end != '\0' || errno != 0 || n > UINT32_MAX) {
		return false;
	}
	ret->has_ssrc = true;
	ret->ssrc = (uint32_t)n;
	return true;
}

static bool party_read(struct et_view v, uint8_t *ret)
{
	*ret = is_word(v, "caller") ? 0 : is_word(v, "callee") ? 1 : ET_SRTP_PARTY_ANY;
	return v.size == 0 || *ret != ET_SRTP_PARTY_ANY;
}

/* Base64 of any alphabet, padded or not. */
static size_t material_read(struct et_view v, uint8_t ret[ET_SRTP_MATERIAL_MAX])
{
	char url[et_base64_size(ET_SRTP_MATERIAL_MAX)];

	while (v.size > 0 && v.data[v.size - 1] == '=') {
		v.size--;
	}
	if (v.size == 0 || v.size > sizeof(url)) {
		return 0;
	}
	for (size_t i = 0; i < v.size; i++) {
		char c = (char)v.data[i];
		url[i] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
	}
	ssize_t n = et_unbase64(url, v.size, ret, ET_SRTP_MATERIAL_MAX);
	explicit_bzero(url, sizeof(url));
	return n > 0 ? (size_t)n : 0;
}

static int line_add(struct et_view line, struct et_srtp_ring *ring, uint32_t number,
		    struct et_error *reterr)
{
	uint8_t material[ET_SRTP_MATERIAL_MAX];
	struct et_srtp_entry entry = { .origin = ET_SRTP_ORIGIN_GIVEN };
	const char *wrong = NULL;

	struct et_view ssrc = field_take(&line);
	entry.key.suite = et_srtp_suite_find(field_take(&line));
	entry.key.material =
		(struct et_view){ material, material_read(field_take(&line), material) };
	if (!ssrc_read(ssrc, &entry)) {
		wrong = "its first field is no SSRC and not *";
	} else if (entry.key.suite == ET_SRTP_NONE) {
		wrong = "its second field is no SRTP suite that is known";
	} else if (entry.key.material.size == 0) {
		wrong = "its third field is no key and salt in base64";
	} else if (!party_read(field_take(&line), &entry.party)) {
		wrong = "its fourth field is neither caller nor callee";
	}
	int rc = wrong != NULL ? ET_EMALFORMED : et_srtp_ring_add(ring, &entry);
	explicit_bzero(material, sizeof(material));
	if (wrong == NULL && rc == ET_EMALFORMED) {
		wrong = "key and salt have not the length that the suite asks for";
	}
	if (wrong != NULL) {
		return et_fail_plain(reterr, rc, "line %u: %s", number, wrong);
	}
	return rc < 0 ? et_fail(reterr, rc, "line %u", number) : 0;
}

int et_srtp_given_read(struct et_view text, struct et_srtp_ring *ring, struct et_error *reterr)
{
	uint32_t number = 0;

	while (text.size > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.size);
		struct et_view line = { text.data,
					end != NULL ? (size_t)(end - text.data) : text.size };
		size_t taken = line.size + (end != NULL ? 1 : 0);
		text.data += taken;
		text.size -= taken;
		number++;
		if (line.size > 0 && line.data[line.size - 1] == '\r') {
			line.size--;
		}
		struct et_view rest = line;
		struct et_view first = field_take(&rest);
		if (line.size == 0 || line.data[0] == '#' || is_word(first, "ssrc")) {
			continue;
		}
		if (number > ET_SRTP_RING_MAX) {
			return et_fail_plain(reterr, ET_ELIMIT, "more than %d lines",
					     ET_SRTP_RING_MAX);
		}
		int rc = line_add(line, ring, number, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int file_read(int fd, uint8_t *ret, size_t *ret_size)
{
	size_t done = 0;

	while (done < *ret_size) {
		ssize_t n = read(fd, ret + done, *ret_size - done);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		if (n == 0) {
			*ret_size = done;
			return 0;
		}
		done += (size_t)n;
	}
	return ET_ELIMIT;
}

int et_srtp_given_load(const char *path, struct et_srtp_ring *ring, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct et_error inner = { .text = "" };
	size_t size = ET_SRTP_GIVEN_BYTES_MAX;

	if (fd < 0) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	uint8_t *text = malloc(size);
	if (text == NULL) {
		return et_fail(reterr, -ENOMEM, "'%s'", path);
	}
	int rc = file_read(fd, text, &size);
	if (rc < 0) {
		(void)et_fail(reterr, rc, "read '%s'", path);
	} else {
		rc = et_srtp_given_read((struct et_view){ text, size }, ring, &inner);
		if (rc < 0) {
			(void)et_fail_plain(reterr, rc, "'%s': %.400s", path, inner.text);
		}
	}
	explicit_bzero(text, ET_SRTP_GIVEN_BYTES_MAX);
	free(text);
	return rc;
}
