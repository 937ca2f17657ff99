// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/run_again.h"

ivit::Calibration own_calibration(const ivit::Model& model, ivit::Network& floats, const ivit::Pixels& pixels,
                                  const ivit::Calibration& like, int threads, std::stop_token stop) {
    ivit::Calibration own = ivit::calibrate_on_picture(
        model, pixels, threads, [&](int64_t, int64_t) { return !stop.stop_requested(); }, &floats);
    own.method = like.method;
    own.source = like.source;
    return own;
}

std::shared_ptr<const ivit::Result> run_again(ivit::Session& session, const ivit::Result& before,
                                              const ivit::Result& now, std::stop_token stop) {
    ivit::Request request = *before.request;
    request.pixels = now.request->pixels;
    request.picture = now.request->picture;
    std::shared_ptr<const ivit::QuantizedModel> model = before.comparison.model;
    const bool own_ranges = model->calibration.from_input;
    ivit::Networks networks = session.networks(request, own_ranges ? nullptr : model);
    if (own_ranges) {
        // The picture's own ranges, which the present result was quantized with unless it had a calibration.
        const ivit::Calibration& present = now.comparison.model->calibration;
        if (present.from_input)
            model = ivit::quantize(request.model, present, request.config);
        else
            model = ivit::quantize(request.model,
                                   own_calibration(*request.model, *networks.floats, request.pixels,
                                                   model->calibration, request.threads, stop),
                                   request.config);
        networks.integers = networks.backend->load(model);
    }
    if (stop.stop_requested()) throw ivit::Cancelled();
    auto result = std::make_shared<ivit::Result>();
    result->id = before.id;
    result->comparison = ivit::compare(*networks.floats, *networks.integers, request.pixels,
                                       now.comparison.float_trace, true, stop);
    result->backend = networks.backend->info();
    result->gpu_absent = networks.gpu_absent.empty() ? result->backend.gpu_lost : networks.gpu_absent;
    result->float_ms = now.float_ms;
    result->integer_ms = result->comparison.integer_trace->ms;
    result->complete = true;
    result->request = std::make_shared<const ivit::Request>(std::move(request));
    return result;
}
