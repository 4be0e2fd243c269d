#include "node/import/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "node/import/import_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/medium/medium.h"

enum { BEGIN_BYTES = 65536 };

#define LOOK_BYTES (UINT64_C(16) << 20) /* the free space is looked at after so many bytes */

/* ---- The input ---- */

static int space_look(struct import_input *in, struct et_error *reterr)
{
	struct statvfs fs;

	if (in->looked != 0 && in->bytes < in->looked) {
		return 0;
	}
	in->looked = in->bytes + LOOK_BYTES;
	if (statvfs(in->config->media, &fs) < 0) {
		return et_fail(reterr, -errno, "media folder '%s'", in->config->media);
	}
	const uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	const uint64_t left = in->order->size_bytes - in->bytes;
	if (free_bytes > in->config->reserve_bytes &&
	    free_bytes - in->config->reserve_bytes > left + left / 64) {
		return 0;
	}
	(void)et_fail_plain(
		reterr, -ENOSPC,
		"DISK_FULL: the media disk of this node has %llu MiB free, of which %llu "
		"stay in reserve, and %llu are to come",
		(unsigned long long)(free_bytes >> 20),
		(unsigned long long)(in->config->reserve_bytes >> 20),
		(unsigned long long)(left >> 20));
	return et_fail_next(reterr, "evertape status; import at another node");
}

ssize_t import_read(struct import_input *in, void *data, size_t size, struct et_error *reterr)
{
	size_t have = 0;

	int rc = space_look(in, reterr);
	while (rc == 0 && have < size && !in->over) {
		ssize_t n = in->order->read(in->order->arg, (uint8_t *)data + have, size - have,
					    reterr);
		if (n < 0) {
			return n;
		}
		in->over = n == 0;
		have += (size_t)n;
		if (in->bytes + have > in->order->size_bytes) {
			return et_fail_plain(reterr, ET_EINTEGRITY,
					     "the file is longer than was announced");
		}
	}
	if (rc < 0) {
		return rc;
	}
	et_sha256_add(in->hash, data, have);
	in->bytes += have;
	return (ssize_t)have;
}

int import_read_end(struct import_input *in, struct et_error *reterr)
{
	uint8_t sha256[32];

	if (in->bytes != in->order->size_bytes) {
		return et_fail_plain(reterr, ET_ETRUNCATED, "%llu of %llu bytes of the file came",
				     (unsigned long long)in->bytes,
				     (unsigned long long)in->order->size_bytes);
	}
	et_sha256_end(in->hash, sha256);
	return memcmp(sha256, in->order->sha256, 32) == 0
		       ? 0
		       : et_fail_plain(reterr, ET_EINTEGRITY,
				       "what came is not the file that was announced: its SHA-256 "
				       "differs");
}

/* ---- The job ---- */

static int job_make(const struct et_import_config *config, struct et_import *m,
		    struct et_error *reterr)
{
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	char path[IMPORT_PATH_MAX];

	int n = snprintf(m->media, sizeof(m->media), "%s", config->media);
	if (n < 0 || n >= (int)sizeof(m->media)) {
		return et_fail(reterr, -ENAMETOOLONG, "media folder");
	}
	et_uuid7(id);
	et_uuid_format(id, text);
	(void)snprintf(m->job, sizeof(m->job), "import/%s", text);
	(void)snprintf(path, sizeof(path), "%s/%s", m->media, m->job);
	int rc = et_file_mkdirs(path, reterr);
	return rc < 0 ? rc : et_file_sync_parent(path, reterr);
}

static int import_run(const struct et_import_config *config, struct import_input *in,
		      struct et_import *m, struct et_error *reterr)
{
	uint8_t *begin = malloc(BEGIN_BYTES);

	if (begin == NULL || in->hash == NULL) {
		free(begin);
		return et_fail(reterr, -ENOMEM, "import");
	}
	int rc = job_make(config, m, reterr);
	ssize_t n = rc < 0 ? rc : import_read(in, begin, BEGIN_BYTES, reterr);
	if (n >= 0) {
		const struct et_view v = { begin, (size_t)n };
		m->is_capture = et_medium_is_capture(v);
		rc = m->is_capture ? import_capture(config, in, v, m, reterr)
				   : import_audio(config, in, v, m, reterr);
	} else {
		rc = (int)n;
	}
	explicit_bzero(begin, BEGIN_BYTES);
	free(begin);
	return rc;
}

int et_import(const struct et_import_config *config, const struct et_import_order *order,
	      struct et_import *ret, struct et_error *reterr)
{
	struct import_input in = { .order = order, .config = config, .hash = et_sha256_new() };

	memset(ret, 0, sizeof(*ret));
	int rc = import_run(config, &in, ret, reterr);
	in.hash = et_sha256_free(in.hash);
	if (rc < 0) {
		et_import_remove(ret);
	}
	return rc;
}

int et_import_wrap(const struct et_import_segment *s, uint32_t kek_version,
		   const uint8_t kek_public[ET_HPKE_KEY_SIZE], uint8_t ret_enc[ET_HPKE_ENC_SIZE],
		   uint8_t ret_ciphertext[ET_DEK_WRAPPED_SIZE], struct et_error *reterr)
{
	return et_dek_wrap(kek_public, kek_version, s->header.recording, s->header.dek_id, s->dek,
			   ret_enc, ret_ciphertext, reterr);
}
