/* <state>/keys/seal-VERSION.key: a box under the node root, one X25519 key for each KEK version. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/box.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/keeper/keeper_internal.h"

#define FILE_BYTES_MAX 1024
#define LABEL_BYTES 32

static void label_of(uint32_t version, char ret[LABEL_BYTES])
{
	(void)snprintf(ret, LABEL_BYTES, "keys/seal-%u", version);
}

static int key_load(const char *path, uint32_t version, const struct et_secret *root,
		    struct node_key *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	char label[LABEL_BYTES];

	int rc = et_file_read(path, FILE_BYTES_MAX, &b, reterr);
	if (rc < 0) {
		return rc;
	}
	label_of(version, label);
	rc = et_box_open(root, label, view_of(&b), &secret, reterr);
	if (rc < 0) {
		return et_fail_plain(reterr, rc,
				     "the key in '%s' does not open with this node root", path);
	}
	if (et_secret_size(secret) != 32) {
		return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	rc = et_x25519_public(secret, ret->public_key, reterr);
	if (rc == 0) {
		ret->version = version;
		ret->secret = ET_TAKE(secret);
	}
	return rc;
}

int et_keeper_key_make(const char *state_folder, const struct et_secret *root, uint32_t kek_version,
		       uint8_t ret_public[32], struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer box = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	struct node_key known = { 0 };
	char path[PATH_BYTES];
	char label[LABEL_BYTES];
	struct et_error e;

	int n = snprintf(path, sizeof(path), "%s/keys", state_folder);
	if (n < 0 || (size_t)n + 32 > sizeof(path)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", state_folder);
	}
	int rc = et_file_mkdirs(path, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(path + n, sizeof(path) - (size_t)n, "/seal-%u.key", kek_version);
	rc = key_load(path, kek_version, root, &known, &e);
	if (rc == 0) {
		memcpy(ret_public, known.public_key, 32);
		(void)et_secret_free(known.secret);
		return 0;
	}
	if (rc != -ENOENT) {
		if (reterr != NULL) {
			*reterr = e;
		}
		return rc;
	}
	label_of(kek_version, label);
	rc = et_x25519_generate(&secret, ret_public, reterr);
	rc = rc < 0 ? rc : et_box_seal(root, label, secret, &box, reterr);
	return rc < 0 ? rc : et_file_publish(path, box.data, box.size, 0600, reterr);
}

/* The KEK version of a file name, or 0. */
static uint32_t version_of(const char *name)
{
	char *end = NULL;

	if (strncmp(name, "seal-", 5) != 0 || name[5] < '1' || name[5] > '9') {
		return 0;
	}
	unsigned long version = strtoul(name + 5, &end, 10);
	return strcmp(end, ".key") == 0 && version <= UINT32_MAX ? (uint32_t)version : 0;
}

int node_keys_load(const char *state_folder, const struct et_secret *root, struct node_keys *ret,
		   struct et_error *reterr)
{
	char folder[PATH_BYTES];
	char path[PATH_BYTES + 300];

	*ret = (struct node_keys){ 0 };
	(void)snprintf(folder, sizeof(folder), "%s/keys", state_folder);
	DIR *dir = opendir(folder);
	if (dir == NULL) {
		return errno == ENOENT ? 0 : et_fail(reterr, -errno, "'%s'", folder);
	}
	int rc = 0;
	for (const struct dirent *d = readdir(dir); d != NULL && rc == 0; d = readdir(dir)) {
		uint32_t version = version_of(d->d_name);
		if (version == 0) {
			continue;
		}
		if (ret->count >= KEYS_MAX) {
			rc = et_fail(reterr, ET_ELIMIT, "'%s' holds too many keys", folder);
			break;
		}
		(void)snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
		rc = key_load(path, version, root, &ret->keys[ret->count], reterr);
		ret->count += rc == 0;
	}
	(void)closedir(dir);
	if (rc < 0) {
		node_keys_release(ret);
	}
	return rc;
}

void node_keys_release(struct node_keys *k)
{
	for (size_t i = 0; i < k->count; i++) {
		(void)et_secret_free(k->keys[i].secret);
	}
	*k = (struct node_keys){ 0 };
}

const struct et_secret *node_keys_find(const struct node_keys *k, ProtobufCBinaryData public_key)
{
	for (size_t i = 0; i < k->count && public_key.len == 32; i++) {
		if (memcmp(k->keys[i].public_key, public_key.data, 32) == 0) {
			return k->keys[i].secret;
		}
	}
	return NULL;
}

/* ---- Keys that nothing needs any more ---- */

/* Overwritten before it goes. What a disk that moves writes around, or a file system that copies on
 * write, keeps of it is still sealed under the node root. */
static int key_wipe(const char *path, struct et_error *reterr)
{
	static const uint8_t zeros[FILE_BYTES_MAX];
	struct stat st;

	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return et_fail(reterr, -errno, "wipe '%s'", path);
	}
	int rc = fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 && st.st_size > (off_t)sizeof(zeros)) {
		rc = ET_ECORRUPT;
	}
	rc = rc < 0 ? rc : et_file_pwrite(fd, zeros, (size_t)st.st_size, 0);
	if (rc == 0 && fsync(fd) < 0) {
		rc = -errno;
	}
	(void)close(fd);
	if (rc == 0 && unlink(path) < 0) {
		rc = -errno;
	}
	return rc < 0 ? et_fail(reterr, rc, "wipe '%s'", path) : et_file_sync_parent(path, reterr);
}

bool keys_order_keeps(const struct keys_order *o, const struct node_key *key)
{
	for (size_t i = 0; i < o->wanted_count; i++) {
		if (o->wanted[i] == key->version) {
			return true;
		}
	}
	for (size_t i = 0; i < o->keep_count; i++) {
		if (memcmp(o->keep[i], key->public_key, 32) == 0) {
			return true;
		}
	}
	return o->keep_all;
}

int node_keys_order(const char *state_folder, const struct et_secret *root,
		    const struct keys_order *order, struct node_keys *ret, unsigned *ret_wiped,
		    struct et_error *reterr)
{
	char path[PATH_BYTES + 32];
	uint8_t public_key[32];
	int rc = 0;

	*ret_wiped = 0;
	for (size_t i = 0; i < order->wanted_count && rc == 0; i++) {
		rc = et_keeper_key_make(state_folder, root, order->wanted[i], public_key, reterr);
	}
	rc = rc < 0 ? rc : node_keys_load(state_folder, root, ret, reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < ret->count && rc == 0;) {
		struct node_key *key = &ret->keys[i];
		if (keys_order_keeps(order, key)) {
			i++;
			continue;
		}
		(void)snprintf(path, sizeof(path), "%s/keys/seal-%u.key", state_folder,
			       key->version);
		rc = key_wipe(path, reterr);
		(void)et_secret_free(key->secret);
		ret->keys[i] = ret->keys[--ret->count];
		*ret_wiped += rc == 0;
	}
	if (rc < 0) {
		node_keys_release(ret);
	}
	return rc;
}
