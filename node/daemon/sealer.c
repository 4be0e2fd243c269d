/* Who seals a tape that is made here beside capture: late keys, imports. */
#include "node/daemon/daemon_internal.h"

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
