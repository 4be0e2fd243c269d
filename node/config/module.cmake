et_module(node/config
    SOURCES config.c
    USES node/base node/text node/rule
    TESTS config
    FUZZERS config)
