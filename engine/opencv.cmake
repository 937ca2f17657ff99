# SPDX-License-Identifier: Apache-2.0
# OpenCV's libraries, one imported target each. Not find_package(OpenCV): Debian keeps OpenCVConfig.cmake in
# libopencv-dev, which would have a newcomer install every viewer and module for the three libraries used here.
find_path(OPENCV_INCLUDE_DIR opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
foreach(module core imgcodecs videoio)
  find_library(OPENCV_${module} opencv_${module})
  if(OPENCV_${module})
    add_library(opencv_${module} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(opencv_${module} PROPERTIES IMPORTED_LOCATION ${OPENCV_${module}}
                          INTERFACE_INCLUDE_DIRECTORIES ${OPENCV_INCLUDE_DIR})
  endif()
endforeach()
