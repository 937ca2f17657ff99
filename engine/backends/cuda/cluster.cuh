// SPDX-License-Identifier: Apache-2.0
// Clusters: blocks that run at the same time and can write to each other's shared memory. sm_90 and later.
#pragma once
#include <cstdint>

#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

// All of a cluster's blocks have greeted where one has met them: they run then, so that their shared memory
// can be written to, and their barriers are set up (show_barriers). A greeting waits for nothing that is on
// its way.
__device__ __forceinline__ void greet_cluster() {
    __syncwarp();
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void meet_cluster() {
    __syncwarp();
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// The same place in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ uint32_t in_block(uint32_t address, int rank) {
    uint32_t there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}
// A store that counts its bytes at a barrier of the block it goes to, once it has arrived.
__device__ __forceinline__ void send(uint32_t there, uint32_t barrier, uint4 v) {
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::
            "r"(there),
        "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(barrier)
        : "memory");
}

#endif

}  // namespace ivit::cuda
