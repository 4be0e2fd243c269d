et_module(node/audio
    SOURCES codec.c libraries.c amr.c mp3.c flac.c vorbis.c resample.c plc.c voice.c holes.c conceal.c mix.c wav.c format.c
        flac_writer.c opus_writer.c mp3_writer.c dtmf.c mask.c
    USES node/base node/io node/rtp
    LIBRARIES PRIVATE PkgConfig::opus PkgConfig::spandsp PkgConfig::speex PkgConfig::bcg729 PkgConfig::amrnb
        PkgConfig::amrwb PkgConfig::mpg123 PkgConfig::flac PkgConfig::vorbis PkgConfig::ogg PkgConfig::lame ${GSM_LIBRARY} m
    TESTS codec decoder conceal holes mp3 file_codecs resample mix wav format dtmf mask
    TEST_LIBRARIES PkgConfig::opus PkgConfig::spandsp PkgConfig::speex PkgConfig::bcg729 PkgConfig::amrnb
        PkgConfig::amrwbenc PkgConfig::mpg123 PkgConfig::ogg PkgConfig::lame PkgConfig::flac PkgConfig::vorbis PkgConfig::vorbisenc ${GSM_LIBRARY} m
    FUZZERS mix decoder vorbis)
