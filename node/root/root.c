/* Loading, making and moving the node root. */
#include "node/root/root.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/box.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/root/root_internal.h"

#define PASSPHRASE_MIN 12 /* bytes of a new one */
#define MEMORY_KIB (256U * 1024)
#define PASSES 3U

static const char *const labels[] = {
	[ET_ROOT_PASSPHRASE] = "root/passphrase",
	[ET_ROOT_PKCS11] = "root/pkcs11",
};

/* ---- The root itself in a file ---- */

static int file_load(const char *path, struct et_secret **ret, struct et_error *reterr)
{
	struct stat st;

	if (lstat(path, &st) < 0) {
		return et_fail(reterr, -errno, "node root '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return et_fail_plain(reterr, ET_EKEYPERM, "node root '%s' is not a regular file",
				     path);
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		return et_fail_plain(reterr, ET_EKEYPERM,
				     "node root '%s' belongs to user %u, not to this one (%u) or "
				     "root",
				     path, (unsigned)st.st_uid, (unsigned)geteuid());
	}
	if ((st.st_mode & 07177) != 0) {
		(void)et_fail_plain(reterr, ET_EKEYPERM,
				    "node root '%s' has mode %04o; it must be 0400", path,
				    (unsigned)st.st_mode & 07777);
		return et_fail_next(reterr, "chmod 0400 '%s'", path);
	}
	return et_secret_load(path, ET_ROOT_SIZE, ret, reterr);
}

/* systemd's own folder: mode and owner are its business; 0440 with an ACL is usual. */
static int credential_load(const char *name, struct et_secret **ret, struct et_error *reterr)
{
	char path[ET_ROOT_PATH_MAX + 1];
	uint8_t bytes[ET_ROOT_SIZE + 1];

	int rc = root_credential_path(name, path, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		rc = errno == ENOENT ? ET_ENOTFOUND : -errno;
		(void)et_fail(reterr, rc, "node root: credential '%s'", name);
		return et_fail_next(reterr,
				    "LoadCredentialEncrypted=%s in the unit (systemctl "
				    "edit evertaped)",
				    name);
	}
	ssize_t n = read(fd, bytes, sizeof(bytes));
	if (n == ET_ROOT_SIZE) {
		*ret = et_secret_copy(bytes, ET_ROOT_SIZE);
		rc = *ret != NULL ? 0 : et_fail(reterr, -ENOMEM, "node root");
	} else {
		rc = et_fail(reterr, ET_ECORRUPT, "node root: credential '%s' has not %d bytes",
			     name, ET_ROOT_SIZE);
	}
	explicit_bzero(bytes, sizeof(bytes));
	return rc;
}

static int file_add(const char *path, const struct et_secret *root, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *there = NULL;

	if (file_load(path, &there, NULL) == 0 && et_secret_equal(there, root)) {
		return 0; /* of a change that was broken off */
	}
	if (access(path, F_OK) == 0) {
		return et_fail(reterr, ET_EEXISTS, "node root '%s'", path);
	}
	return et_file_publish(path, et_secret_bytes(root), ET_ROOT_SIZE, 0400, reterr);
}

static int wipe(const char *path, struct et_error *reterr)
{
	static const uint8_t zeros[4096];
	struct stat st;

	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return errno == ENOENT ? 0 : et_fail(reterr, -errno, "wipe '%s'", path);
	}
	int rc = fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 && (!S_ISREG(st.st_mode) || st.st_size > (off_t)sizeof(zeros))) {
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

int et_root_wipe(const char *spec, struct et_error *reterr)
{
	struct et_root_spec s;
	char temp[ET_ROOT_PATH_MAX + 8];

	int rc = et_root_spec_parse(spec, &s, reterr);
	if (rc < 0 || s.kind != ET_ROOT_FILE) {
		return rc;
	}
	(void)snprintf(temp, sizeof(temp), "%s.tmp", s.source.name); /* What a crash left. */
	rc = wipe(s.source.name, reterr);
	return rc < 0 ? rc : wipe(temp, reterr);
}

/* ---- The root sealed in slots ---- */

static const struct et_root_source *secret_source(const struct et_root_place *place,
						  const struct et_root_spec *s)
{
	return place->secret != NULL ? place->secret : &s->source;
}

static const char *secret_name(const struct et_root_spec *s)
{
	return s->kind == ET_ROOT_PKCS11 ? "PIN" : "passphrase";
}

/* What seals the box of a slot: made of the passphrase, or decrypted by the token. */
static int slot_key(const struct et_root_spec *s, const struct et_secret *secret,
		    const struct root_slot *slot, struct et_secret **ret, struct et_error *reterr)
{
	if (s->kind == ET_ROOT_PASSPHRASE) {
		return root_stretch(secret, &slot->cost, slot->salt, ret, reterr);
	}
	return root_token_unwrap(s, secret, slot, ret, reterr);
}

static int slot_open(const struct et_root_spec *s, const struct et_secret *secret,
		     const struct root_slot *slot, struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	const struct et_view box = { slot->box, sizeof(slot->box) };

	int rc = slot_key(s, secret, slot, &key, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_box_open(key, labels[s->kind], box, ret, reterr);
	if (rc != ET_ECORRUPT) {
		return rc;
	}
	if (s->kind == ET_ROOT_PKCS11) {
		(void)et_fail_plain(reterr, ET_ETOKENWRONG,
				    "what token '%s' answers does not open this root", s->token);
		return et_fail_next(reterr, "evertape key root show");
	}
	(void)et_fail_plain(reterr, ET_EROOTSECRET, "the passphrase is wrong");
	return et_fail_next(reterr, "start evertaped again with the right one");
}

/* The first slot of that kind that opens; *ret_index is its place. A slot of another token is
 * passed over; a wrong PIN ends the search, so that it is tried once. */
static int slots_open(const struct et_root_place *place, const struct et_root_spec *s,
		      const struct root_slots *slots, size_t *ret_index, struct et_secret **ret,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	size_t tried = 0;
	int rc = 0;

	for (size_t i = 0; i < slots->count; i++) {
		if (slots->slots[i].kind != s->kind) {
			continue;
		}
		if (tried++ == 0) {
			rc = root_secret_read(secret_source(place, s), secret_name(s), false,
					      &secret, reterr);
			if (rc < 0) {
				return rc;
			}
		}
		rc = slot_open(s, secret, &slots->slots[i], ret, reterr);
		*ret_index = i;
		if (rc == 0 || (s->kind == ET_ROOT_PKCS11 && rc != ET_ETOKENWRONG)) {
			return rc;
		}
	}
	if (tried == 0) {
		(void)et_fail_plain(reterr, ET_ENOTFOUND,
				    "the node root in %.200s is sealed, but not by %s",
				    place->state, et_root_kind_name(s->kind));
		return et_fail_next(reterr, "evertape key root show, then set data.root to what it "
					    "is sealed by");
	}
	return rc;
}

static int sealed_load(const struct et_root_place *place, const struct et_root_spec *s,
		       struct et_secret **ret, struct et_error *reterr)
{
	struct root_slots slots;
	size_t index;

	int rc = root_slots_load(place->state, &slots, reterr);
	return rc < 0 ? rc : slots_open(place, s, &slots, &index, ret, reterr);
}

static int slot_make_passphrase(const struct et_root_place *place, const struct et_secret *secret,
				struct root_slot *ret, struct et_secret **ret_key,
				struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *salt = NULL;

	if (et_secret_size(secret) < PASSPHRASE_MIN) {
		return et_fail_plain(reterr, ET_EUSAGE, "a passphrase has at least %d bytes",
				     PASSPHRASE_MIN);
	}
	ret->cost = place->cost;
	ret->cost.memory_kib = ret->cost.memory_kib != 0 ? ret->cost.memory_kib : MEMORY_KIB;
	ret->cost.passes = ret->cost.passes != 0 ? ret->cost.passes : PASSES;
	if (ret->cost.memory_kib < MEMORY_KIB_MIN || ret->cost.memory_kib > MEMORY_KIB_MAX ||
	    ret->cost.passes > PASSES_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "Argon2id takes 8 MiB to 1 GiB of memory and 1 to 16 passes");
	}
	int rc = et_secret_random(SALT_SIZE, &salt, reterr);
	if (rc < 0) {
		return rc;
	}
	memcpy(ret->salt, et_secret_bytes(salt), SALT_SIZE);
	return root_stretch(secret, &ret->cost, ret->salt, ret_key, reterr);
}

static int slot_make(const struct et_root_place *place, const struct et_root_spec *s,
		     const struct et_secret *secret, const struct et_secret *root,
		     struct root_slot *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer box = { 0 };
	int rc;

	*ret = (struct root_slot){ 0 };
	if (s->kind == ET_ROOT_PASSPHRASE) {
		rc = slot_make_passphrase(place, secret, ret, &key, reterr);
	} else {
		rc = et_secret_random(ET_ROOT_SIZE, &key, reterr);
		rc = rc < 0 ? rc : root_token_wrap(s, secret, key, ret, reterr);
	}
	rc = rc < 0 ? rc : et_box_seal(key, labels[s->kind], root, &box, reterr);
	if (rc == 0) {
		et_assert(box.size == sizeof(ret->box));
		memcpy(ret->box, box.data, box.size);
		ret->kind = (uint8_t)s->kind;
	}
	return rc;
}

static int sealed_add(const struct et_root_place *place, const struct et_root_spec *s,
		      const struct et_secret *root, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
	struct root_slots slots;
	struct root_slot slot;

	int rc = root_slots_load(place->state, &slots, reterr);
	rc = rc == -ENOENT ? 0 : rc;
	if (rc == 0 && slots.count == ET_ROOT_SLOTS_MAX) {
		slots.count--; /* The oldest is of a change that was broken off before the last. */
	}
	rc = rc < 0 ? rc
		    : root_secret_read(secret_source(place, s), secret_name(s), true, &secret,
				       reterr);
	rc = rc < 0 ? rc : slot_make(place, s, secret, root, &slot, reterr);
	rc = rc < 0 ? rc : slot_open(s, secret, &slot, &back, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_secret_equal(root, back)) {
		return et_fail(reterr, ET_EINTEGRITY, "the node root, read back");
	}
	memmove(&slots.slots[1], &slots.slots[0], slots.count * sizeof(slots.slots[0]));
	slots.slots[0] = slot;
	slots.count++;
	return root_slots_save(place->state, &slots, reterr);
}

/* ---- All kinds ---- */

int et_root_load(const struct et_root_place *place, struct et_secret **ret, struct et_error *reterr)
{
	struct et_root_spec s;

	int rc = et_root_spec_parse(place->spec, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	switch (s.kind) {
	case ET_ROOT_FILE:
		return file_load(s.source.name, ret, reterr);
	case ET_ROOT_CREDENTIAL:
		return credential_load(s.source.name, ret, reterr);
	case ET_ROOT_PASSPHRASE:
	case ET_ROOT_PKCS11:
		return sealed_load(place, &s, ret, reterr);
	default:
		et_unreachable();
	}
}

int et_root_add(const struct et_root_place *place, const struct et_secret *root,
		struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *there = NULL;
	struct et_root_spec s;

	int rc = et_root_spec_parse(place->spec, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	if (s.kind == ET_ROOT_PASSPHRASE || s.kind == ET_ROOT_PKCS11) {
		return sealed_add(place, &s, root, reterr);
	}
	rc = s.kind == ET_ROOT_FILE ? file_add(s.source.name, root, reterr) : 0;
	rc = rc < 0 ? rc : et_root_load(place, &there, reterr);
	if (rc == 0 && !et_secret_equal(root, there)) {
		rc = et_fail_plain(reterr, ET_EREFUSED,
				   "'%.100s' holds another root than this node's", place->spec);
	}
	return rc;
}

int et_root_make(const struct et_root_place *place, struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct root_slots slots;
	struct et_root_spec s;

	int rc = et_root_spec_parse(place->spec, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	if (s.kind == ET_ROOT_CREDENTIAL) {
		(void)et_fail_plain(reterr, ET_EUNSUPPORTED,
				    "a credential is made by whoever installs the node");
		return et_fail_next(reterr,
				    "head -c 32 /dev/urandom | systemd-creds encrypt --name=%s - "
				    "/etc/credstore.encrypted/%s",
				    s.source.name, s.source.name);
	}
	if (s.kind != ET_ROOT_FILE) {
		rc = root_slots_load(place->state, &slots, reterr);
		if (rc != -ENOENT) {
			return rc < 0 ? rc
				      : et_fail(reterr, ET_EEXISTS, "a sealed node root in '%s'",
						place->state);
		}
	}
	rc = et_secret_random(ET_ROOT_SIZE, &root, reterr);
	rc = rc < 0 ? rc : et_root_add(place, root, reterr);
	if (rc == 0) {
		*ret = ET_TAKE(root);
	}
	return rc;
}

static int slots_remove(const char *state, struct et_error *reterr)
{
	char path[ET_ROOT_PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/root.slots", state);
	if (unlink(path) < 0 && errno != ENOENT) {
		return et_fail(reterr, -errno, "remove '%s'", path);
	}
	return et_file_sync_parent(path, reterr);
}

int et_root_drop_others(const struct et_root_place *kept, struct et_error *reterr)
{
	struct root_slots slots;
	struct et_root_spec s;
	size_t index = 0;

	int rc = et_root_spec_parse(kept->spec, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	if (s.kind == ET_ROOT_FILE || s.kind == ET_ROOT_CREDENTIAL) {
		return slots_remove(kept->state, reterr);
	}
	rc = root_slots_load(kept->state, &slots, reterr);
	if (rc < 0 || slots.count == 1) {
		return rc;
	}
	/* The newest way of that kind is the one that was added and read back. */
	while (index < slots.count && slots.slots[index].kind != s.kind) {
		index++;
	}
	if (index == slots.count) {
		return et_fail(reterr, ET_ENOTFOUND, "a way by %s", et_root_kind_name(s.kind));
	}
	slots.slots[0] = slots.slots[index];
	slots.count = 1;
	return root_slots_save(kept->state, &slots, reterr);
}

/* ---- What may be said ---- */

int et_root_ways(const char *state, struct et_root_way ret[ET_ROOT_SLOTS_MAX], size_t *ret_count,
		 struct et_error *reterr)
{
	struct root_slots slots;

	*ret_count = 0;
	int rc = root_slots_load(state, &slots, reterr);
	if (rc < 0) {
		return rc == -ENOENT ? 0 : rc;
	}
	for (size_t i = 0; i < slots.count; i++) {
		const struct root_slot *slot = &slots.slots[i];
		ret[i] = (struct et_root_way){ .kind = (enum et_root_kind)slot->kind,
					       .cost = slot->cost,
					       .mechanism = slot->mechanism == MECHANISM_GCM
								    ? "AES-GCM"
								    : "AES-CBC-PAD" };
		memcpy(ret[i].serial, slot->serial, sizeof(ret[i].serial));
	}
	*ret_count = slots.count;
	return 0;
}

bool et_root_on_disk(const char *spec)
{
	struct et_root_spec s;
	struct statfs fs;

	if (et_root_spec_parse(spec, &s, NULL) < 0) {
		return true;
	}
	if (s.kind == ET_ROOT_PASSPHRASE && s.source.kind == ET_ROOT_FROM_FILE) {
		return statfs(s.source.name, &fs) < 0 ||
		       (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC);
	}
	return s.kind == ET_ROOT_FILE;
}
