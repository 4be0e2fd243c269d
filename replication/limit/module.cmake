et_module(replication/limit
    SOURCES limit.c window.c
    USES node/base node/text node/rule
    TESTS limit
    TEST_USES node/io
    FUZZERS limit)
