et_module(archive/policy
    SOURCES parse.c policy.c target.c trial.c
    USES node/base node/text archive/bucket
    TESTS policy
    FUZZERS policy retention)
