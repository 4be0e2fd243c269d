/* When this node may say that it will never again speak of a wrap to an earlier KEK version.
 *
 *   the active version is another one ─▶ capture seals to it, and has told the last segment of the
 *   one before ─▶ worker thread: the journal has no such segment ─▶ saved durably that this node
 *   seals to that version at least ─▶ the keeper tells the catalogue (KekReport)
 *
 * Why it is saved: after a crash the state may come back at an earlier index, until a majority says
 * what is committed. A recorder that starts then, cut off, would seal to the old version again. */
#include <string.h>

#include "node/daemon/daemon_internal.h"

static int look_pending(void *arg, const Et__Command *command, struct et_view packed)
{
	const struct et_daemon *d = arg;

	(void)packed;
	if (command->body_case != ET__COMMAND__BODY_SEGMENT_OPEN) {
		return 0;
	}
	const Et__Segment *g = command->segment_open->segment;
	return g->wrap->kek_version < d->keys.looked.version ? ET_EBUSY : 0;
}

static void look_work(uv_work_t *work)
{
	struct et_daemon *d = work->data;
	struct et_error error = { 0 };

	int rc = et_journal_each_pending(d->journal, look_pending, d);
	rc = rc < 0 ? rc : et_keeper_sealing_save(d->config.state, &d->keys.looked, &error);
	if (rc < 0 && rc != ET_EBUSY) {
		et_warn("keys.drained", "kek=%u code=%s", d->keys.looked.version, et_errname(rc));
	}
	d->keys.code = rc;
}

static void look_done(uv_work_t *work, int status)
{
	struct et_daemon *d = work->data;

	d->keys.looking = false;
	if (status < 0 || d->keys.code < 0) {
		return; /* the next second looks again */
	}
	d->keys.floor = d->keys.looked;
	d->keys.drained = d->keys.looked.version;
	et_info("keys.drained", "kek=%u", d->keys.drained);
	if (d->keeper != NULL && d->phase != DAEMON_STOPPING) {
		et_keeper_set_drained(d->keeper, d->keys.drained);
	}
}

void daemon_watch_keys(struct et_daemon *d)
{
	uint32_t version = d->kek.version;

	if (d->keeper == NULL || d->journal == NULL || d->keys.looking || version == 0 ||
	    version <= d->keys.drained) {
		return;
	}
	if (d->capture != NULL &&
	    (d->kek_version < version || !et_capture_kek_settled(d->capture, version))) {
		return;
	}
	d->keys.looked = d->kek;
	d->keys.looking = true;
	d->keys.work.data = d;
	if (uv_queue_work(&d->loop, &d->keys.work, look_work, look_done) < 0) {
		d->keys.looking = false;
	}
}

void daemon_keys_floor(struct et_daemon *d, struct et_keeper_sealing *kek)
{
	struct et_keeper_sealing *floor = &d->keys.floor;

	if (!d->keys.loaded) {
		d->keys.loaded = true;
		int rc = et_keeper_sealing_load(d->config.state, floor);
		if (rc < 0) {
			*floor = (struct et_keeper_sealing){ 0 };
		}
		if (rc < 0 && rc != -ENOENT) {
			et_err("keys.sealing", "file=\"%s/keys/sealing\" code=%s", d->config.state,
			       et_errname(rc));
		}
	}
	if (floor->version > kek->version && floor->epoch == kek->epoch) {
		*kek = *floor;
	}
}
