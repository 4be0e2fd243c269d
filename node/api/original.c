/* The original payload of a recording: a ustar stream of its files and manifest.json. Of a
 * recording that was made of a file, that file. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "node/api/playback_internal.h"
#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define ORIGINAL_BYTES_MAX (INT64_C(2) << 30)

struct original {
	struct api_playback *p;
	char folder[64]; /* on a memory file system: no disk sees it */
	json_t *files;
	uint64_t bytes;
};

static int on_file(void *arg, const struct et_playback_file *file)
{
	struct original *o = arg;
	json_t *f = json_object();
	et_json_set(f, "name", et_json_text(file->name));
	et_json_set(f, "size_bytes", et_json_u64(file->size_bytes));
	et_json_set(f, "sha256", et_json_hex(file->sha256, 32));
	et_json_add(o->files, f);
	o->bytes += 512 + (file->size_bytes + 511) / 512 * 512;
	return o->bytes > (uint64_t)ORIGINAL_BYTES_MAX ? ET_ELIMIT : 0;
}

static int folder_make(struct original *o, struct et_error *reterr)
{
	struct statfs fs;
	(void)snprintf(o->folder, sizeof(o->folder), "/dev/shm/evertape.XXXXXX");
	if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC) {
		o->folder[0] = '\0';
		return et_fail_plain(reterr, ET_EUNSUPPORTED,
				     "/dev/shm is no memory file system: the payload would touch a "
				     "disk in the clear");
	}
	if (mkdtemp(o->folder) == NULL) {
		o->folder[0] = '\0';
		return et_fail(reterr, -errno, "folder in /dev/shm");
	}
	return 0;
}

static void original_release(struct original *o)
{
	json_decref(o->files);
	if (o->folder[0] == '\0') {
		return;
	}
	DIR *d = opendir(o->folder);
	for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
		if (e->d_name[0] != '.') {
			(void)unlinkat(dirfd(d), e->d_name, 0);
		}
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	(void)rmdir(o->folder);
}

static int tar_head(struct api_call *call, const char *name, uint64_t size)
{
	char h[512] = { 0 };
	(void)snprintf(h, 100, "%s", name);
	(void)snprintf(h + 100, 8, "%07o", 0600U);
	(void)snprintf(h + 108, 8, "%07o", 0U);
	(void)snprintf(h + 116, 8, "%07o", 0U);
	(void)snprintf(h + 124, 12, "%011" PRIo64, size & INT64_C(077777777777));
	(void)snprintf(h + 136, 12, "%011o", 0U);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	memcpy(h + 257, "ustar\00000", 8);
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof(h); i++) {
		sum += (uint8_t)h[i];
	}
	(void)snprintf(h + 148, 8, "%06o", sum & 0777777U);
	return api_write(call, h, sizeof(h));
}

static int tar_pad(struct api_call *call, uint64_t size)
{
	static const uint8_t zeros[512];
	return size % 512 == 0 ? 0 : api_write(call, zeros, 512 - (size_t)(size % 512));
}

static int tar_file(struct original *o, const char *name, uint64_t size, struct et_error *reterr)
{
	char path[256];
	uint8_t bytes[16384];
	(void)snprintf(path, sizeof(path), "%s/%s", o->folder, name);
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return et_fail(reterr, -errno, "open '%s'", name);
	}
	int rc = tar_head(o->p->call, name, size);
	for (uint64_t done = 0; rc == 0 && done < size;) {
		size_t n = size - done < sizeof(bytes) ? (size_t)(size - done) : sizeof(bytes);
		rc = et_file_pread(fd, bytes, n, (int64_t)done);
		if (rc == 0) {
			rc = api_write(o->p->call, bytes, n);
		}
		done += n;
	}
	return rc < 0 ? rc : tar_pad(o->p->call, size);
}

static int manifest_make(struct original *o, struct et_buffer *ret)
{
	char id[ET_UUID_TEXT_SIZE];
	ET_CLEANUP(et_json_freep) json_t *m = json_object();
	et_uuid_format(o->p->recording, id);
	et_json_set(m, "schema", json_string("evertape-original/v1"));
	et_json_set(m, "recording", json_string(id));
	et_json_set(m, "cluster", et_json_text(o->p->call->api->config.cluster));
	et_json_set(m, "node", et_json_text(o->p->call->api->config.name));
	et_json_set(m, "made", api_time(et_clock_now_us()));
	et_json_set(m, "audit", et_json_u64(o->p->audit));
	et_json_set(m, "packets", et_json_u64(o->p->summary.packets));
	et_json_set(m, "segments", json_integer(o->p->summary.segments));
	et_json_set(m, "problem", et_json_text(o->p->summary.problem));
	et_json_set(m, "files", json_incref(o->files));
	et_json_print(m, true, ret);
	return ret->failed ? -ENOMEM : 0;
}

static int original_send(struct original *o, struct et_error *reterr)
{
	static const uint8_t zeros[1024];
	struct api_call *call = o->p->call;
	ET_CLEANUP(et_buffer_release) struct et_buffer manifest = { 0 };
	int rc = manifest_make(o, &manifest);
	if (rc < 0) {
		return et_fail(reterr, rc, "manifest");
	}
	uint64_t padded = 512 + (manifest.size + 511) / 512 * 512;
	api_playback_headers(call, &o->p->summary, true);
	api_begin(call, 200, "application/x-tar", (int64_t)(o->bytes + padded + sizeof(zeros)));
	rc = tar_head(call, "manifest.json", manifest.size);
	if (rc == 0) {
		rc = api_write(call, manifest.data, manifest.size);
	}
	if (rc == 0) {
		rc = tar_pad(call, manifest.size);
	}
	size_t i;
	json_t *f;
	json_array_foreach(o->files, i, f)
	{
		if (rc == 0) {
			rc = tar_file(o, et_json_get_text(f, "name", ""),
				      (uint64_t)et_json_get_int(f, "size_bytes", 0), reterr);
		}
	}
	if (rc == 0) {
		rc = api_write(call, zeros, sizeof(zeros));
	}
	if (rc == 0) {
		api_end(call);
	}
	return rc;
}

/* ---- The original of an import: the file itself, as it comes out of its tape ---- */

struct file {
	struct original *o;
	char name[NAME_MAX + 1];
	uint64_t size_bytes;
	uint8_t sha256[32];
	uint64_t sent;
};

/* A capture file is not kept as one; one from which a span was cut cannot be had. */
static bool has_file(const Et__Recording *r)
{
	return r->imported != NULL && strncmp(r->imported->format, "pcap", 4) != 0 &&
	       r->n_redactions == 0 && r->imported->sha256.len == 32;
}

/* As it was called; what a file system or a shell might take ill is a dash. */
static void file_name(const char *name, char *ret, size_t size)
{
	size_t n = (size_t)snprintf(ret, size, "file-");

	for (; *name != '\0' && n < 90; name++) {
		const char c = *name;
		const bool safe = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
				  (c >= 'a' && c <= 'z') || c == '_' || c == '.';
		ret[n++] = safe ? c : '-';
	}
	ret[n] = '\0';
}

/* Is there one? ET_ENOTFOUND: no such recording. */
static int file_find(struct api_call *call, struct file *f, bool *ret, struct et_error *reterr)
{
	Et__Recording *r = NULL;
	uint8_t id[16];
	bool pending = false;

	int rc = api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_recording_find(call, id, &r, &pending, reterr);
	*ret = rc == 0 && has_file(r);
	if (*ret) {
		file_name(r->imported->name, f->name, sizeof(f->name));
		f->size_bytes = r->imported->size_bytes;
		memcpy(f->sha256, r->imported->sha256.data, 32);
	}
	et__recording__free_unpacked(r, NULL);
	return rc;
}

static int file_begin(struct file *f)
{
	struct api_call *call = f->o->p->call;
	ET_CLEANUP(et_buffer_release) struct et_buffer manifest = { 0 };
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(f->name));
	et_json_set(o, "size_bytes", et_json_u64(f->size_bytes));
	et_json_set(o, "sha256", et_json_hex(f->sha256, 32));
	et_json_add(f->o->files, o);
	int rc = manifest_make(f->o, &manifest);
	if (rc < 0) {
		return rc;
	}
	const uint64_t padded = 512 + (manifest.size + 511) / 512 * 512 + 512 +
				(f->size_bytes + 511) / 512 * 512 + 1024;
	api_playback_headers(call, &f->o->p->summary, true);
	api_begin(call, 200, "application/x-tar", (int64_t)padded);
	rc = tar_head(call, "manifest.json", manifest.size);
	rc = rc < 0 ? rc : api_write(call, manifest.data, manifest.size);
	rc = rc < 0 ? rc : tar_pad(call, manifest.size);
	return rc < 0 ? rc : tar_head(call, f->name, f->size_bytes);
}

/* Nothing was sent before the first byte came: until then an error can be answered. */
static int file_write(void *arg, const void *data, size_t size)
{
	struct file *f = arg;
	int rc = f->sent == 0 ? file_begin(f) : 0;

	f->sent += size;
	if (rc == 0 && f->sent > f->size_bytes) {
		rc = ET_EINTEGRITY;
	}
	return rc < 0 ? rc : api_write(f->o->p->call, data, size);
}

/* What does not prove to be the file is cut off before its end. */
static int file_send(struct original *o, struct file *f, struct et_error *reterr)
{
	static const uint8_t zeros[1024];
	struct et_playback_summary summary;
	f->o = o;
	int rc = et_playback_file(&o->p->config, file_write, f, &summary, reterr);
	rc = rc < 0 ? rc : tar_pad(o->p->call, f->size_bytes);
	rc = rc < 0 ? rc : api_write(o->p->call, zeros, sizeof(zeros));
	if (rc == 0) {
		api_end(o->p->call);
	}
	return rc;
}

int api_original(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "purpose", "reason", "read", "tones" };
	ET_CLEANUP(api_playback_release) struct api_playback p = { 0 };
	ET_CLEANUP(original_release) struct original o = { .p = &p, .files = json_array() };
	struct file file = { .sent = 0 };
	bool is_file = false;
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = file_find(call, &file, &is_file, reterr);
	}
	if (rc == 0) {
		rc = api_playback_open_whole(call, &p, "recording.export", "original", reterr);
	}
	if (rc == 0 && is_file) {
		p.summary.segments = (uint32_t)p.count;
		return file_send(&o, &file, reterr);
	}
	if (rc == 0) {
		rc = folder_make(&o, reterr);
	}
	if (rc == 0) {
		rc = et_playback_export_original(&p.config, o.folder, on_file, &o, &p.summary,
						 reterr);
	}
	return rc < 0 ? rc : original_send(&o, reterr);
}
