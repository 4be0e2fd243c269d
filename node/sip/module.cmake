et_module(node/sip
    SOURCES sip.c uri.c sdp.c framer.c websocket.c server.c
    USES node/base
    TESTS sip torture sdp framer server
    FUZZERS sip sdp framer server)
