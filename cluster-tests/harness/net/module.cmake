et_program(wanemu cluster-tests/harness/net
    SOURCES wan.c
    USES node/base
    TESTS wan)
