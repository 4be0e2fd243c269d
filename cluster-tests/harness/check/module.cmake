et_program(etcheck cluster-tests/harness/check
    SOURCES register.c sets.c
    USES node/base
    TESTS check)
