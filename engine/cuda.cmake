# SPDX-License-Identifier: Apache-2.0
# The cuda backend, and the float opponents on the GPU, are built when nvcc is there; without it absent.cpp says so and
# the program runs on the CPU.
# nvcc is called directly instead of through CMake's CUDA language: CMake 3.25 knows no -std=c++20 for it, and that
# language would have to be enabled for every program that links the engine. The program links CUDA's static runtime and
# nothing of the driver, so it starts on any machine.
set(cuda_dir ${CMAKE_CURRENT_SOURCE_DIR}/backends)
set(cuda_least_version 12.5)
set(cuda_found FALSE)
if(NOT IVIT_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit ${cuda_least_version} QUIET)
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE)
    set(cuda_found TRUE)
  elseif(IVIT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "IVIT_CUDA=ON, but there is no CUDA toolkit ${cuda_least_version} or later with nvcc")
  endif()
endif()
if(NOT cuda_found)
  message(STATUS "cuda backend: left out (IVIT_CUDA=${IVIT_CUDA}, nvcc ${cuda_least_version} or later not used)")
  target_sources(ivit_engine PRIVATE ${cuda_dir}/cuda/absent.cpp ${cuda_dir}/cuda_float/absent.cpp)
  return()
endif()

# 90a has instructions of its own (wgmma); the PTX serves what comes after it.
set(IVIT_CUDA_ARCHITECTURES "75;80;86;89;90a;90-virtual" CACHE STRING "What the CUDA kernels are compiled for")
set(cuda_flags -std=c++20 -O3 -I${CMAKE_SOURCE_DIR} -Xcompiler=-Wall,-Wextra)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND cuda_flags -ccbin ${CMAKE_CXX_COMPILER})
endif()
if(IVIT_WERROR)
  list(APPEND cuda_flags -Werror all-warnings)
endif()
foreach(arch ${IVIT_CUDA_ARCHITECTURES})
  if(arch MATCHES "^(.+)-virtual$")
    list(APPEND cuda_flags -gencode arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
  else()
    list(APPEND cuda_flags -gencode arch=compute_${arch},code=sm_${arch})
  endif()
endforeach()

file(GLOB cuda_host CONFIGURE_DEPENDS ${cuda_dir}/cuda/*.cpp ${cuda_dir}/cuda_float/*.cpp)
list(FILTER cuda_host EXCLUDE REGEX "absent\\.cpp$")
foreach(part cuda cuda_float)
  file(GLOB cuda_kernels CONFIGURE_DEPENDS ${cuda_dir}/${part}/*.cu)
  set(${part}_objects)
  foreach(source ${cuda_kernels})
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${part}/${name}.o)
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${CUDAToolkit_NVCC_EXECUTABLE} ${cuda_flags} -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source}
      DEPFILE ${object}.d
      COMMENT "nvcc ${part}/${name}"
      VERBATIM)
    list(APPEND ${part}_objects ${object})
  endforeach()
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${part})
endforeach()
target_sources(ivit_engine PRIVATE ${cuda_host} ${cuda_objects} ${cuda_float_objects})
set_source_files_properties(${cuda_objects} ${cuda_float_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
set_source_files_properties(${cuda_host} PROPERTIES INCLUDE_DIRECTORIES "${CUDAToolkit_INCLUDE_DIRS}")
target_link_libraries(ivit_engine PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
message(STATUS "cuda backend: ${CUDAToolkit_NVCC_EXECUTABLE} for ${IVIT_CUDA_ARCHITECTURES}")
set_property(TARGET ivit_engine PROPERTY CUDA_KERNEL_OBJECTS ${cuda_objects})  # the integer kernels alone
set_property(TARGET ivit_engine PROPERTY CUDA_INCLUDE ${CUDAToolkit_INCLUDE_DIRS})  # for tests
