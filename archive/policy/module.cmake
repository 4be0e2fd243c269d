et_module(archive/policy
    SOURCES diff.c parse.c policy.c target.c trial.c
    USES node/base node/text archive/bucket
    TESTS policy
    FUZZERS policy retention)
