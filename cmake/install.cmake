# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where, the pkg-config file and the CMake package.
include(CMakePackageConfigHelpers)
install(TARGETS attar attar_static attar_cli)
install(DIRECTORY include/attar TYPE INCLUDE)
# The way from the .pc file back to the prefix, so that any --prefix of an installation works.
file(RELATIVE_PATH ATTAR_PC_TO_PREFIX /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
configure_file(cmake/attar.pc.in attar.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/attar.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_package_config_file(cmake/attarConfig.cmake.in attarConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/attar
    PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(attarConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/attarConfig.cmake ${PROJECT_BINARY_DIR}/attarConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/attar)

# The manual page and completions are written by the program itself, from its option tables.
set(generated ${PROJECT_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${generated}/attar.1 ${generated}/attar.bash
    COMMAND ${CMAKE_COMMAND} -E make_directory ${generated}
    COMMAND attar_cli help --man > ${generated}/attar.1
    COMMAND attar_cli help --completion bash > ${generated}/attar.bash
    DEPENDS attar_cli VERBATIM)
add_custom_target(attar_pages ALL DEPENDS ${generated}/attar.1 ${generated}/attar.bash)
install(FILES ${generated}/attar.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${generated}/attar.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME attar)
