et_module(node/tlsread
    SOURCES tlsread.c keys.c record.c
    USES node/base node/crypto node/keylog
    LIBRARIES PkgConfig::crypto
    TESTS tlsread
    TEST_LIBRARIES PkgConfig::ssl
    FUZZERS tlsread)
