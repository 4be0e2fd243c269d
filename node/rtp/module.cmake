et_module(node/rtp
    SOURCES rtp.c rtcp.c source.c
    USES node/base
    TESTS rtp rtcp source
    FUZZERS rtp rtcp)
