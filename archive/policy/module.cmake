et_module(archive/policy
    SOURCES parse.c policy.c
    USES node/base node/text
    TESTS policy
    FUZZERS policy)
