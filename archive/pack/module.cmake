et_module(archive/pack
    SOURCES pack.c
    USES node/base node/crypto
    TESTS pack
    FUZZERS pack)
