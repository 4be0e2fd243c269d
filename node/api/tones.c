/* Key presses that a recording's rule masks (`tones: mask`): who hears them all the same.
 *
 * Nobody by chance: whatever is heard is masked, and what cannot be masked (the original payload)
 * is refused. Who says tones=keep needs the right to it and a reason, and leaves an audit event of
 * its own kind. */
#include <stdio.h>
#include <string.h>

#include "node/api/playback_internal.h"
#include "node/rule/rule.h"

/* Does the request say tones=keep? */
static int tones_asked(struct api_call *call, bool *ret, struct et_error *reterr)
{
	const char *tones = api_param(&call->request, "tones");

	*ret = tones != NULL && strcmp(tones, "keep") == 0;
	if (tones != NULL && !*ret && strcmp(tones, "mask") != 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "tones is mask or keep");
	}
	return 0;
}

static int tones_allowed(struct api_call *call, struct et_error *reterr)
{
	const char *reason = api_param(&call->request, "reason");

	if ((call->rights & API_UNMASK) == 0) {
		(void)atomic_fetch_add(&call->api->denied, 1);
		int rc = et_fail_plain(reterr, ET_EDENIED,
				       "%s may not hear key presses that a rule masks",
				       call->principal[0] != '\0' ? call->principal : "a ticket");
		(void)et_fail_next(reterr, "evertape token create --name NAME --role unmasker");
		return rc;
	}
	if (reason == NULL || *reason == '\0') {
		return et_fail_plain(
			reterr, ET_EUSAGE,
			"to hear key presses that a rule masks, a reason is needed: it "
			"goes into the audit log");
	}
	return 0;
}

int api_tones_decide(struct api_playback *p, const Et__Recording *r, bool whole,
		     const char **action, struct et_error *reterr)
{
	bool asked;

	int rc = tones_asked(p->call, &asked, reterr);
	if (rc < 0 || r->tones <= ET_RULE_TONES_KEEP) {
		return rc; /* There is nothing to mask. */
	}
	if (asked) {
		rc = tones_allowed(p->call, reterr);
		*action = "recording.unmask";
		return rc;
	}
	if (whole) {
		rc = et_fail_plain(reterr, ET_EPOLICY,
				   "rule \"%.64s\" masks key presses in what is heard of this "
				   "recording, and its original payload has them",
				   r->rule);
		(void)et_fail_next(reterr, "--tones keep --reason TEXT, with the role unmasker");
		return rc;
	}
	p->config.mask_tones = true;
	return 0;
}
