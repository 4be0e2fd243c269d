# Debian's packages, through pkg-config. ops/packages installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(uv REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(crypto REQUIRED IMPORTED_TARGET libcrypto>=3.0)
pkg_check_modules(ssl REQUIRED IMPORTED_TARGET libssl>=3.0)
pkg_check_modules(pcap REQUIRED IMPORTED_TARGET libpcap)
pkg_check_modules(rocksdb REQUIRED IMPORTED_TARGET rocksdb>=7.8)
pkg_check_modules(curl REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(expat REQUIRED IMPORTED_TARGET expat)
pkg_check_modules(fyaml REQUIRED IMPORTED_TARGET libfyaml>=0.7)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson>=2.14)
pkg_check_modules(protobufc REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(lws REQUIRED IMPORTED_TARGET libwebsockets>=4.1)
pkg_check_modules(systemd REQUIRED IMPORTED_TARGET libsystemd>=252)
pkg_check_modules(smartcols REQUIRED IMPORTED_TARGET smartcols)
pkg_check_modules(opus REQUIRED IMPORTED_TARGET opus>=1.3)
pkg_check_modules(spandsp REQUIRED IMPORTED_TARGET spandsp)
pkg_check_modules(speex REQUIRED IMPORTED_TARGET speex)
pkg_check_modules(bcg729 REQUIRED IMPORTED_TARGET libbcg729)
pkg_check_modules(amrnb REQUIRED IMPORTED_TARGET opencore-amrnb)
pkg_check_modules(amrwb REQUIRED IMPORTED_TARGET opencore-amrwb)
pkg_check_modules(mpg123 REQUIRED IMPORTED_TARGET libmpg123)
pkg_check_modules(flac REQUIRED IMPORTED_TARGET flac>=1.4)
pkg_check_modules(vorbis REQUIRED IMPORTED_TARGET vorbis>=1.3.7)
pkg_check_modules(ogg REQUIRED IMPORTED_TARGET ogg>=1.3)
pkg_check_modules(lame REQUIRED IMPORTED_TARGET lame>=3.100)
pkg_check_modules(amrwbenc REQUIRED IMPORTED_TARGET vo-amrwbenc) # tests only
pkg_check_modules(vorbisenc REQUIRED IMPORTED_TARGET vorbisenc) # tests only
pkg_check_modules(srtp REQUIRED IMPORTED_TARGET libsrtp2>=2.5)
pkg_check_modules(argon2 REQUIRED IMPORTED_TARGET libargon2)
pkg_check_modules(isal REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(p11 REQUIRED IMPORTED_TARGET p11-kit-1) # its headers of PKCS#11 only
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka>=1.1.5)

pkg_check_modules(raft REQUIRED IMPORTED_TARGET raft)
if(raft_VERSION VERSION_LESS 0.22)
    message(FATAL_ERROR "libraft ${raft_VERSION} is too old: before 0.17 a leader commits entries of old "
        "terms by counting replicas (Raft, section 5.4.2, Figure 8), so an acknowledged entry can be lost. "
        "Run ops/packages: it installs libraft 0.22 from bookworm-backports.")
endif()
# Within the program, so that its checksum can be another (decision 0116, raft/catalog/crc.c). ThreadSanitizer
# is told by the name of the library whose threads it does not see: there it stays one.
if(NOT ET_SANITIZE MATCHES thread)
    pkg_check_modules(lz4 REQUIRED IMPORTED_TARGET liblz4)
    find_library(RAFT_ARCHIVE libraft.a REQUIRED HINTS ${raft_LIBRARY_DIRS})
    set_target_properties(PkgConfig::raft PROPERTIES
        INTERFACE_LINK_LIBRARIES "${RAFT_ARCHIVE};PkgConfig::uv;PkgConfig::lz4"
        INTERFACE_COMPILE_DEFINITIONS ET_RAFT_LINKED_IN # the test of crc.c asks libraft's own, too
        INTERFACE_LINK_OPTIONS "LINKER:--wrap=byteCrc32;LINKER:--undefined=__wrap_byteCrc32")
endif()

find_path(S3_INCLUDE_DIR libs3.h REQUIRED) # libs3-dev has no .pc
find_library(S3_LIBRARY s3 REQUIRED)
find_path(GSM_INCLUDE_DIR gsm.h REQUIRED) # nor has libgsm1-dev
find_library(GSM_LIBRARY gsm REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
