et_module(node/rtp
    SOURCES rtp.c rtcp.c source.c clock.c
    USES node/base
    TESTS rtp rtcp source clock
    FUZZERS rtp rtcp)
