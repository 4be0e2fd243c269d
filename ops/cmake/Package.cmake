# The Debian package (CPack): what goes where, and with which modes. `ops/package` builds it.
include(GNUInstallDirs)

set(ET_PACKAGE_REVISION 1 CACHE STRING "Debian revision of the package")
set(packaging "${PROJECT_SOURCE_DIR}/ops/packaging")
set(made "${PROJECT_BINARY_DIR}/packaging")
file(MAKE_DIRECTORY "${made}")

# ---- What is made: manual pages and completion, from the command table and the configuration's defaults ----
configure_file("${packaging}/changelog.in" "${made}/changelog.Debian" @ONLY)
configure_file("${packaging}/evertaped.8" "${made}/evertaped.8" @ONLY)
add_custom_command(OUTPUT "${made}/evertape.1.gz" "${made}/evertape.yaml.5.gz" "${made}/evertaped.8.gz"
        "${made}/changelog.Debian.gz" "${made}/evertape.bash" "${made}/_evertape" "${made}/evertape.fish"
    COMMAND evertape man > evertape.1
    COMMAND evertape man evertape.yaml > evertape.yaml.5
    COMMAND gzip -9nkf evertape.1 evertape.yaml.5 evertaped.8 changelog.Debian
    COMMAND evertape completion bash > evertape.bash
    COMMAND evertape completion zsh > _evertape
    COMMAND evertape completion fish > evertape.fish
    DEPENDS evertape "${made}/changelog.Debian" "${made}/evertaped.8"
    WORKING_DIRECTORY "${made}" VERBATIM)
add_custom_target(package_files DEPENDS "${made}/evertape.1.gz" evertaped evertape)

# ---- Where it goes ----
install(TARGETS evertaped RUNTIME DESTINATION sbin)
install(TARGETS evertape RUNTIME DESTINATION bin)
install(FILES "${packaging}/evertaped.service" DESTINATION /lib/systemd/system)
install(FILES "${packaging}/evertape.sysusers" DESTINATION lib/sysusers.d RENAME evertape.conf)
install(FILES "${packaging}/evertape.tmpfiles" DESTINATION lib/tmpfiles.d RENAME evertape.conf)
install(FILES "${packaging}/evertape.yaml" DESTINATION /etc/evertape PERMISSIONS OWNER_READ OWNER_WRITE)
install(FILES "${made}/evertape.1.gz" DESTINATION share/man/man1)
install(FILES "${made}/evertape.yaml.5.gz" DESTINATION share/man/man5)
install(FILES "${made}/evertaped.8.gz" DESTINATION share/man/man8)
install(FILES "${made}/evertape.bash" DESTINATION share/bash-completion/completions RENAME evertape)
install(FILES "${made}/_evertape" DESTINATION share/zsh/vendor-completions)
install(FILES "${made}/evertape.fish" DESTINATION share/fish/vendor_completions.d)
install(FILES "${packaging}/evertape.lintian-overrides" DESTINATION share/lintian/overrides RENAME evertape)
install(FILES "${packaging}/copyright" "${packaging}/README.Debian" "${made}/changelog.Debian.gz"
    "${PROJECT_SOURCE_DIR}/ops/doc/deploy.md" DESTINATION share/doc/evertape)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/ops/doc/runbooks" "${PROJECT_SOURCE_DIR}/ops/monitoring"
    DESTINATION share/doc/evertape FILES_MATCHING PATTERN "*.md" PATTERN "*.yml" PATTERN "*.json")

# ---- The package ----
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON) # not the tests: ops/package builds what is installed
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME evertape)
set(CPACK_PACKAGE_VENDOR evertape)
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_SOURCE_DIR}/build/package")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE "${ET_PACKAGE_REVISION}")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "evertape maintainers <maintainers@evertape.example>")
set(CPACK_DEBIAN_PACKAGE_SECTION comm)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE "https://evertape.example/")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "call-recording cluster: daemon and administration")
set(CPACK_PACKAGE_DESCRIPTION "Records calls (SIP and RTP) from a mirror port on every node, replicates
metadata and keys through Raft, moves recordings to other sites over TLS,
and archives them, still encrypted, to S3 or a folder.
.
This package holds the daemon evertaped with its hardened service, and the
administration command evertape.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd, init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "alsa-utils, chrony, opensc, prometheus-node-exporter")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(WRITE "${made}/conffiles" "/etc/evertape/evertape.yaml\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${packaging}/postinst;${packaging}/prerm;${packaging}/postrm;${made}/conffiles")
include(CPack)
