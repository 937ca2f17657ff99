// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/workbench_parts.h"

Prediction prediction(const ivit::Trace& t, const ivit::ModelInfo& info) {
    const std::vector<int> top = ivit::top_k(t, 0, 1);
    const std::vector<double> p = ivit::probabilities(t, 0);
    const size_t best = top.empty() ? 0 : static_cast<size_t>(top.front());
    const QString label =
        best < info.labels.size() ? QString::fromStdString(info.labels[best]) : QString::number(best);
    return {label, best < p.size() ? p[best] : 0};
}

const ivit::ModelInfo& info_of(const ivit::Result& r) {
    return r.request->model ? r.request->model->info : r.request->quantized->info;
}

QString sentence(const ivit::Error& e) {
    QString text = QString::fromUtf8(e.what());
    if (!e.hint().empty()) text += QStringLiteral(" — ") + QString::fromStdString(e.hint());
    return text;
}
