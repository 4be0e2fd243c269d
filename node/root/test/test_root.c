#include <linux/magic.h>
#include <sys/statfs.h>

#include "node/root/test/fixture.h"

static void make(struct fixture *f, struct et_secret **ret)
{
	if (et_root_make(&f->place, ret, &f->e) < 0) {
		fail_msg("%s", f->e.text);
	}
}

static void a_root_in_a_file_is_private(void **state)
{
	static const mode_t bad[] = { 0440, 0404, 0420, 0500, 0644, 04400 };
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;
	struct et_secret *s = NULL;
	struct stat st;

	(void)snprintf(f->spec, sizeof(f->spec), "file:%s/root.key", f->dir);
	refuses(f, -ENOENT, "root.key");
	make(f, &root);
	assert_int_equal(stat("root.key", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	loads(f, root);
	assert_int_equal(et_root_make(&f->place, &s, NULL), ET_EEXISTS);
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		assert_int_equal(chmod("root.key", bad[i]), 0);
		refuses(f, ET_EKEYPERM, "/root.key");
		assert_non_null(strstr(f->e.next, "chmod 0400"));
	}
	assert_int_equal(chmod("root.key", 0600), 0);
	loads(f, root);
	assert_int_equal(truncate("root.key", 31), 0);
	refuses(f, ET_ECORRUPT, "31 bytes");
	assert_int_equal(unlink("root.key"), 0);
	assert_int_equal(symlink("/dev/zero", "root.key"), 0);
	refuses(f, ET_EKEYPERM, "not a regular file");
}

static void a_credential_is_what_systemd_hands_over(void **state)
{
	struct fixture *f = *state;
	struct et_secret *s = NULL;

	(void)snprintf(f->spec, sizeof(f->spec), "credential:evertape-root");
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	refuses(f, ET_ENOTFOUND, "without credentials");
	assert_non_null(strstr(f->e.next, "LoadCredentialEncrypted=evertape-root"));
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", f->dir, 1), 0);
	refuses(f, ET_ENOTFOUND, "credential 'evertape-root'");
	put("evertape-root", "0123456789abcdef0123456789abcdef");
	assert_int_equal(chmod("evertape-root", 0440), 0); /* systemd adds an ACL, which shows so */
	s = load(f);
	assert_memory_equal(et_secret_bytes(s), "0123456789abcdef0123456789abcdef", 32);
	s = et_secret_free(s);
	put("evertape-root", "0123456789abcdef0123456789abcdef\n");
	refuses(f, ET_ECORRUPT, "32 bytes");
	assert_int_equal(et_root_make(&f->place, &s, &f->e), ET_EUNSUPPORTED);
	assert_non_null(strstr(f->e.next, "systemd-creds encrypt --name=evertape-root"));
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void a_passphrase_opens_what_it_sealed(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;
	struct et_secret *s = NULL;
	struct stat st;

	(void)snprintf(f->spec, sizeof(f->spec), "passphrase:file:%s/pass", f->dir);
	put("pass", "correct horse battery staple\n");
	refuses(f, -ENOENT, "root.slots");
	make(f, &root);
	assert_int_equal(stat("root.slots", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	loads(f, root);
	assert_int_equal(et_root_make(&f->place, &s, &f->e), ET_EEXISTS);
	put("pass", "correct horse battery staple"); /* the end of the line is not in it */
	loads(f, root);
	put("pass", "correct horse battery stapl\n");
	refuses(f, ET_EROOTSECRET, "the passphrase is wrong");
	put("pass", "\n");
	refuses(f, ET_EROOTSECRET, "no passphrase is there");
	put("pass", "correct horse battery staple");
	assert_int_equal(chmod("pass", 0440), 0);
	refuses(f, ET_EKEYPERM, "not private");
	assert_int_equal(unlink("pass"), 0);
	refuses(f, ET_ENOTFOUND, "passphrase in");
}

static void a_passphrase_comes_through_a_descriptor_that_was_handed_over(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	(void)snprintf(f->spec, sizeof(f->spec), "passphrase:fd:%d", pipes[0]);
	assert_int_equal(write(pipes[1], "a long enough passphrase\nthe next line", 38), 38);
	make(f, &root);
	assert_int_equal(write(pipes[1], "\n", 1), 1);
	refuses(f, ET_EROOTSECRET, "wrong"); /* it read "the next line": a line each time */
	assert_int_equal(write(pipes[1], "a long enough passphrase\n", 25), 25);
	loads(f, root);
	assert_int_equal(fcntl(pipes[0], F_SETFD, FD_CLOEXEC), 0);
	refuses(f, ET_ENOTFOUND, "handed to this process"); /* one of our own */
	assert_int_equal(close(pipes[0]), 0);
	assert_int_equal(close(pipes[1]), 0);
	refuses(f, ET_ENOTFOUND, "handed to this process");
}

static void a_weak_one_is_not_taken(void **state)
{
	struct fixture *f = *state;
	struct et_secret *s = NULL;

	(void)snprintf(f->spec, sizeof(f->spec), "passphrase:file:%s/pass", f->dir);
	put("pass", "12345678901");
	assert_int_equal(et_root_make(&f->place, &s, &f->e), ET_EUSAGE);
	put("pass", "123456789012");
	f->place.cost = (struct et_root_cost){ .memory_kib = MEMORY_KIB_MIN - 1, .passes = 1 };
	assert_int_equal(et_root_make(&f->place, &s, &f->e), ET_EUSAGE);
	f->place.cost = (struct et_root_cost){ .memory_kib = MEMORY_KIB_MAX + 1, .passes = 1 };
	assert_int_equal(et_root_make(&f->place, &s, &f->e), ET_EUSAGE);
	f->place.cost = (struct et_root_cost){ .memory_kib = MEMORY_KIB_MIN, .passes = 17 };
	assert_int_equal(et_root_make(&f->place, &s, &f->e), ET_EUSAGE);
	assert_int_equal(access("root.slots", F_OK), -1);
}

/* RFC 9106, section 5.3, has inputs that this interface does not take (key, data); so: the program
 * argon2 of Debian's package of the same name, version 20171227, gave
 *   printf password123456 | argon2 0123456789abcdef0123456789abcdef -id -t 2 -k 8192 -p 1 -l 32 -r
 */
static void argon2id_is_argon2id(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *pass = et_secret_copy("password123456", 14);
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	const struct et_root_cost cost = { .memory_kib = 8192, .passes = 2 };
	char hex[65];

	(void)state;
	assert_int_equal(root_stretch(pass, &cost,
				      (const uint8_t *)"0123456789abcdef0123456789abcdef", &key,
				      NULL),
			 0);
	et_hex(et_secret_bytes(key), 32, hex);
	assert_string_equal(hex,
			    "33f9eeb6e43ff91fc8ee5d625b194342257224b0b010e19cc4e670dcd7ead6ae");
}

/* ---- Change ---- */

static void the_old_way_opens_until_it_is_dropped(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct et_root_way ways[ET_ROOT_SLOTS_MAX];
	struct fixture *f = *state;
	size_t count;
	char file[128];

	(void)snprintf(file, sizeof(file), "file:%s/root.key", f->dir);
	(void)snprintf(f->spec, sizeof(f->spec), "%s", file);
	make(f, &root);
	struct et_root_place old = f->place;
	old.spec = file;
	put("pass", "the first passphrase");
	(void)snprintf(f->spec, sizeof(f->spec), "passphrase:file:%s/pass", f->dir);
	assert_int_equal(et_root_add(&f->place, root, &f->e), 0);
	loads(f, root);
	ET_CLEANUP(et_secret_freep) struct et_secret *still = NULL;
	assert_int_equal(et_root_load(&old, &still, &f->e), 0);
	assert_true(et_secret_equal(still, root));
	assert_int_equal(et_root_drop_others(&f->place, &f->e), 0);
	assert_int_equal(et_root_wipe(file, &f->e), 0);
	assert_int_equal(access("root.key", F_OK), -1);
	loads(f, root);

	put("pass", "the second passphrase");
	assert_int_equal(et_root_add(&f->place, root, &f->e), 0);
	loads(f, root);
	put("pass", "the first passphrase");
	loads(f, root);
	assert_int_equal(et_root_drop_others(&f->place, &f->e), 0);
	refuses(f, ET_EROOTSECRET, "wrong");
	put("pass", "the second passphrase");
	loads(f, root);
	assert_int_equal(et_root_ways(f->dir, ways, &count, &f->e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ways[0].kind, ET_ROOT_PASSPHRASE);
	assert_int_equal(ways[0].cost.memory_kib, MEMORY_KIB_MIN);

	old.spec = file; /* and back to a file */
	assert_int_equal(et_root_add(&old, root, &f->e), 0);
	assert_int_equal(et_root_drop_others(&old, &f->e), 0);
	assert_int_equal(access("root.slots", F_OK), -1);
	assert_int_equal(et_root_add(&old, root, &f->e), 0); /* the same one */
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	assert_int_equal(et_secret_random(ET_ROOT_SIZE, &other, NULL), 0);
	assert_int_equal(et_root_add(&old, other, &f->e), ET_EEXISTS);
}

static void changes_that_were_broken_off_leave_room(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;
	char pass[64];

	(void)snprintf(f->spec, sizeof(f->spec), "passphrase:file:%s/pass", f->dir);
	put("pass", "passphrase number 0");
	make(f, &root);
	for (int i = 1; i < ET_ROOT_SLOTS_MAX + 3; i++) {
		(void)snprintf(pass, sizeof(pass), "passphrase number %d", i);
		put("pass", pass);
		assert_int_equal(et_root_add(&f->place, root, &f->e), 0);
		loads(f, root);
	}
}

static void what_is_sealed_by_another_kind_is_said(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;

	put("pass", "the first passphrase");
	(void)snprintf(f->spec, sizeof(f->spec), "passphrase:file:%s/pass", f->dir);
	make(f, &root);
	(void)snprintf(f->spec, sizeof(f->spec),
		       "pkcs11:token=a;object=b?module-path=/m&pin-source=file:%s/pass", f->dir);
	refuses(f, ET_ENOTFOUND, "not by pkcs11");
	assert_non_null(strstr(f->e.next, "evertape key root show"));
}

static void what_lies_on_the_disk_is_said(void **state)
{
	struct fixture *f = *state;
	struct statfs fs;

	assert_true(et_root_on_disk("file:/etc/evertape/root.key"));
	assert_false(et_root_on_disk("credential:x"));
	assert_false(et_root_on_disk("passphrase:credential:x"));
	assert_false(et_root_on_disk("passphrase:terminal"));
	assert_true(et_root_on_disk("passphrase:file:/etc/passwd"));
	assert_true(et_root_on_disk("nonsense"));
	if (statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC) {
		put("/dev/shm/et_root_test", "x");
		assert_false(et_root_on_disk("passphrase:file:/dev/shm/et_root_test"));
		assert_int_equal(unlink("/dev/shm/et_root_test"), 0);
	}
	(void)f;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_root_in_a_file_is_private),
		TEST(a_credential_is_what_systemd_hands_over),
		TEST(a_passphrase_opens_what_it_sealed),
		TEST(a_passphrase_comes_through_a_descriptor_that_was_handed_over),
		TEST(a_weak_one_is_not_taken),
		TEST(argon2id_is_argon2id),
		TEST(the_old_way_opens_until_it_is_dropped),
		TEST(changes_that_were_broken_off_leave_room),
		TEST(what_is_sealed_by_another_kind_is_said),
		TEST(what_lies_on_the_disk_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
