# libdcnn_fast, its header, its CMake package and its pkg-config file. They are installed into dcnn_fast/c for Python's package
# and below the prefix otherwise; both trees can be moved as a whole.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(DCNN_PYTHON)
  set(c_include dcnn_fast/c/include)
  set(c_lib dcnn_fast/c/lib)
else()
  set(c_include ${CMAKE_INSTALL_INCLUDEDIR})
  set(c_lib ${CMAKE_INSTALL_LIBDIR})
endif()

add_library(c_library SHARED ${CAPI} $<TARGET_OBJECTS:engine>)
dcnn_configure(c_library)
dcnn_configure_c(c_library)
target_link_options(c_library PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/symbols.map)
set_target_properties(c_library PROPERTIES OUTPUT_NAME dcnn_fast EXPORT_NAME dcnn_fast CXX_VISIBILITY_PRESET hidden
                      VISIBILITY_INLINES_HIDDEN ON SOVERSION 0 LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/symbols.map)
if(NOT DCNN_PYTHON)  # wheels cannot hold links
  set_target_properties(c_library PROPERTIES VERSION ${DCNN_VERSION})
endif()

install(TARGETS c_library LIBRARY DESTINATION ${c_lib})
install(FILES include/dcnn_fast.h DESTINATION ${c_include})

# Relative paths between installed files, so that the folder can be moved.
set(cmake_folder ${c_lib}/cmake/dcnn_fast)
file(RELATIVE_PATH cmake_to_include /${cmake_folder} /${c_include})
file(RELATIVE_PATH cmake_to_lib /${cmake_folder} /${c_lib})
file(RELATIVE_PATH pc_to_include /${c_lib}/pkgconfig /${c_include})
set(library_file ${CMAKE_SHARED_LIBRARY_PREFIX}dcnn_fast${CMAKE_SHARED_LIBRARY_SUFFIX}.0)
configure_file(${CMAKE_CURRENT_LIST_DIR}/dcnn_fast-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/dcnn_fast-config.cmake @ONLY)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/dcnn_fast-config-version.cmake VERSION ${DCNN_VERSION}
                                 COMPATIBILITY SameMinorVersion)
configure_file(${CMAKE_CURRENT_LIST_DIR}/dcnn_fast.pc.in ${CMAKE_CURRENT_BINARY_DIR}/dcnn_fast.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dcnn_fast-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/dcnn_fast-config-version.cmake
        DESTINATION ${cmake_folder})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dcnn_fast.pc DESTINATION ${c_lib}/pkgconfig)
