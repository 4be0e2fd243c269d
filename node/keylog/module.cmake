et_module(node/keylog
    SOURCES keylog.c
    USES node/base
    TESTS keylog
    FUZZERS keylog)
