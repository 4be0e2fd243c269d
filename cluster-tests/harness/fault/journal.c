#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster-tests/harness/fault/fault.h"
#include "node/io/clock.h"

/* The journal alone: appends (small ones, and big ones that fill files), ticks, commits in another
 * order than that of the appends, so that files go when they are done and a gap stays; twice
 * opened, so that the second start finds what the first left. "A" is said when the caller has told
 * the journal of the commit: from then on it may, but need not, be there. */

enum { ROUNDS = 26, A_ROUND = 6, HELD = 3, OPENS = 3 };

struct owed {
	uint64_t seq;
	uint8_t incarnation[16];
	uint8_t id[16];
	bool done;
};

static struct et_journal *journal_open(const char *folder)
{
	struct et_journal *j = NULL;
	struct et_error e;

	if (et_journal_open(folder, 1, &j, &e) < 0) {
		fault_die("the journal does not open: %s", e.text);
	}
	return j;
}

static Et__Command *big_command(uint8_t id[16])
{
	static Et__OpId op;
	char name[33];

	et_uuid7(id);
	et_hex(id, 16, name);
	Et__Command *command = fault_big_command(name);
	et__op_id__init(&op);
	command->op = &op;
	return command;
}

static void owed_say(char kind, const struct owed *o)
{
	char incarnation[33], id[33];

	et_hex(o->incarnation, 16, incarnation);
	et_hex(o->id, 16, id);
	fault_say("%c %s %llu %s", kind, incarnation, (unsigned long long)o->seq, id);
}

static void commit(struct et_journal *j, struct owed *o)
{
	Et__OpId op = ET__OP_ID__INIT;

	if (o->done || o->seq == 0) {
		return;
	}
	op.node = 1;
	op.seq = o->seq;
	op.incarnation = (ProtobufCBinaryData){ 16, o->incarnation };
	owed_say('A', o); /* Before: from now on it may be gone. */
	et_journal_committed(j, &op);
	o->done = true;
}

static unsigned append_some(struct et_journal *j, struct owed *owed, unsigned round)
{
	struct et_error e;
	unsigned n = 0;

	for (; n < A_ROUND; n++) {
		struct owed *o = &owed[n];
		Et__Command *command =
			n % 2 == 0 ? fault_command(round + n, o->id) : big_command(o->id);
		int rc = et_journal_append(j, command, NULL, &e);
		if (rc < 0) {
			fault_say("E %s", et_errname(rc));
			break;
		}
		o->seq = command->op->seq;
		et_journal_incarnation(j, o->incarnation);
	}
	return n;
}

int fault_journal_work(const char *folder)
{
	static struct owed owed[OPENS * ROUNDS * A_ROUND];
	unsigned count = 0;

	for (unsigned start = 0; start < OPENS; start++) {
		fault_say("P open");
		struct et_journal *j = journal_open(folder);
		int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fault_say("P write");
		for (unsigned round = 0; round < ROUNDS; round++) {
			unsigned n = append_some(j, &owed[count], round);
			if (n > 0 && syncfs(fd) == 0) {
				for (unsigned i = 0; i < n; i++) {
					owed_say('J', &owed[count + i]);
				}
			}
			count += n;
			/* One in forty stays for long, and keeps its file. */
			for (unsigned i = 0; round >= HELD && i < count - HELD * A_ROUND; i++) {
				if (i % 40 != 0) {
					commit(j, &owed[i]);
				}
			}
		}
		(void)close(fd);
		j = et_journal_close(j);
	}
	fault_say("P compact");
	struct et_journal *j = journal_open(folder);
	for (unsigned i = 0; i < count; i++) {
		commit(j, &owed[i]);
	}
	j = et_journal_close(j);
	fault_say("P end");
	return 0;
}

/* ---- Check ---- */

struct found {
	uint8_t incarnation[16];
	uint64_t seq;
	uint8_t id[16];
};

struct all {
	struct found *list; /* owned */
	size_t count;
};

static int found_add(void *arg, const Et__Command *command, struct et_view packed)
{
	struct all *a = arg;
	struct found *f;

	(void)packed;
	for (size_t i = 0; i < a->count; i++) {
		bool same = memcmp(a->list[i].incarnation, command->op->incarnation.data, 16) == 0;
		if (same && a->list[i].seq == command->op->seq) {
			fault_die("%llu is there twice", (unsigned long long)command->op->seq);
		}
		if (same && a->list[i].seq > command->op->seq) {
			fault_die("%llu stands behind %llu", (unsigned long long)command->op->seq,
				  (unsigned long long)a->list[i].seq);
		}
	}
	a->list = realloc(a->list, (a->count + 1) * sizeof(*a->list));
	if (a->list == NULL) {
		fault_die("no memory");
	}
	f = &a->list[a->count++];
	memset(f, 0, sizeof(*f));
	f->seq = command->op->seq;
	memcpy(f->incarnation, command->op->incarnation.data, 16);
	if (command->body_case == ET__COMMAND__BODY_RECORDING_OPEN) {
		memcpy(f->id, command->recording_open->recording->id.data, 16);
	} else if (command->body_case == ET__COMMAND__BODY_POLICY_SET) {
		(void)et_unhex(command->policy_set->policy->name, 32, f->id, 16);
	} else {
		(void)et_unhex(command->audit_add->target, 32, f->id, 16);
	}
	return 0;
}

static bool found_has(const struct all *a, const struct found *want)
{
	for (size_t i = 0; i < a->count; i++) {
		if (memcmp(&a->list[i], want, sizeof(*want)) == 0) {
			return true;
		}
	}
	return false;
}

/* Standard input: "J ..." that have no "A ..." must be there; the caller has left out the others.
 */
int fault_journal_check(const char *folder)
{
	struct all all = { 0 };
	char line[256];
	unsigned long long acks = 0;
	struct et_journal *j = journal_open(folder);

	if (et_journal_kept_aside(j) > 0) {
		fault_die("a file was taken for damaged");
	}
	if (et_journal_each_pending(j, found_add, &all) < 0) {
		fault_die("the journal cannot be read");
	}
	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct found want = { 0 };
		char incarnation[33], id[33], kind;
		unsigned long long seq;

		if (sscanf(line, "%c %32s %llu %32s", &kind, incarnation, &seq, id) != 4 ||
		    !et_unhex(incarnation, 32, want.incarnation, 16) ||
		    !et_unhex(id, 32, want.id, 16)) {
			fault_die("not an acknowledgement: %s", line);
		}
		want.seq = seq;
		if (!found_has(&all, &want)) {
			fault_die("LOST %llu of %s", seq, incarnation);
		}
		acks++;
	}
	j = et_journal_close(j);
	fault_say("OK %llu acknowledgements, %zu from the journal", acks, all.count);
	free(all.list);
	return 0;
}
