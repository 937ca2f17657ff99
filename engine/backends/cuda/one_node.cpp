// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/one_node.h"

#include <algorithm>

#include "engine/backends/integer_node.h"

namespace ivit::cuda {
namespace {

size_t count_of(const Node& node) { return static_cast<size_t>(elements(node.shape)); }

}  // namespace

void GiveBack::operator()(DeviceBuffer* buffer) const {
    to->give_back(std::unique_ptr<DeviceBuffer>(buffer));
}

Wide WideBuffers::take(size_t count) {
    const size_t bytes = std::max<size_t>(4, count * sizeof(int32_t));
    const auto found = free_.find(bytes);
    if (found == free_.end()) return Wide({std::make_unique<DeviceBuffer>(bytes).release(), GiveBack{this}});
    Wide wide({found->second.release(), GiveBack{this}});
    free_.erase(found);
    return wide;
}

void WideBuffers::give_back(std::unique_ptr<DeviceBuffer> buffer) {
    const size_t bytes = buffer->bytes();
    free_.emplace(bytes, std::move(buffer));
}

Wide OneNode::output_of(int node_) { return buffers_.take(count_of(node(node_))); }

Wide OneNode::send(const IntTensor& tensor) {
    Wide wide = buffers_.take(tensor.data.size());
    IVIT_CUDA_CHECK(cudaMemcpyAsync(data(wide), tensor.data.data(), tensor.data.size() * sizeof(int32_t),
                                    cudaMemcpyHostToDevice, at_.stream));
    return wide;
}

void OneNode::fetch(const int32_t* from, int32_t* to, size_t count) const {
    IVIT_CUDA_CHECK(cudaMemcpyAsync(to, from, count * sizeof(int32_t), cudaMemcpyDeviceToHost, at_.stream));
    IVIT_CUDA_CHECK(cudaStreamSynchronize(at_.stream));
}

void OneNode::run(int i, const std::vector<const int32_t*>& in, std::span<const uint8_t> pixels,
                  const uint8_t* pixels_on_gpu, int32_t* out) const {
    if (quant(i).quant.mode == Mode::integer)
        run_integer(i, in, pixels_on_gpu, out);
    else
        run_on_host(i, in, pixels, out);
}

void OneNode::run_integer(int i, const std::vector<const int32_t*>& in, const uint8_t* pixels,
                          int32_t* out) const {
    const Node& n = node(i);
    const QuantNode& q = quant(i);
    const PackedNode& d = *packed_[static_cast<size_t>(i)];
    // Rows of the node's matrix; of logits, probabilities and GELU all that there are.
    const int32_t rows = static_cast<int32_t>(n.rows()), cols = static_cast<int32_t>(n.cols()),
                  all_rows = static_cast<int32_t>(elements(n.shape)) / cols;
    switch (n.op) {
        case Op::input:
            return plain::input(pixels, d.table, static_cast<int32_t>(n.shape.back()), out, at_);
        case Op::patch_embed:
        case Op::linear:
        case Op::head:
            return run_product(i, in[0], out);
        case Op::pos_embed:
            return plain::pos_embed(in[0], d.constant, d.out.stride, rows, cols, q.out.bits, out, at_);
        case Op::layernorm:
            return plain::layernorm(in[0], rows, cols, d.m, d.B, d.s, q.out.bits, out, at_);
        case Op::attn_logits:
            return plain::attn_logits(in[0], rows, static_cast<int32_t>(node(n.inputs[0]).cols()) / 3,
                                      n.heads, q.m[0], q.s[0], q.out.bits, out, at_);
        case Op::softmax:
            return plain::softmax(in[0], all_rows, cols, {q.i0, q.quant.shift}, out, at_);
        case Op::attn_context:
            return plain::attn_context(in[0], in[1], rows, cols, n.heads, q.m[0], q.s[0], q.out.bits, out,
                                       at_);
        case Op::gelu:
            return plain::gelu(in[0], all_rows, cols, {q.i0, q.quant.shift}, q.m[0], q.s[0], q.out.bits, out,
                               at_);
        case Op::residual_add:
            return plain::residual_add(in[0], in[1], rows, cols, d.m, d.s, q.mt, q.st, q.out.bits, out, at_);
    }
}

void OneNode::run_product(int i, const int32_t* in, int32_t* out) const {
    const Node& n = node(i);
    const PackedNode& d = *packed_[static_cast<size_t>(i)];
    plain::Product p;
    p.in = in;
    p.out = out;
    p.w = d.w;
    p.ldw = d.ldw;
    p.rows = static_cast<int32_t>(n.rows());
    p.layout_in = d.in;
    p.layout_out = d.out;
    p.bias = d.bias;
    p.m = d.m;
    p.s = d.s;
    p.bits = n.op == Op::head ? 32 : quant(i).out.bits;
    p.to_residual = n.to_residual;
    if (n.op == Op::patch_embed) {
        p.patch = n.patch;
        p.side = static_cast<int32_t>(node(n.inputs[0]).shape.back());
    }
    plain::product(p, at_);
}

void OneNode::run_on_host(int i, const std::vector<const int32_t*>& in, std::span<const uint8_t> pixels,
                          int32_t* out) const {
    std::vector<IntTensor> tensors;
    for (size_t j = 0; j < in.size(); ++j) {
        const int from = node(i).inputs[j];
        IntTensor t{node(from).shape, std::vector<int32_t>(count_of(node(from))), quant(from).out};
        fetch(in[j], t.data.data(), t.data.size());
        tensors.push_back(std::move(t));
    }
    std::vector<const IntTensor*> pointers;
    for (const IntTensor& t : tensors) pointers.push_back(&t);
    const IntTensor result = run_non_integer(model_, i, pointers, pixels);
    IVIT_CUDA_CHECK(cudaMemcpyAsync(out, result.data.data(), result.data.size() * sizeof(int32_t),
                                    cudaMemcpyHostToDevice, at_.stream));
    IVIT_CUDA_CHECK(cudaStreamSynchronize(at_.stream));
}

}  // namespace ivit::cuda
