# Everything here is a package of the distribution (./setup installs them), except LibTorch, which is found through
# CMAKE_PREFIX_PATH or in the local environment that ./setup makes.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
# LibTorch carries the headers of another fmt, which would be found first: everything of ours is compiled against the
# library that it is linked with (header-only, each file would compile fmt's number formatting anew: half of its time).
get_target_property(GRAFT_FMT_HEADERS fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET GRAFT_FMT_HEADERS 0 GRAFT_FMT_HEADERS)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
file(CREATE_LINK ${GRAFT_FMT_HEADERS}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc icu-i18n)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)

# Apache Arrow's libraries for C++ are in its wheel for Python, which ./setup puts beside LibTorch's.
set(GRAFT_ARROW "")
if(GRAFT_PARQUET)
  file(GLOB arrow_found ${CMAKE_SOURCE_DIR}/.deps/torch/lib/python3*/site-packages/pyarrow/include/parquet/arrow/reader.h)
  foreach(header IN LISTS arrow_found)
    string(REGEX REPLACE "/include/parquet/arrow/reader.h$" "" GRAFT_ARROW ${header})
  endforeach()
  if(GRAFT_ARROW)
    file(GLOB GRAFT_ARROW_LIBRARIES ${GRAFT_ARROW}/libparquet.so* ${GRAFT_ARROW}/libarrow.so*)
  else()
    message(NOTICE "graft: built without Parquet: no pyarrow in .deps/torch (./setup brings it)")
  endif()
endif()

if(GRAFT_TORCH)
  if(NOT Torch_DIR)
    file(GLOB local_torch ${CMAKE_SOURCE_DIR}/.deps/torch/lib/python3*/site-packages/torch/share/cmake)
    list(APPEND CMAKE_PREFIX_PATH ${local_torch})
  endif()
  find_package(Torch REQUIRED)
  # at::parallel_for is a template: compiled without OpenMP, it runs on the calling thread alone.
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
