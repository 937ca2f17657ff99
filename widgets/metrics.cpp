// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/metrics.h"

#include <map>
#include <string>

#include "widgets/numbers.h"

namespace metrics {

namespace {

const std::map<std::string, QString> definitions = {
    {"probability",
     "Softmax of the logits, computed in double precision for display. The integer network decides on its "
     "integer logits; no float takes part in that. From the logits of the picture shown."},
    {"margin",
     "Probability of the first class minus that of the second: how far the answer is from changing. From "
     "the logits of the picture shown."},
    {"agreement",
     "Whether both networks put the same class first (top-1). From the logits of the picture shown."},
    {"kl_logits",
     "KL(float || integer) of the class probabilities, in nats. 0: the same distribution. From both "
     "networks on the picture shown (engine/compare.h)."},
    {"sqnr_logits",
     "SQNR of the logits in dB: 20 log10(|fp| / |fp − q|). From both networks on the picture shown "
     "(engine/compare.h)."},
    {"kl_attention",
     "KL(softmax || Shiftmax) of the row shown, in nats: what the reader of this row loses. From the taps "
     "of the picture shown, both rows normalised."},
    {"top_overlap",
     "How many of the five tokens that softmax attends to most are among Shiftmax's five. From the taps of "
     "the picture shown."},
    {"worst_alone",
     "The node that adds the most error by itself: the least isolated SQNR (the node in integers on the "
     "float network's inputs). From both networks on the picture shown (engine/compare.h). Click to select "
     "it everywhere."},
    {"causes",
     "One thing changed at a time, the integers run again, and the SQNR of the logits taken anew: what "
     "every kind of rounding costs in the whole network, every block, and each of the noisiest nodes. From "
     "runs on the picture shown (engine/report/causes.h)."},
    {"logit_lens",
     "The logit lens (nostalgebraist 2020): the last LayerNorm and the head, in float, applied to the class "
     "token of every block's output, so that one sees the answer take shape and where the integers leave "
     "it. From both networks' taps of the picture shown (widgets/logit_lens.h)."},
    {"row_sum",
     "Sum of the row's probabilities. Softmax gives 1; Shiftmax truncates and may miss it. From the taps of "
     "the picture shown."},
    {"rollout",
     "Attention rollout (Abnar & Zuidema 2020): heads fused, identity added for the residual path, rows "
     "normalised, layers multiplied. The discard ratio drops the weakest entries of each layer first. From "
     "every softmax of the picture shown."},
    {"shiftmax.n",
     "n: how far Shiftmax's exponential reaches. Values below 2^-n become zero (I-ViT, section 3.3)."},
    {"shiftmax.k",
     "k: bits of the attention probabilities that Shiftmax puts out. (engine/arithmetic.md, Shiftmax)"},
    {"shiftmax.M",
     "M: bits of the division 2^M / sum. 31 as published; 47 keeps the row sums at 1. "
     "(engine/arithmetic.md, Shiftmax)"},
    {"shiftmax.t",
     "t: bits by which the logits are shifted up first, so that I0 rounds finely. 0 as published. "
     "(engine/arithmetic.md, Shiftmax)"},
    {"shiftgelu.n", "n: how far the exponential inside ShiftGELU's sigmoid reaches (I-ViT, section 3.3)."},
    {"shiftgelu.k", "k: bits of the sigmoid. (engine/arithmetic.md, ShiftGELU)"},
    {"shiftgelu.M", "M: bits of the division 2^M / d. 31 as published. (engine/arithmetic.md, ShiftGELU)"},
    {"shiftgelu.t",
     "t: bits by which the input is shifted up first. 0 as published. (engine/arithmetic.md, ShiftGELU)"},
    {"shiftgelu.pivot",
     "The value the exponentials are taken relative to: the row's maximum (as published), or max(0, x) of "
     "each value (zero pivot), which has no row to lose its small values in. (engine/arithmetic.md, "
     "ShiftGELU)"},
    {"operator_curve",
     "What the operator made of shifts puts out, beside the function it stands for, in real units; grey: "
     "how many of this picture's inputs fall there. Computed from the node's own integers, I0 and "
     "parameters (engine/arithmetic.md, Shiftmax and ShiftGELU; I-ViT, sections 3.3 and 3.4)."},
    {"weight",
     "Bits of the weights, symmetric, one scale per output channel. 2 to 8. (engine/arithmetic.md, Linear, "
     "patch embedding)"},
    {"activation",
     "Bits of the integers a node puts out, symmetric, one scale per tensor. 4 to 8. (engine/arithmetic.md, "
     "Widths)"},
    {"residual",
     "Bits of the residual stream, 8 to 16. An 8-bit one destroys a ViT. (engine/arithmetic.md, Widths)"},
    {"logits",
     "Bits of the attention logits that Shiftmax reads, 4 to 16. 8 by default, whatever the activations "
     "have."},
    {"mode",
     "integer: shifts and adds only. exact: the true softmax, GELU or LayerNorm on integer data. float: the "
     "node in FP32, rounded to its output grid. (engine/quant_config.h)"},
    {"latency",
     "Wall time of one run, pixels to logits, after warm-up; median, and the 95th percentile beside it. "
     "From runs timed in the background on this machine."},
    {"speedup",
     "Median of the float network over median of the integer network, same machine, same threads, same "
     "batch. While other programs disturb the clock it is marked ≈ and taken of the fastest runs. From runs "
     "timed in the background on this machine."},
};

}  // namespace

const std::vector<Metric>& all() {
    static const std::vector<Metric> list = {
        {Id::sqnr_cumulative, "SQNR",
         "Signal to quantization noise, cumulative: 20 log10(|fp| / |fp − q|) in dB of this node's output, "
         "integer network against float network, with every error made upstream in it. 6 dB is one bit. "
         "Capped at 150 dB (\"exact\"). From both networks on the picture shown (engine/compare.h).",
         true, false},
        {Id::sqnr_isolated, "isolated",
         "SQNR of this node alone (layer-wise): the node in integers on the float network's inputs, "
         "quantized. What it adds by itself, with none of the errors made before it. From both networks on "
         "the picture shown (engine/compare.h).",
         true, false},
        {Id::cosine, "cosine",
         "Cosine similarity of the node's integer output (as real values) and the float output, both "
         "flattened, cumulative. 1 is the same direction; it does not see a wrong length. From both "
         "networks on the picture shown (engine/compare.h).",
         true, false},
        {Id::mse, "MSE",
         "Mean squared error of the node's output, cumulative, in squared units of the activation itself. "
         "From both networks on the picture shown (engine/compare.h).",
         false, true},
        {Id::max_abs_error, "max error",
         "Greatest absolute error of any single value of the node's output, cumulative. From both networks "
         "on the picture shown (engine/compare.h).",
         false, true},
        {Id::saturation, "saturated",
         "Share of the output's integers that sit at a clamp limit of their grid. Nothing clamps where it "
         "says —. From both networks on the picture shown (engine/compare.h).",
         false, false},
        {Id::range_used, "range used",
         "Greatest |integer| of the output over the greatest integer of its grid. Far below 100 %: the "
         "scale wastes bits. From both networks on the picture shown (engine/compare.h).",
         true, false},
        {Id::row_sum, "row sum",
         "Softmax nodes: the greatest distance of an attention row's sum from 1. Shiftmax's integer "
         "division truncates. From both networks on the picture shown (engine/compare.h).",
         false, true},
        {Id::integer_ms, "integer time",
         "Median wall time of the node in the integer network, in milliseconds. A backend may fuse "
         "neighbours: their common time is then split evenly among them. From runs timed in the background "
         "on this machine.",
         false, true},
        {Id::float_ms, "float time",
         "Median wall time of the node in the FP32 network, in milliseconds. From runs timed in the "
         "background on this machine.",
         false, true},
    };
    return list;
}

const Metric& metric(Id id) { return all()[static_cast<size_t>(id)]; }

std::optional<double> value(Id id, const ivit::NodeError* cumulative, const ivit::NodeError* isolated) {
    if (id == Id::sqnr_isolated) return isolated ? std::optional(isolated->sqnr_db) : std::nullopt;
    if (!cumulative) return std::nullopt;
    const bool clamps = cumulative->bits > 0 && cumulative->bits < 32;
    switch (id) {
        case Id::sqnr_cumulative:
            return cumulative->sqnr_db;
        case Id::cosine:
            return cumulative->cosine;
        case Id::mse:
            return cumulative->mse;
        case Id::max_abs_error:
            return cumulative->max_abs_error;
        case Id::saturation:
            return clamps ? std::optional(cumulative->saturation) : std::nullopt;
        case Id::range_used:
            return clamps ? std::optional(cumulative->range_used) : std::nullopt;
        case Id::row_sum:
            return cumulative->kl_per_head.empty() ? std::nullopt : std::optional(cumulative->row_sum_error);
        default:
            return std::nullopt;
    }
}

QString text(Id id, double v) {
    switch (id) {
        case Id::sqnr_cumulative:
        case Id::sqnr_isolated:
            return numbers::decibels(v);
        case Id::cosine:
            return QString::number(v, 'f', 5);
        case Id::saturation:
        case Id::range_used:
            return numbers::percent(v);
        case Id::integer_ms:
        case Id::float_ms:
            return numbers::milliseconds(v);
        default:
            return numbers::significant(v);
    }
}

QString define(const char* quantity) {
    const auto it = definitions.find(quantity);
    return it == definitions.end() ? QString() : it->second;
}

}  // namespace metrics
