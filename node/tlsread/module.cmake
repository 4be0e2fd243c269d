et_module(node/tlsread
    SOURCES tlsread.c keys.c record.c
    USES node/base node/keylog
    LIBRARIES PkgConfig::crypto
    TESTS tlsread
    TEST_LIBRARIES PkgConfig::ssl
    FUZZERS tlsread)
