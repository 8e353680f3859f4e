# Included by the project's CMakeLists.txt (CMAKE_PROJECT_dcnn_fast_INCLUDE): the engine with its usual flags, and the trap.
set(AMX_TRAP ${CMAKE_CURRENT_LIST_DIR}/trap.cpp)
set_source_files_properties(csrc/cpu/cpu_features.cpp PROPERTIES
                            COMPILE_DEFINITIONS "features=detected_features;tiles_granted=os_grants_tiles")
set_source_files_properties(${AMX_TRAP} PROPERTIES COMPILE_OPTIONS "-mavx512f;-mfma")
cmake_language(DEFER CALL target_sources _engine PRIVATE ${AMX_TRAP})
