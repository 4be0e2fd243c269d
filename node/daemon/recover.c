/* After a majority of the voters was lost for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/daemon/daemon.h"
#include "node/daemon/daemon_internal.h"

static void say(const struct et_catalog_recovery *r, const char *state)
{
	(void)printf("Cluster %s, node %llu (%s): its database has everything up to index "
		     "%llu,\nits log goes on from there.\n",
		     r->cluster, (unsigned long long)r->node, r->name,
		     (unsigned long long)r->applied);
	(void)printf(
		"\n*** %s becomes the only voter, with the log that it has. ***\n"
		"What the lost majority had committed, and this node had not heard, IS LOST:\n"
		"acknowledged changes, audit events and keys of recordings may be among it.\n"
		"Do this on ONE node only: the survivor with the highest index. Two nodes that\n"
		"were recovered are two clusters that can never be one again. Stop the others\n"
		"first (systemctl stop evertaped). One that had heard more than this one has\n"
		"another log: it stops when it meets this one, and says what to remove.\n",
		r->name);
	if (r->log_end == 0) {
		return;
	}
	(void)printf("\nDone: the log ends at %llu. Now:\n"
		     "  1. on each other SURVIVOR, stopped: rm -r %s/raft %s/db\n"
		     "     (its identity and media stay; it is brought up to date by itself)\n",
		     (unsigned long long)r->log_end, state, state);
	(void)printf("  2. start evertaped on %s, then on the others; the recovery is in the audit "
		     "log\n",
		     r->name);
	for (size_t i = 0; i < r->other_count; i++) {
		(void)printf("  %s evertape node remove %s --reason dead --confirm %s\n",
			     i == 0 ? "3. if lost:" : "           ", r->others[i], r->cluster);
	}
	(void)printf("  4. new voters: evertape node token, evertape node join; evertape status\n");
}

int et_daemon_recover(const char *state, const char *confirm)
{
	struct et_catalog_recovery *r = calloc(1, sizeof(*r));
	struct et_error error = { 0 };

	if (r == NULL) {
		return 1;
	}
	int rc = et_catalog_recover(state, confirm, r, &error);
	if (r->name[0] != '\0') {
		say(r, state);
	}
	free(r);
	if (rc == 0) {
		return 0;
	}
	(void)fflush(stdout);
	(void)fprintf(stderr, "evertaped: %s\n", error.text);
	if (rc == ET_EPOLICY) {
		(void)fprintf(stderr,
			      "Nothing was changed. Next: the same with --confirm CLUSTER\n");
	} else {
		(void)fprintf(stderr,
			      "Nothing was recovered. Next: stop evertaped on this node; look "
			      "at its state folder\n");
	}
	return et_exit_code(rc);
}

/* ---- The recovery's audit event ---- */

static void on_told(void *arg, int code, const Et__Result *result)
{
	struct et_daemon *d = arg;
	char path[ET_CONFIG_PATH_MAX + 32];

	(void)result;
	d->recovery_telling = false;
	if (code == 0) {
		(void)snprintf(path, sizeof(path), "%s/raft-recovered", d->config.state);
		d->recovery_told = unlink(path) == 0;
	}
}

void daemon_tell_recovery(struct et_daemon *d)
{
	char path[ET_CONFIG_PATH_MAX + 32];
	char text[512] = "";

	if (d->recovery_told || d->recovery_telling || d->catalog == NULL) {
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/raft-recovered", d->config.state);
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		d->recovery_told = true;
		return;
	}
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	text[strcspn(text, "\n")] = '\0';
	(void)fclose(f);

	Et__AuditAdd add = ET__AUDIT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t incarnation[16];
	char action[] = "raft.recover";
	char principal[] = "local:uid=0";
	add.action = action;
	add.target = d->identity.cluster;
	add.detail = text;
	command.op = &op;
	command.principal = principal;
	command.schema = ET_COMMAND_SCHEMA;
	command.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	command.audit_add = &add;
	et_warn("raft.recovered", "what=\"%s\"", text);
	d->recovery_telling = true;
	et_catalog_next_op(d->catalog, &op, incarnation);
	et_catalog_propose(d->catalog, &command, 0, on_told, d);
}
