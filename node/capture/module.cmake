et_module(node/capture
    SOURCES text.c packet.c defrag.c engine.c ahead.c call.c dialog.c legs.c match.c stream.c keys.c handshake.c table.c tcp.c tcp_connection.c writer.c note.c segment.c pad.c pause.c digits.c tones.c press.c join.c
        demand.c ring.c openlog.c ack.c recover.c relay.c source.c pcapfile.c intake.c replay.c capture.c command.c follow.c keysock.c turn.c session.c srs.c srs_admit.c srs_port.c srs_offer.c srs_session.c uas.c
    USES node/base node/io node/crypto node/sip node/rtp node/keylog node/tlsread node/tape node/srtp node/siprec node/tls node/rule node/audio node/text
    LIBRARIES PkgConfig::pcap Threads::Threads
    TESTS packet source rings engine flood ahead pauses tones tones_held demand ring pad dialog join torture srtp secrets given samples live live_demand tcp follow keysock turn srs srs_limits srs_tls
    TEST_LIBRARIES PkgConfig::ssl PkgConfig::crypto
    FUZZERS link pcapfile defrag tcp turn packets tones table srs)
set_tests_properties(node/capture/samples node/capture/rings node/capture/live node/capture/live_demand PROPERTIES SKIP_RETURN_CODE 77)
