et_module(node/config
    SOURCES config.c
    USES node/base node/text
    TESTS config
    FUZZERS config)
