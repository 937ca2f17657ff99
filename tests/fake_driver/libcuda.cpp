// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 that fails as the environment says, so that machines without an NVIDIA driver can test what
// the programs say to one that is too old, has no device, or does not fit its kernel module. CUDA's runtime
// finds it by LD_LIBRARY_PATH. It cannot do more than fail: nothing runs on it.
//   IVIT_FAKE_DRIVER_VERSION  the CUDA version it says it knows, 11040 for 11.4 (default: 99000)
//   IVIT_FAKE_DRIVER_INIT     what cuInit returns (default: 100, no device)
#include <cstdlib>
#include <cstring>

extern "C" {

int cuInit(unsigned) {
    const char* code = std::getenv("IVIT_FAKE_DRIVER_INIT");
    return code ? std::atoi(code) : 100;
}
int cuDriverGetVersion(int* version) {
    const char* v = std::getenv("IVIT_FAKE_DRIVER_VERSION");
    *version = v ? std::atoi(v) : 99000;
    return 0;
}
// Everything else: CUDA_ERROR_UNKNOWN.
int anything_else() { return 999; }

int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long, int* status) {
    if (!std::strcmp(name, "cuInit"))
        *function = reinterpret_cast<void*>(cuInit);
    else if (!std::strcmp(name, "cuDriverGetVersion"))
        *function = reinterpret_cast<void*>(cuDriverGetVersion);
    else if (!std::strcmp(name, "cuGetProcAddress"))
        *function = reinterpret_cast<void*>(cuGetProcAddress_v2);
    else
        *function = reinterpret_cast<void*>(anything_else);
    if (status) *status = 0;
    return 0;
}
int cuGetProcAddress(const char* name, void** function, int version, unsigned long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
}
