et_module(node/config
    SOURCES config.c defaults.c fields.c recording.c siprec.c value.c set.c settings.c
    USES node/base node/text node/rule node/io node/root
    TESTS config set settings
    FUZZERS config)
