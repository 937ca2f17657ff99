// SPDX-License-Identifier: GPL-3.0-or-later
// What an operator made of shifts does to its inputs, beside the function it stands for. Pure functions of
// values.
#pragma once
#include <string>
#include <vector>

#include "engine/quantized_model.h"
#include "engine/trace.h"

// One curve. All vectors are as long as x, which ascends; empty: there is none.
struct OperatorCurve {
    std::string integer_name, exact_name;  // "Shiftmax's exponential", "exp"
    std::vector<double> x;  // the input as a real number; of softmax: logit minus the row's greatest
    std::vector<double> integer, exact;  // the operator by shifts, the function itself
    std::vector<double> count;           // how many inputs of this very picture fall there
    double worst = 0;                    // greatest |integer - exact| where there are inputs
    double rms = 0;                      // root mean square of integer - exact over all inputs
    int64_t i0 = 1;                      // the integer that stands for 1 (engine/arithmetic.md, Shiftmax)
    ivit::ShiftParams shift;
    bool by_shifts = true;  // false: the node runs in its exact or float mode, and integer is empty
    bool empty() const { return x.empty(); }
};

// node: a softmax (its exponential, before the division; inputs of `head`) or a gelu node (its whole
// function, before the output's rounding; with the row pivot: as in the row of `token`). Any other node, or
// one whose input was not kept: empty. t must be an integer trace of m.
OperatorCurve operator_curve(const ivit::QuantizedModel& m, const ivit::Trace& t, int node, int head,
                             int token);

// The softmax or gelu node that belongs to `node`: itself, else that of its half of the block; -1: none.
int operator_of(const ivit::Graph& g, int node);
