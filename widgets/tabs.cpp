// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tabs.h"

#include "widgets/attention_view.h"
#include "widgets/causes_view.h"
#include "widgets/distribution_view.h"
#include "widgets/latency_view.h"
#include "widgets/lens_view.h"
#include "widgets/operator_view.h"
#include "widgets/tensor_view.h"
#include "widgets/workbench.h"

std::vector<View*> make_tabs(Workbench& bench) {
    return {
        new AttentionView(bench.selection()),
        new TensorView(bench.selection()),
        new DistributionView(bench.selection()),
        new LatencyView(bench),
        new OperatorView(bench.selection()),
        new LensView(bench.selection()),
        new CausesView(bench),
    };
}
