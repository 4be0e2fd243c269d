/* A root on a token: SoftHSM2 (Debian's softhsm2) as the good one, hostile.c as the others. */
#include "node/root/test/fixture.h"

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"

static void softhsm(const char *fmt, ...) ET_PRINTF(1, 2);
static void softhsm(const char *fmt, ...)
{
	char command[400] = "softhsm2-util ";
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(command + 14, sizeof(command) - 14, fmt, args);
	va_end(args);
	strcat(command, " >softhsm.log 2>&1");
	if (system(command) != 0) {
		fail_msg("%s", command);
	}
}

static int set_up_softhsm(void **state)
{
	char text[160];
	struct fixture *f;

	if (access(SOFTHSM, R_OK) < 0) {
		fail_msg("%s is missing: ops/packages test installs softhsm2", SOFTHSM);
	}
	(void)set_up(state);
	f = *state;
	(void)snprintf(text, sizeof(text), "directories.tokendir = %s/tokens\n", f->dir);
	put("softhsm.conf", text);
	(void)snprintf(text, sizeof(text), "%s/softhsm.conf", f->dir);
	assert_int_equal(setenv("SOFTHSM2_CONF", text, 1), 0);
	assert_int_equal(mkdir("tokens", 0700), 0);
	softhsm("--init-token --free --label hsm --pin 1234 --so-pin 5678");
	put("pin", "1234\n");
	(void)snprintf(f->spec, sizeof(f->spec),
		       "pkcs11:token=hsm;object=evertape-root?module-path=" SOFTHSM
		       "&pin-source=file:%s/pin",
		       f->dir);
	return 0;
}

static void make(struct fixture *f, struct et_secret **ret)
{
	if (et_root_make(&f->place, ret, &f->e) < 0) {
		fail_msg("%s", f->e.text);
	}
}

static void a_token_opens_what_it_sealed(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct et_root_way ways[ET_ROOT_SLOTS_MAX];
	struct fixture *f = *state;
	size_t count;

	refuses(f, -ENOENT, "root.slots");
	make(f, &root);
	loads(f, root);
	loads(f, root);
	assert_int_equal(et_root_ways(f->dir, ways, &count, &f->e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ways[0].kind, ET_ROOT_PKCS11);
	assert_string_equal(ways[0].mechanism, "AES-GCM");
	assert_int_equal(strlen(ways[0].serial), 16);
}

static void each_trouble_with_a_token_has_its_name(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;

	make(f, &root);
	put("pin", "9999");
	refuses(f, ET_EROOTSECRET, "PIN of token 'hsm' is wrong");
	put("pin", "1234");
	loads(f, root);

	assert_int_equal(rename("tokens", "away"), 0);
	assert_int_equal(mkdir("tokens", 0700), 0);
	refuses(f, ET_ETOKENABSENT, "token 'hsm' is not there");
	assert_non_null(strstr(f->e.next, "pkcs11-tool"));
	softhsm("--init-token --free --label other --pin 1234 --so-pin 5678");
	refuses(f, ET_ETOKENABSENT, "'other'");
	softhsm("--init-token --free --label hsm --pin 1234 --so-pin 5678");
	refuses(f, ET_ETOKENWRONG, "this root was sealed by the one with serial");
	assert_int_equal(system("rm -r tokens"), 0);
	assert_int_equal(rename("away", "tokens"), 0);
	loads(f, root);
}

static void a_change_to_another_token_keeps_the_old_one_until_the_end(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;
	char old[sizeof(f->spec)];

	make(f, &root);
	memcpy(old, f->spec, sizeof(old));
	softhsm("--init-token --free --label second --pin 1234 --so-pin 5678");
	(void)snprintf(f->spec, sizeof(f->spec),
		       "pkcs11:token=second;object=evertape-root;id=%%01?module-path=" SOFTHSM
		       "&pin-source=file:%s/pin",
		       f->dir);
	refuses(f, ET_ETOKENWRONG, "serial");
	assert_int_equal(et_root_add(&f->place, root, &f->e), 0);
	loads(f, root);
	memcpy(f->spec, old,
	       sizeof(old)); /* The newer way is of the other token: the next is tried. */
	loads(f, root);
	(void)snprintf(f->spec, sizeof(f->spec),
		       "pkcs11:token=second;id=%%01?module-path=" SOFTHSM "&pin-source=file:%s/pin",
		       f->dir);
	assert_int_equal(et_root_drop_others(&f->place, &f->e), 0);
	loads(f, root);
	memcpy(f->spec, old, sizeof(old));
	refuses(f, ET_ETOKENWRONG, "serial");
}

/* ---- The hostile module ---- */

static int set_up_hostile(void **state)
{
	char command[600];
	struct fixture *f;

	(void)set_up(state);
	f = *state;
	/* A copy that belongs to this user: where it was built, others may write. */
	(void)snprintf(command, sizeof(command), "cp '%s' module.so && chmod 0755 module.so",
		       ET_HOSTILE_MODULE);
	assert_int_equal(system(command), 0);
	put("pin", "1234");
	(void)snprintf(
		f->spec, sizeof(f->spec),
		"pkcs11:token=hostile;object=k?module-path=%s/module.so&pin-source=file:%s/pin",
		f->dir, f->dir);
	return 0;
}

static size_t tries(void)
{
	struct stat st;

	return stat("tries", &st) == 0 ? (size_t)st.st_size : 0;
}

static void a_module_that_breaks_the_rules_breaks_nothing(void **state)
{
	static const struct {
		const char *does;
		int code;
		const char *text;
	} cases[] = {
		{ "null-list", ET_EMODULE, "no PKCS#11 of version 2" },
		{ "version-3", ET_EMODULE, "no PKCS#11 of version 2" },
		{ "no-decrypt", ET_EMODULE, "no PKCS#11 of version 2" },
		{ "crash", ET_EMODULE, "crashed: Aborted" },
		{ "exit", ET_EMODULE, "ended the process" },
		{ "flood", ET_ETOKENWRONG, "does not open this root" },
		{ "no-init", ET_EMODULE, "does not initialize" },
		{ "many-slots", ET_EMODULE, "list its slots" },
		{ "no-slot", ET_ETOKENABSENT, "there is no token" },
		{ "no-spaces", ET_ETOKENABSENT, "is not there" },
		{ "other-token", ET_ETOKENWRONG, "serial" },
		{ "many-keys", ET_EMODULE, "list the token's keys" },
		{ "no-key", ET_ETOKENWRONG, "is not there any more" },
		{ "two-keys", ET_EUSAGE, "not the only one" },
		{ "lies", ET_ETOKENWRONG, "does not open this root" },
		{ "short", ET_ETOKENWRONG, "another key" },
	};
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;

	make(f, &root);
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		put("hostile", cases[i].does);
		refuses(f, cases[i].code, cases[i].text);
	}
	assert_int_equal(unlink("hostile"), 0);
	loads(f, root);
}

static void a_pin_is_tried_once_and_not_when_it_may_lock(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;

	make(f, &root);
	size_t before = tries();
	put("hostile", "final-try");
	refuses(f, ET_ETOKENLOCKED, "one try is left");
	put("hostile", "locked");
	refuses(f, ET_ETOKENLOCKED, "is locked");
	assert_int_equal(tries(), before);
	put("hostile", "pin-locked");
	refuses(f, ET_ETOKENLOCKED, "is locked");
	assert_int_equal(unlink("hostile"), 0);
	put("pin", "9999");
	before = tries();
	refuses(f, ET_EROOTSECRET, "is wrong");
	assert_int_equal(tries(), before + 1);
}

static void a_token_that_cannot_is_refused_when_sealing(void **state)
{
	static const struct {
		const char *does;
		int code;
	} cases[] = {
		{ "extractable", ET_EREFUSED }, { "no-aes", ET_EUNSUPPORTED },
		{ "overlong", ET_EMODULE },	{ "no-key", ET_EMODULE }, /* it makes none */
		{ "lies", ET_ETOKENWRONG },	{ "final-try", ET_ETOKENLOCKED },
	};
	struct fixture *f = *state;
	struct et_secret *s = NULL;

	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		put("hostile", cases[i].does);
		int rc = et_root_make(&f->place, &s, &f->e);
		if (rc != cases[i].code) {
			fail_msg("%s: %s", cases[i].does, f->e.text);
		}
		assert_int_equal(access("root.slots", F_OK), -1);
	}
}

static void padding_is_taken_where_gcm_is_not(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct et_root_way ways[ET_ROOT_SLOTS_MAX];
	struct fixture *f = *state;
	size_t count;

	put("hostile", "cbc");
	make(f, &root);
	loads(f, root);
	assert_int_equal(et_root_ways(f->dir, ways, &count, &f->e), 0);
	assert_string_equal(ways[0].mechanism, "AES-CBC-PAD");
}

static void a_module_that_others_can_change_is_not_loaded(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct fixture *f = *state;

	make(f, &root);
	assert_int_equal(chmod("module.so", 0775), 0);
	refuses(f, ET_EKEYPERM, "others can change");
	assert_int_equal(unlink("module.so"), 0);
	refuses(f, ET_EMODULE, "No such file");
	put("module.so", "no library");
	refuses(f, ET_EMODULE, "module.so");
}

#define SOFT(name) cmocka_unit_test_setup_teardown(name, set_up_softhsm, tear_down)
#define HOSTILE(name) cmocka_unit_test_setup_teardown(name, set_up_hostile, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOFT(a_token_opens_what_it_sealed),
		SOFT(each_trouble_with_a_token_has_its_name),
		SOFT(a_change_to_another_token_keeps_the_old_one_until_the_end),
		HOSTILE(a_module_that_breaks_the_rules_breaks_nothing),
		HOSTILE(a_pin_is_tried_once_and_not_when_it_may_lock),
		HOSTILE(a_token_that_cannot_is_refused_when_sealing),
		HOSTILE(padding_is_taken_where_gcm_is_not),
		HOSTILE(a_module_that_others_can_change_is_not_loaded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
