et_module(node/siprec
    SOURCES metadata.c
    USES node/base
    LIBRARIES PkgConfig::expat
    TESTS metadata
    FUZZERS metadata)
