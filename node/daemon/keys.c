/* When this node may say that it will never again speak of a wrap to an earlier KEK version.
 *
 *   the active version is another one ─▶ capture seals to it, and has told the last segment of the
 *   one before ─▶ worker thread: the journal has no such segment ─▶ saved durably that this node
 *   seals to that version at least ─▶ the keeper tells the catalogue (KekReport)
 *
 * Why it is saved: after a crash the state may come back at an earlier index, until a majority says
 * what is committed. A recorder that starts then, cut off, would seal to the old version again.
 *
 * What is saved is believed with the signature of a CA that this node trusts, and with that only:
 * who could write the disk would otherwise have recordings sealed to a key of his own. So it is
 * saved again when another CA has signed that version. Possible failure modes are
 *   - the file is unsigned (an earlier build's) or not of a CA of ours: the node records on under
 * the newest version of its own catalogue, says SEALING_UNTRUSTED, and writes the file anew when
 * the catalogue is current; with its root locked there is no catalogue, and nothing is recorded
 *     (locked.c);
 *   - the active version is not signed by a CA of ours. If it was, and another CA has just been
 *     forced, it is in use as before, and saved when it is signed again. If it never was, it is
 *     somebody's own: nothing is sealed to it. The node goes on with the last good version, says
 *     KEK_UNTRUSTED, and vault nodes make another (node/keeper/rotate.c). A node that starts with
 *     neither a file that it believes nor a version that is signed does not record until there is
 *     one. */
#include <string.h>

#include "node/daemon/daemon_internal.h"

static bool is_earlier(const struct et_daemon *d, const Et__Segment *g)
{
	return g->wrap->kek_version < d->keys.looked.version;
}

static int look_pending(void *arg, const Et__Command *command, struct et_view packed)
{
	const struct et_daemon *d = arg;
	bool earlier = false;

	(void)packed;
	if (command->body_case == ET__COMMAND__BODY_SEGMENT_OPEN) {
		earlier = is_earlier(d, command->segment_open->segment);
	} else if (command->body_case == ET__COMMAND__BODY_RECORDING_IMPORT) {
		const Et__RecordingImport *m = command->recording_import;
		for (size_t i = 0; i < m->n_segments; i++) {
			earlier = earlier || is_earlier(d, m->segments[i]);
		}
	}
	return earlier ? ET_EBUSY : 0;
}

static void look_work(uv_work_t *work)
{
	struct et_daemon *d = work->data;
	struct et_error error = { 0 };

	int rc = et_journal_each_pending(d->journal, look_pending, d);
	rc = rc < 0 ? rc
		    : et_keeper_sealing_save(
			      d->config.state,
			      (struct et_view){ d->keys.bundle.data, d->keys.bundle.size },
			      &d->keys.looked, &error);
	if (rc < 0 && rc != ET_EBUSY && rc != ET_EUNTRUSTED) {
		et_warn("keys.drained", "kek=%u code=%s", d->keys.looked.version, et_errname(rc));
	}
	d->keys.code = rc;
}

static void look_done(uv_work_t *work, int status)
{
	struct et_daemon *d = work->data;

	d->keys.looking = false;
	et_buffer_release(&d->keys.bundle);
	if (status < 0 || d->keys.code < 0) {
		return; /* the next second looks again */
	}
	d->keys.floor = d->keys.looked;
	d->keys.untrusted = false;
	if (d->keys.drained == d->keys.looked.version) {
		return; /* signed anew */
	}
	d->keys.drained = d->keys.looked.version;
	et_info("keys.drained", "kek=%u", d->keys.drained);
	if (d->keeper != NULL && d->phase != DAEMON_STOPPING) {
		et_keeper_set_drained(d->keeper, d->keys.drained);
	}
}

/* Is what is saved as the catalogue has it? */
static bool is_saved(const struct et_daemon *d)
{
	const struct et_keeper_sealing *floor = &d->keys.floor;

	return d->kek.version < d->keys.drained ||
	       (d->kek.version == d->keys.drained &&
		d->kek.signature_size == floor->signature_size &&
		memcmp(d->kek.signature, floor->signature, floor->signature_size) == 0);
}

void daemon_watch_keys(struct et_daemon *d)
{
	uint32_t version = d->kek.version;

	if (d->keeper == NULL || d->journal == NULL || d->keys.looking || version == 0 ||
	    is_saved(d)) {
		return;
	}
	if (d->capture != NULL &&
	    (d->kek_version < version || !et_capture_kek_settled(d->capture, version))) {
		return;
	}
	et_buffer_add(&d->keys.bundle, d->identity.ca.data, d->identity.ca.size);
	d->keys.looked = d->kek;
	d->keys.looking = true;
	d->keys.work.data = d;
	if (d->keys.bundle.failed ||
	    uv_queue_work(&d->loop, &d->keys.work, look_work, look_done) < 0) {
		et_buffer_release(&d->keys.bundle);
		d->keys.looking = false;
	}
}

/* ---- What is sealed to ---- */

static void floor_load(struct et_daemon *d)
{
	struct et_error why = { 0 };
	char quoted[560];

	d->keys.loaded = true;
	int rc = et_keeper_sealing_load(
		d->config.state, (struct et_view){ d->identity.ca.data, d->identity.ca.size },
		&d->keys.floor, &why);
	if (rc < 0 && rc != -ENOENT) {
		d->keys.untrusted = true;
		et_err("keys.sealing", "code=%s why=%s", et_errname(rc),
		       et_log_quote(why.text, quoted, sizeof(quoted)));
	}
}

static void refused_note(struct et_daemon *d, uint32_t refused, uint32_t version)
{
	if (refused == d->keys.refused) {
		return;
	}
	if (refused != 0) {
		et_err("keys.untrusted",
		       "kek=%u why=\"no CA of this cluster has signed it\" seals-to=%u "
		       "next=\"evertape explain KEK_UNTRUSTED\"",
		       refused, version);
	} else {
		et_info("keys.trusted", "kek=%u", version);
	}
	d->keys.refused = refused;
}

bool daemon_keys_find(struct et_daemon *d, struct et_keeper_sealing *ret)
{
	struct et_keeper_sealing found = { 0 };
	uint32_t refused = 0;

	if (!d->keys.loaded) {
		floor_load(d);
	}
	struct et_state_view *v = et_state_view_open(d->state);
	int rc = v == NULL
			 ? -ENOMEM
			 : et_keeper_sealing_find(
				   v, (struct et_view){ d->identity.ca.data, d->identity.ca.size },
				   d->kek.version > 0 ? &d->kek : &d->keys.floor, &found, &refused,
				   NULL);
	(void)et_state_view_close(v);
	if (rc == 0 || rc == ET_EUNTRUSTED) {
		refused_note(d, refused, found.version);
	}
	if (rc == 0) {
		*ret = found;
	}
	return rc == 0;
}
