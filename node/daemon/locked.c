/* A member whose node root does not open, because somebody is needed for it (a passphrase, a token,
 * a credential): it records on.
 *
 * What recording needs is not secret: names and number of the identity, and the public half of the
 * KEK version that this node seals to (<state>/keys/sealing). The signing key is sealed under the
 * root, so tapes get no footer: the start that opens the root finds them in the log of open tapes,
 * as after a crash, signs them, and tells the cluster what stands in the journal. Nothing is
 * destroyed meanwhile, for nothing runs that could: no catalogue, no cluster port, no HTTPS.
 *
 * Failures: the node does not capture, or has never said what it seals to, or what it says is not
 * signed by a CA of its identity (there is no other key to record under): it ends with the reason
 * why the root does not open. A root in a plain file that is missing is a mistake, and ends it,
 * too.
 *
 * It stays so until it is stopped: a PIN is not tried a second time by itself. */
#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"

static bool somebody_is_needed(const struct et_daemon *d)
{
	struct et_root_spec spec;

	return et_root_spec_parse(d->config.root, &spec, NULL) == 0 && spec.kind != ET_ROOT_FILE;
}

static int sealing_known(const struct et_daemon *d, struct et_keeper_sealing *ret,
			 struct et_error *reterr)
{
	return et_keeper_sealing_load(d->config.state,
				      (struct et_view){ d->identity.ca.data, d->identity.ca.size },
				      ret, reterr);
}

int daemon_peek_locked(struct et_daemon *d, struct et_error *reterr)
{
	struct et_keeper_sealing sealing;
	struct et_error e = { 0 };
	char quoted[560];
	bool records = (d->config.roles & ET_ROLE_CAPTURE) != 0 &&
		       (d->config.capture_count > 0 || d->config.siprec.listen_count > 0);

	int rc = !somebody_is_needed(d) || !records
			 ? -ENOENT
			 : et_identity_peek(d->identity_folder, &d->identity, &e);
	rc = rc < 0 ? rc : sealing_known(d, &sealing, &e);
	if (rc == 0) {
		return 0;
	}
	if (rc != -ENOENT) {
		et_err("keys.sealing", "code=%s why=%s", et_errname(rc),
		       et_log_quote(e.text, quoted, sizeof(quoted)));
	}
	*reterr = d->locked;
	return d->locked.code;
}

int daemon_start_locked(struct et_daemon *d, struct et_error *reterr)
{
	struct et_keeper_sealing sealing;
	char quoted[560];

	d->phase = DAEMON_LOCKED;
	int rc = sealing_known(d, &sealing, reterr);
	rc = rc < 0 ? rc : daemon_open_journal(d, reterr);
	rc = rc < 0 ? rc : daemon_start_capture(d, &sealing, reterr);
	if (rc < 0) {
		return rc;
	}
	et_err("root.locked", "error=%s next=\"%s\"",
	       et_log_quote(d->locked.text, quoted, sizeof(quoted)), d->locked.next);
	et_warn("capture.locked", "kek=%u sources=%u", sealing.version, d->config.capture_count);
	return 0;
}
