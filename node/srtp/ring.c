#include "node/srtp/ring.h"

#include <stdlib.h>

#include "node/base/secret.h"

enum {
	SLOT_SIZE = 64, /* material, and the MKI behind it */
	MKI_MAX = 16,
	SLAB_SLOTS = ET_SECRET_SIZE_MAX / SLOT_SIZE,
	TRIES = 128, /* counters, for each key: 38 hours of packets of 20 ms */
};

_Static_assert(ET_SRTP_MATERIAL_MAX + MKI_MAX <= SLOT_SIZE, "a slot has room for a key");

struct et_srtp_ring {
	uint32_t max;
	uint32_t count;
	uint32_t first;		       /* the oldest */
	uint64_t serial;	       /* keys that were added, ever */
	struct et_srtp_entry *entries; /* owned; their views are set in et_srtp_ring_at() */
	struct et_secret **slabs;      /* owned; made as they are needed */
};

static uint32_t slabs_of(uint32_t max)
{
	return (max + SLAB_SLOTS - 1) / SLAB_SLOTS;
}

int et_srtp_ring_new(uint32_t max, struct et_srtp_ring **ret, struct et_error *reterr)
{
	et_assert(max > 0 && max <= ET_SRTP_RING_MAX);
	struct et_srtp_ring *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return et_fail(reterr, -ENOMEM, "SRTP keys");
	}
	r->max = max;
	r->entries = calloc(max, sizeof(*r->entries));
	r->slabs = calloc(slabs_of(max), sizeof(struct et_secret *));
	if (r->entries == NULL || r->slabs == NULL) {
		(void)et_srtp_ring_free(r);
		return et_fail(reterr, -ENOMEM, "SRTP keys");
	}
	*ret = r;
	return 0;
}

struct et_srtp_ring *et_srtp_ring_free(struct et_srtp_ring *r)
{
	if (r == NULL) {
		return NULL;
	}
	for (uint32_t i = 0; r->slabs != NULL && i < slabs_of(r->max); i++) {
		(void)et_secret_free(r->slabs[i]);
	}
	free(r->slabs);
	free(r->entries);
	free(r);
	return NULL;
}

uint32_t et_srtp_ring_count(const struct et_srtp_ring *r)
{
	return r != NULL ? r->count : 0;
}

uint64_t et_srtp_ring_serial(const struct et_srtp_ring *r)
{
	return r != NULL ? r->serial : 0;
}

static struct et_srtp_entry entry_at(const struct et_srtp_ring *r, uint32_t index)
{
	struct et_srtp_entry e = r->entries[index];
	const uint8_t *slot = et_secret_bytes(r->slabs[index / SLAB_SLOTS]) +
			      (size_t)(index % SLAB_SLOTS) * SLOT_SIZE;

	e.key.material.data = slot;
	e.key.mki.data = slot + ET_SRTP_MATERIAL_MAX;
	return e;
}

struct et_srtp_entry et_srtp_ring_at(const struct et_srtp_ring *r, uint32_t i)
{
	et_assert(i < r->count);
	return entry_at(r, (r->first + i) % r->max);
}

static bool is_same(const struct et_srtp_entry *a, const struct et_srtp_entry *b)
{
	return a->key.suite == b->key.suite && a->party == b->party && a->has_ssrc == b->has_ssrc &&
	       (!a->has_ssrc || a->ssrc == b->ssrc) &&
	       a->key.material.size == b->key.material.size && a->key.mki.size == b->key.mki.size &&
	       memcmp(a->key.material.data, b->key.material.data, a->key.material.size) == 0 &&
	       (a->key.mki.size == 0 ||
		memcmp(a->key.mki.data, b->key.mki.data, a->key.mki.size) == 0);
}

static int check(const struct et_srtp_key *key)
{
	if (key->suite < ET_SRTP_AES_CM_128_HMAC_SHA1_80 || key->suite > ET_SRTP_AEAD_AES_256_GCM) {
		return ET_EUNSUPPORTED;
	}
	if (key->material.size != et_srtp_key_size(key->suite) + et_srtp_salt_size(key->suite)) {
		return ET_EMALFORMED;
	}
	return key->mki.size > MKI_MAX ? ET_ELIMIT : 0;
}

int et_srtp_ring_add(struct et_srtp_ring *r, const struct et_srtp_entry *entry)
{
	int rc = check(&entry->key);
	if (rc < 0) {
		return rc;
	}
	for (uint32_t i = 0; i < r->count; i++) {
		struct et_srtp_entry known = et_srtp_ring_at(r, i);
		if (is_same(&known, entry)) {
			return 0;
		}
	}
	uint32_t index = (r->first + r->count) % r->max;
	struct et_secret **slab = &r->slabs[index / SLAB_SLOTS];
	if (*slab == NULL) {
		*slab = et_secret_new(ET_SECRET_SIZE_MAX);
		if (*slab == NULL) {
			return -ENOMEM;
		}
	}
	uint8_t *slot = et_secret_edit(*slab) + (size_t)(index % SLAB_SLOTS) * SLOT_SIZE;
	explicit_bzero(slot, SLOT_SIZE);
	memcpy(slot, entry->key.material.data, entry->key.material.size);
	if (entry->key.mki.size > 0) {
		memcpy(slot + ET_SRTP_MATERIAL_MAX, entry->key.mki.data, entry->key.mki.size);
	}
	r->entries[index] = *entry;
	r->serial++;
	if (r->count == r->max) {
		r->first = (r->first + 1) % r->max;
	} else {
		r->count++;
	}
	return 1;
}

static bool is_for(const struct et_srtp_entry *e, uint8_t party, uint32_t ssrc)
{
	return (e->party == party || e->party == ET_SRTP_PARTY_ANY) &&
	       (!e->has_ssrc || e->ssrc == ssrc);
}

bool et_srtp_ring_has(const struct et_srtp_ring *r, uint8_t party, uint32_t ssrc)
{
	for (uint32_t i = 0; i < et_srtp_ring_count(r); i++) {
		if (is_for(&r->entries[(r->first + i) % r->max], party, ssrc)) {
			return true;
		}
	}
	return false;
}

void et_srtp_stream_release(struct et_srtp_stream *s)
{
	s->opener = et_srtp_free(s->opener);
}

static bool may_try(const struct et_srtp_stream *s, const struct et_srtp_entry *e, uint64_t serial)
{
	return serial > s->above && (s->below == 0 || serial < s->below) &&
	       (e->has_ssrc || !s->named_only) && (s->opener == NULL || serial != s->serial);
}

/* Try all keys but the one at work, newest first. */
static int try_keys(struct et_srtp_stream *s, const struct et_srtp_ring *r, uint8_t party,
		    uint32_t ssrc, const uint8_t *packet, size_t size, uint8_t *ret,
		    size_t *ret_size)
{
	const uint32_t made = s->made;

	s->seen_serial = r->serial;
	for (uint32_t i = r->count; i > 0; i--) {
		uint64_t serial = r->serial - r->count + i;
		struct et_srtp_entry e = et_srtp_ring_at(r, i - 1);
		struct et_srtp *opener = NULL;
		if (!is_for(&e, party, ssrc) || !may_try(s, &e, serial)) {
			continue;
		}
		if (s->most > 0 && s->made - made >= s->most) {
			s->below = serial + 1;
			return ET_ENOKEY;
		}
		if (et_srtp_new(&e.key, ssrc, &opener, NULL) < 0) {
			continue;
		}
		s->made++;
		et_srtp_set_tries(opener, TRIES);
		int rc = et_srtp_open_rtp(opener, packet, size, ret, ret_size);
		if (rc == 0) {
			(void)et_srtp_free(s->opener);
			s->opener = opener;
			s->serial = serial;
			s->suite = e.key.suite;
			s->agreed = 0;
			return 0;
		}
		(void)et_srtp_free(opener);
	}
	s->below = 0;
	return ET_ENOKEY;
}

int et_srtp_stream_open(struct et_srtp_stream *s, const struct et_srtp_ring *r, uint8_t party,
			uint32_t ssrc, const uint8_t *packet, size_t size, uint8_t *ret,
			size_t *ret_size)
{
	int rc = ET_ENOKEY;

	if (et_srtp_ring_count(r) == 0) {
		return ET_ENOKEY;
	}
	if (s->opener != NULL) {
		rc = et_srtp_open_rtp(s->opener, packet, size, ret, ret_size);
	}
	if (rc == ET_ENOKEY) {
		s->agreed = 0;
		s->failures++;
		if ((s->failures & (s->failures - 1)) == 0 || s->seen_serial != r->serial) {
			rc = try_keys(s, r, party, ssrc, packet, size, ret, ret_size);
		}
	}
	if (rc == 0) {
		s->failures = 0;
		s->opened++;
		s->agreed++;
	}
	return rc;
}

bool et_srtp_stream_is_sure(const struct et_srtp_stream *s)
{
	const bool short_tag = s->suite == ET_SRTP_AES_CM_128_HMAC_SHA1_32 ||
			       s->suite == ET_SRTP_AES_256_CM_HMAC_SHA1_32;

	return s->opener != NULL && (!short_tag || s->agreed >= 2);
}

bool et_srtp_stream_entry(const struct et_srtp_stream *s, const struct et_srtp_ring *r,
			  struct et_srtp_entry *ret)
{
	if (s->opener == NULL || s->serial + et_srtp_ring_count(r) <= et_srtp_ring_serial(r)) {
		return false;
	}
	*ret = et_srtp_ring_at(r, (uint32_t)(s->serial - 1 - (r->serial - r->count)));
	return true;
}
