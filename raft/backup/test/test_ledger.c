#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "raft/backup/backup.h"

struct fixture {
	char path[64];
	struct et_secret *sign;
	struct et_ledger_head head;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static const uint8_t list[] = "a signed list";

	assert_non_null(f);
	(void)snprintf(f->path, sizeof(f->path), "/tmp/et_ledger.%d", (int)getpid());
	(void)unlink(f->path);
	assert_int_equal(et_ed25519_generate(&f->sign, f->head.sign_public, NULL), 0);
	f->head.node = 2;
	memset(f->head.cluster_id, 5, 16);
	f->head.members = (struct et_view){ list, sizeof(list) };
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->path);
	(void)et_secret_free(f->sign);
	free(f);
	return 0;
}

static void id_of(unsigned n, uint8_t ret[16])
{
	memset(ret, 1, 16);
	et_put32(ret + 12, n);
}

static struct et_ledger *must_open(struct fixture *f)
{
	struct et_ledger *l = NULL;
	struct et_error e;

	if (et_ledger_open(f->path, &f->head, f->sign, &l, &e) < 0) {
		fail_msg("%s", e.text);
	}
	return l;
}

static int count(void *arg, const uint8_t recording[16], uint64_t index, int64_t time_us)
{
	uint8_t id[16];
	unsigned *n = arg;

	id_of(*n, id);
	assert_memory_equal(id, recording, 16);
	assert_int_equal(index, 100 + *n);
	assert_int_equal(time_us, 1000 + *n);
	(*n)++;
	return 0;
}

static int read_back(struct fixture *f, unsigned *n, struct et_ledger_info *info)
{
	struct et_buffer file = { 0 };

	*n = 0;
	assert_int_equal(et_file_read(f->path, 1 << 24, &file, NULL), 0);
	int rc = et_ledger_read((struct et_view){ file.data, file.size }, NULL, count, n, info,
				NULL);
	et_buffer_release(&file);
	return rc;
}

static void erasures_are_kept_over_restarts(void **state)
{
	struct fixture *f = *state;
	struct et_ledger_info info;
	uint8_t id[16];
	unsigned n;

	struct et_ledger *l = must_open(f);
	for (unsigned i = 0; i < 600; i++) {
		id_of(i, id);
		assert_false(et_ledger_has(l, id));
		assert_int_equal(et_ledger_add(l, id, 100 + i, 1000 + i, NULL), 0);
		assert_true(et_ledger_has(l, id));
		if (i % 200 == 199) {
			l = et_ledger_close(l);
			l = must_open(f);
		}
	}
	assert_int_equal(et_ledger_add(l, NULL, 9000, 5, NULL), 0);
	id_of(3, id);
	assert_true(et_ledger_has(l, id));
	id_of(600, id);
	assert_false(et_ledger_has(l, id));
	l = et_ledger_close(l);
	assert_int_equal(read_back(f, &n, &info), 0);
	assert_int_equal(n, 600);
	assert_int_equal(info.erasures, 600);
	assert_int_equal(info.index, 9000);
	assert_int_equal(info.node, 2);
}

static void a_torn_record_is_cut_off(void **state)
{
	struct fixture *f = *state;
	struct et_ledger_info info;
	uint8_t id[16];
	unsigned n;

	struct et_ledger *l = must_open(f);
	for (unsigned i = 0; i < 3; i++) {
		id_of(i, id);
		assert_int_equal(et_ledger_add(l, id, 100 + i, 1000 + i, NULL), 0);
	}
	uint64_t size = et_ledger_size(l);
	l = et_ledger_close(l);
	for (uint64_t cut = size - 1; cut > size - 97; cut -= 16) {
		assert_int_equal(truncate(f->path, (off_t)cut), 0);
		assert_int_equal(read_back(f, &n, &info), 0);
		assert_int_equal(n, 2);
	}
	l = must_open(f);
	id_of(2, id);
	assert_false(et_ledger_has(l, id));
	assert_int_equal(et_ledger_add(l, id, 102, 1002, NULL), 0);
	l = et_ledger_close(l);
	assert_int_equal(read_back(f, &n, &info), 0);
	assert_int_equal(n, 3);
}

static void a_changed_byte_is_found(void **state)
{
	struct fixture *f = *state;
	struct et_buffer file = { 0 };
	struct et_ledger_info info;
	uint8_t id[16];

	struct et_ledger *l = must_open(f);
	for (unsigned i = 0; i < 3; i++) {
		id_of(i, id);
		assert_int_equal(et_ledger_add(l, id, 100 + i, 1000 + i, NULL), 0);
	}
	l = et_ledger_close(l);
	assert_int_equal(et_file_read(f->path, 1 << 20, &file, NULL), 0);
	for (size_t i = 0; i < file.size; i++) {
		file.data[i] ^= 0x40;
		int rc = et_ledger_read((struct et_view){ file.data, file.size }, NULL, NULL, NULL,
					&info, NULL);
		assert_true(rc < 0);
		file.data[i] ^= 0x40;
	}
	/* A record that is left out breaks the chain. */
	size_t at = file.size - 2 * 97;
	memmove(file.data + at, file.data + at + 97, 97);
	assert_int_equal(et_ledger_read((struct et_view){ file.data, file.size - 97 }, NULL, NULL,
					NULL, &info, NULL),
			 ET_EINTEGRITY);
	et_buffer_release(&file);
}

static int no_trust(void *arg, const struct et_ledger_head *head, struct et_error *reterr)
{
	(void)arg;
	assert_int_equal(head->node, 2);
	return et_fail(reterr, ET_EUNTRUSTED, "nobody");
}

static void who_is_not_trusted_is_not_read(void **state)
{
	struct fixture *f = *state;
	struct et_buffer file = { 0 };
	struct et_ledger_info info;
	uint8_t id[16] = { 1 };

	struct et_ledger *l = must_open(f);
	assert_int_equal(et_ledger_add(l, id, 1, 1, NULL), 0);
	l = et_ledger_close(l);
	assert_int_equal(et_file_read(f->path, 1 << 20, &file, NULL), 0);
	assert_int_equal(et_ledger_read((struct et_view){ file.data, file.size }, no_trust, count,
					NULL, &info, NULL),
			 ET_EUNTRUSTED);
	et_buffer_release(&file);
	f->head.node = 4; /* and another node does not write into it */
	assert_int_equal(et_ledger_open(f->path, &f->head, f->sign, &l, NULL), ET_EREFUSED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(erasures_are_kept_over_restarts),
		T(a_torn_record_is_cut_off),
		T(a_changed_byte_is_found),
		T(who_is_not_trusted_is_not_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
