/* Who seals a tape that is made here beside capture (late keys, imports), and what the catalogue is
 * told of any that was sealed. */
#include "node/daemon/daemon_internal.h"
#include "node/tape/tape.h"

struct sealer_ask {
	struct et_daemon *d;
	struct daemon_sealer *to;
	int code;
};

static void ask_on_loop(void *arg)
{
	struct sealer_ask *a = arg;

	a->to->kek = a->d->kek;
	a->to->kek_id = a->d->kek_id;
	a->code = a->d->journal == NULL || a->to->kek.version == 0 ? ET_EUNINITIALISED : 0;
	if (a->code == 0 && a->to->identity.node == 0) {
		a->code = et_identity_copy(&a->d->identity, &a->to->identity);
	}
}

int daemon_sealer_ask(struct et_daemon *d, struct daemon_sealer *s)
{
	struct sealer_ask a = { .d = d, .to = s };
	int rc = daemon_on_loop(d, ask_on_loop, &a);

	return rc < 0 ? rc : a.code;
}

int daemon_hash_of(uint32_t schema, const char *path, const uint8_t seal_hash[32],
		   struct daemon_hash *ret, struct et_error *reterr)
{
	const bool is_old = schema < ET_SCHEMA_SEAL_HASH;
	int rc = 0;

	*ret = (struct daemon_hash){ .seal = { 0 } };
	if (is_old) {
		rc = et_tape_file_hash(path, ret->bytes, reterr);
	} else {
		memcpy(ret->bytes, seal_hash, sizeof(ret->bytes));
	}
	if (rc == 0) {
		*(is_old ? &ret->object : &ret->seal) =
			daemon_bytes(ret->bytes, sizeof(ret->bytes));
	}
	return rc;
}
