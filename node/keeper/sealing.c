/* Which KEK version this node seals to, of those that a CA which it trusts has signed (decisions
 * 0113 and 0119).
 *
 * <state>/keys/sealing: version 4 | epoch 4 | public half 32 | KEK family 4 | length 2 and
 * signature of the CA (Kek.signature) of the KEK version that this node seals to at least, so that
 * a restart with an older catalogue does not go back behind what it has promised. Files of earlier
 * builds end before the signature, or before the family: they are not believed. */
#include <stdio.h>
#include <string.h>

#include "node/io/file.h"
#include "node/keeper/keeper_internal.h"

#define FILE_BYTES_MAX 1024
#define SEALING_UNSIGNED 44   /* of earlier builds: no signature */
#define SEALING_FAMILYLESS 40 /* and no KEK family */

static int sealing_verify(const struct et_keeper_sealing *s, struct et_view ca_bundle,
			  struct et_error *reterr)
{
	Et__Kek kek = ET__KEK__INIT;
	uint8_t key[32];
	uint8_t signature[ET_KEEPER_SIGNATURE_MAX];

	memcpy(key, s->public_key, sizeof(key));
	memcpy(signature, s->signature, sizeof(signature));
	kek.version = s->version;
	kek.public_key = (ProtobufCBinaryData){ sizeof(key), key };
	kek.signature = (ProtobufCBinaryData){ s->signature_size, signature };
	return et_keeper_kek_verify(&kek, ca_bundle, reterr);
}

int sealing_parse(struct et_view file, struct et_keeper_sealing *ret)
{
	struct et_reader r = et_reader_of(file.data, file.size);
	struct et_keeper_sealing s = { .version = et_read32(&r), .epoch = et_read32(&r) };

	if (file.size == SEALING_UNSIGNED || file.size == SEALING_FAMILYLESS) {
		return ET_EUNTRUSTED;
	}
	const uint8_t *key = et_read_bytes(&r, sizeof(s.public_key));
	s.kek_id = et_read32(&r);
	s.signature_size = et_read16(&r);
	const uint8_t *signature = et_read_bytes(&r, s.signature_size);
	if (r.failed || et_reader_left(&r) != 0 || s.version == 0 || s.signature_size == 0 ||
	    s.signature_size > sizeof(s.signature)) {
		return ET_ECORRUPT;
	}
	memcpy(s.public_key, key, sizeof(s.public_key));
	memcpy(s.signature, signature, s.signature_size);
	*ret = s;
	return 0;
}

int et_keeper_sealing_load(const char *state_folder, struct et_view ca_bundle,
			   struct et_keeper_sealing *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	struct et_keeper_sealing s;
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/keys/sealing", state_folder);
	int rc = et_file_read(path, FILE_BYTES_MAX, &b, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = sealing_parse(view_of(&b), &s);
	if (rc < 0) {
		return et_fail_plain(reterr, rc, "'%s' %s", path,
				     rc == ET_EUNTRUSTED ? "has no signature of the cluster's CA"
							 : "is damaged");
	}
	rc = sealing_verify(&s, ca_bundle, NULL);
	if (rc < 0) {
		return et_fail_plain(
			reterr, rc, "'%s' names a key that no CA of this cluster has signed", path);
	}
	*ret = s;
	return 0;
}

/* ---- What the catalogue says ---- */

struct finding {
	struct et_view bundle;
	const struct et_keeper_sealing *known;
	struct et_keeper_sealing active; /* version 0: none */
	bool good;			 /* the active one is */
	struct et_keeper_sealing other;	 /* the newest good one but that; version 0: none */
};

static struct et_keeper_sealing sealing_of(const Et__Kek *kek)
{
	struct et_keeper_sealing s = { .version = kek->version };

	memcpy(s.public_key, kek->public_key.data, sizeof(s.public_key));
	s.signature_size = kek->signature.len <= sizeof(s.signature) ? kek->signature.len : 0;
	memcpy(s.signature, kek->signature.data, s.signature_size);
	return s;
}

static int find_active(void *arg, const Et__Kek *kek)
{
	struct finding *f = arg;

	if (kek->state == ET__KEK_STATE__KEK_ACTIVE && kek->public_key.len == 32) {
		f->active = sealing_of(kek);
		f->good = (f->known != NULL && f->known->version == kek->version &&
			   memcmp(f->known->public_key, kek->public_key.data, 32) == 0) ||
			  et_keeper_kek_verify(kek, f->bundle, NULL) == 0;
	}
	return 0;
}

static int find_other(void *arg, const Et__Kek *kek)
{
	struct finding *f = arg;

	if (kek->state != ET__KEK_STATE__KEK_PENDING && kek->state != ET__KEK_STATE__KEK_ACTIVE &&
	    kek->state != ET__KEK_STATE__KEK_DESTROYED &&
	    et_keeper_kek_verify(kek, f->bundle, NULL) == 0) {
		f->other = sealing_of(kek);
	}
	return 0;
}

bool bundle_is_of(struct et_view ca_bundle, const Et__Cluster *cluster)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer told = { 0 };

	cluster_bundle(cluster, &told);
	return !told.failed && told.size == ca_bundle.size &&
	       memcmp(told.data, ca_bundle.data, told.size) == 0;
}

static int find_choose(const struct et_state_view *v, struct finding *f,
		       struct et_keeper_sealing *ret, struct et_error *reterr)
{
	const struct et_keeper_sealing *known = f->known;

	if (f->good && (known == NULL || f->active.version >= known->version)) {
		*ret = f->active;
		return 0;
	}
	if (known != NULL) {
		*ret = *known;
		return 0;
	}
	int rc = et_state_each_kek(v, find_other, f);
	if (rc < 0) {
		return et_fail(reterr, rc, "the KEK versions");
	}
	if (f->other.version == 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "no CA that this node trusts has signed KEK version %u, nor "
				     "one before it",
				     f->active.version);
	}
	*ret = f->other;
	return 0;
}

int et_keeper_sealing_find(const struct et_state_view *v, struct et_view ca_bundle,
			   const struct et_keeper_sealing *known, struct et_keeper_sealing *ret,
			   uint32_t *ret_refused, struct et_error *reterr)
{
	struct finding f = { .bundle = ca_bundle };
	struct et_keeper_sealing found = { 0 };
	Et__Cluster *cluster = NULL;

	int rc = et_state_get_cluster(v, &cluster);
	if (rc == 0) {
		bool same = known != NULL && known->version > 0 && known->epoch == cluster->epoch;
		f.known = same ? known : NULL;
		rc = et_state_each_kek(v, find_active, &f);
	}
	if (rc < 0 || f.active.version == 0) {
		et__cluster__free_unpacked(cluster, NULL);
		return et_fail(reterr, rc < 0 && rc != ET_ENOTFOUND ? rc : ET_EUNINITIALISED,
			       "the active KEK version");
	}
	if (ret_refused != NULL) {
		*ret_refused = !f.good && bundle_is_of(ca_bundle, cluster) ? f.active.version : 0;
	}
	rc = find_choose(v, &f, &found, reterr);
	if (rc == 0) {
		found.epoch = cluster->epoch;
		found.kek_id = cluster->kek_id;
		*ret = found;
	}
	et__cluster__free_unpacked(cluster, NULL);
	return rc;
}

/* ---- The file ---- */

int et_keeper_sealing_save(const char *state_folder, struct et_view ca_bundle,
			   const struct et_keeper_sealing *sealing, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	char path[PATH_BYTES];

	int rc = sealing_verify(sealing, ca_bundle, reterr);
	(void)snprintf(path, sizeof(path), "%s/keys", state_folder);
	rc = rc < 0 ? rc : et_file_mkdirs(path, reterr);
	if (rc < 0) {
		return rc;
	}
	et_buffer_add32(&b, sealing->version);
	et_buffer_add32(&b, sealing->epoch);
	et_buffer_add(&b, sealing->public_key, sizeof(sealing->public_key));
	et_buffer_add32(&b, sealing->kek_id);
	et_buffer_add16(&b, (uint16_t)sealing->signature_size);
	et_buffer_add(&b, sealing->signature, sealing->signature_size);
	(void)snprintf(path, sizeof(path), "%s/keys/sealing", state_folder);
	return b.failed ? et_fail(reterr, -ENOMEM, "'%s'", path)
			: et_file_publish(path, b.data, b.size, 0600, reterr);
}
