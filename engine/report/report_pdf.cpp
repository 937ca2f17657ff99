// SPDX-License-Identifier: Apache-2.0
// The report as a vector PDF, A4, numbered pages, drawn with cairo.
#include <cairo-pdf.h>
#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "engine/error.h"
#include "engine/report/report.h"
#include "engine/report/report_parts.h"

namespace ivit {

namespace {

constexpr double page_w = 595.28, page_h = 841.89, margin = 48;  // points

struct Colour {
    double r, g, b;
};
constexpr Colour black{0.1, 0.12, 0.14}, dim{0.4, 0.43, 0.47}, faint{0.83, 0.85, 0.88}, blue{0, 0.447, 0.698},
    orange{0.835, 0.369, 0}, red{0.7, 0.15, 0.12};

std::string decode_data_url(const std::string& url) {
    const size_t comma = url.find(',');
    std::string bytes;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = comma == std::string::npos ? url.size() : comma + 1; i < url.size(); ++i) {
        static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const size_t digit = digits.find(url[i]);
        if (digit == std::string::npos) break;
        bits = bits << 6 | static_cast<uint32_t>(digit);
        if ((have += 6) < 8) continue;
        have -= 8;
        bytes += static_cast<char>(bits >> have & 255);
    }
    return bytes;
}

// A page to write on from top to bottom; begins a new one when what comes does not fit.
class Pages {
  public:
    Pages() {
        surface_ = cairo_pdf_surface_create_for_stream(
            [](void* to, const unsigned char* data, unsigned n) {
                static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data), n);
                return CAIRO_STATUS_SUCCESS;
            },
            &bytes_, page_w, page_h);
        cairo_ = cairo_create(surface_);
    }
    ~Pages() {
        cairo_destroy(cairo_);
        cairo_surface_destroy(surface_);
    }

    std::string finish() {
        footer();
        cairo_surface_finish(surface_);
        if (cairo_surface_status(surface_) != CAIRO_STATUS_SUCCESS) throw Error("could not draw the PDF");
        return std::move(bytes_);
    }

    double y = margin;

    // True when a new page was begun.
    bool need(double height) {
        if (y + height <= page_h - margin || y == margin) return false;
        footer();
        cairo_show_page(cairo_);
        ++page_;
        y = margin;
        return true;
    }

    void font(double size, bool bold = false) {
        cairo_select_font_face(cairo_, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                               bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
        cairo_set_font_size(cairo_, size);
    }
    void ink(Colour c, double alpha = 1) { cairo_set_source_rgba(cairo_, c.r, c.g, c.b, alpha); }

    double width(const std::string& s) {
        cairo_text_extents_t e;
        cairo_text_extents(cairo_, s.c_str(), &e);
        return e.x_advance;
    }

    // `s` cut with an ellipsis to fit `most` points. align: 0 left, 1 right of x.
    void text(double x, double at, std::string s, double most = page_w, int align = 0) {
        for (char& c : s)
            if (static_cast<unsigned char>(c) < 0x20) c = ' ';
        if (width(s) > most) {
            while (!s.empty() && width(s + "\u2026") > most) {
                while (!s.empty() && (static_cast<unsigned char>(s.back()) & 0xc0) == 0x80) s.pop_back();
                if (!s.empty()) s.pop_back();
            }
            s += "\u2026";
        }
        cairo_move_to(cairo_, align ? x - width(s) : x, at);
        cairo_show_text(cairo_, s.c_str());
        cairo_new_path(cairo_);  // the text's end is no beginning of a line
    }

    // Breaks `s` into lines of at most `most` points, inside words where one is longer than a line.
    void paragraph(double x, const std::string& s, double most, double line_height,
                   int most_lines = 1 << 30) {
        std::string line, word;
        int lines = 0;
        const auto flush = [&] {
            if (line.empty() || lines == most_lines) return;
            const bool cut = ++lines == most_lines && !word.empty();
            need(line_height);
            text(x, y + line_height * 0.75, cut ? line + " \u2026" : line, most);
            y += line_height;
            line.clear();
        };
        const auto add = [&] {
            if (!line.empty() && width(line + " " + word) > most) flush();
            while (width(word) > most) {
                std::string head;
                while (!word.empty() && width(head + word[0]) <= most) {
                    do {
                        head += word[0];
                        word.erase(0, 1);
                    } while (!word.empty() && (static_cast<unsigned char>(word[0]) & 0xc0) == 0x80);
                }
                if (head.empty()) break;
                line = head;
                flush();
            }
            if (!word.empty()) line += (line.empty() ? "" : " ") + word;
            word.clear();
        };
        for (const char c : s) {
            if (c == '\n') {
                add();
                flush();
            } else if (c == ' ') {
                add();
            } else {
                word += c;
            }
        }
        add();
        flush();
    }

    // `with`: height of what must stand on the same page below it.
    void heading(const std::string& s, double size = 13, double with = 24) {
        need(size * 2.4 + with);
        if (y > margin) y += size * 0.8;
        font(size, true);
        ink(black);
        // A long name breaks into lines, and after four of them into an ellipsis.
        const double line_height = size * 1.25;
        paragraph(margin, s, page_w - 2 * margin, line_height, 4);
        y += size * 0.35;
    }

    // The picture of a data URL, PNG, as large as the square at (x, at). What cannot be decoded is left out.
    void picture(const std::string& data_url, double x, double at, double side, double alpha = 1) {
        const std::string png = decode_data_url(data_url);
        std::pair<const std::string*, size_t> reader{&png, 0};
        cairo_surface_t* image = cairo_image_surface_create_from_png_stream(
            [](void* from, unsigned char* to, unsigned n) {
                auto& [bytes, done] = *static_cast<std::pair<const std::string*, size_t>*>(from);
                if (done + n > bytes->size()) return CAIRO_STATUS_READ_ERROR;
                std::memcpy(to, bytes->data() + done, n);
                done += n;
                return CAIRO_STATUS_SUCCESS;
            },
            &reader);
        if (cairo_surface_status(image) == CAIRO_STATUS_SUCCESS) {
            cairo_save(cairo_);
            cairo_translate(cairo_, x, at);
            cairo_scale(cairo_, side / cairo_image_surface_get_width(image),
                        side / cairo_image_surface_get_height(image));
            cairo_set_source_surface(cairo_, image, 0, 0);
            cairo_pattern_set_filter(cairo_get_source(cairo_), CAIRO_FILTER_NEAREST);
            cairo_paint_with_alpha(cairo_, alpha);
            cairo_restore(cairo_);
        }
        cairo_surface_destroy(image);
    }

    void rect(double x, double at, double w, double h) {
        cairo_rectangle(cairo_, x, at, w, h);
        cairo_fill(cairo_);
    }
    void line(double x0, double y0, double x1, double y1, double w = 0.5, bool dashed = false) {
        const double dash[] = {3, 2};
        cairo_set_dash(cairo_, dash, dashed ? 2 : 0, 0);
        cairo_set_line_width(cairo_, w);
        cairo_move_to(cairo_, x0, y0);
        cairo_line_to(cairo_, x1, y1);
        cairo_stroke(cairo_);
    }
    void polyline(const std::vector<std::pair<double, double>>& points, bool dashed) {
        const double dash[] = {3, 2};
        cairo_set_dash(cairo_, dash, dashed ? 2 : 0, 0);
        cairo_set_line_width(cairo_, 1);
        cairo_new_path(cairo_);
        for (const auto& [x, at] : points) cairo_line_to(cairo_, x, at);
        cairo_stroke(cairo_);
    }

  private:
    void footer() {
        font(8);
        ink(dim);
        text(margin, page_h - margin / 2, "I-ViT report");
        text(page_w - margin, page_h - margin / 2, std::to_string(page_), page_w, 1);
    }

    std::string bytes_;
    cairo_surface_t* surface_;
    cairo_t* cairo_;
    int page_ = 1;
};

// A table over the page's width. The first column is to the left and takes `first` points, the others are to
// the right and share the rest; the head is repeated on every page.
void table(Pages& p, const TextTable& t, double first) {
    constexpr double gap = 5, row_height = 11;
    const double each = (page_w - 2 * margin - first) / static_cast<double>(t.head.size() - 1);
    const auto line = [&](const std::vector<std::string>& cells, double at) {
        p.text(margin, at, cells[0], first - gap);
        for (size_t i = 1; i < cells.size(); ++i)
            p.text(margin + first + each * static_cast<double>(i), at, cells[i], each - gap, 1);
    };
    // Heads break at their last space: "cumulative" above "dB".
    const auto head = [&] {
        std::vector<std::string> above, below;
        for (const auto& h : t.head) {
            const size_t space = above.empty() ? std::string::npos : h.find_last_of(' ');
            above.push_back(space == std::string::npos ? "" : h.substr(0, space));
            below.push_back(space == std::string::npos ? h : h.substr(space + 1));
        }
        p.font(5.8, true);
        p.ink(dim);
        line(above, p.y + 6.5);
        line(below, p.y + 14);
        p.y += 16;
        p.ink(faint);
        p.line(margin, p.y + 1, page_w - margin, p.y + 1);
        p.y += 2;
    };
    p.need(4 * row_height);
    head();
    for (const auto& row : t.rows) {
        if (p.need(row_height)) head();
        p.font(7.5);
        p.ink(black);
        line(row, p.y + 8.5);
        p.y += row_height;
    }
}

void sqnr_plot(Pages& p, const std::vector<LayerRow>& rows) {
    const double height = 150, left = margin + 28, right = page_w - margin;
    p.need(height + 34);
    double most = 10;
    for (const auto& r : rows)
        for (const double v : {r.cumulative_db, r.isolated_db})
            if (std::isfinite(v) && v < 149) most = std::max(most, v);
    most = std::ceil(most / 10) * 10;
    const auto at = [&](size_t i, double db) {
        return std::pair(left + (right - left) * static_cast<double>(i) /
                                    static_cast<double>(std::max<size_t>(1, rows.size() - 1)),
                         p.y + height * (1 - std::clamp(db, 0.0, most) / most));
    };
    p.font(7);
    for (double db = 0; db <= most; db += most > 60 ? 20 : 10) {
        p.ink(faint);
        p.line(left, at(0, db).second, right, at(0, db).second);
        p.ink(dim);
        p.text(left - 5, at(0, db).second + 2.5, fmt::format("{:.0f}", db), 50, 1);
    }
    for (const auto& [place, block] : block_marks(rows)) {
        const double x = at(place, 0).first;
        p.ink(faint);
        p.line(x, p.y, x, p.y + height, 0.4, true);
        p.ink(dim);
        p.text(x, p.y + height + 8, block);
    }
    std::vector<std::pair<double, double>> cumulative, isolated;
    for (size_t i = 0; i < rows.size(); ++i) {
        if (std::isfinite(rows[i].cumulative_db)) cumulative.push_back(at(i, rows[i].cumulative_db));
        if (std::isfinite(rows[i].isolated_db)) isolated.push_back(at(i, rows[i].isolated_db));
    }
    p.ink(blue);
    p.polyline(isolated, true);
    p.ink(orange);
    p.polyline(cumulative, false);
    p.y += height + 20;
    p.font(7.5);
    p.text(left, p.y, "cumulative (solid)");
    p.ink(blue);
    p.text(left + 90, p.y, "isolated (dashed)");
    p.ink(dim);
    p.text(right, p.y, "dB; nodes in execution order, the numbers are blocks", 260, 1);
    p.y += 10;
}

void histograms(Pages& p, const Json& worst) {
    const double w = (page_w - 2 * margin - 20) / 2, h = 62;
    for (size_t i = 0; i < worst.size(); i += 2) {
        p.need(h + 36);
        for (size_t k = i; k < std::min(i + 2, worst.size()); ++k) {
            const double x = margin + static_cast<double>(k - i) * (w + 20), base = p.y + 14 + h;
            const Json& hist = worst[k]["histogram"];
            const auto f = hist["float"].get<std::vector<double>>(),
                       q = hist["integer"].get<std::vector<double>>();
            const double low = real(hist["low"]), high = real(hist["high"]);
            double most = 1;
            for (size_t b = 0; b < f.size(); ++b) most = std::max({most, f[b], q[b]});
            p.font(8, true);
            p.ink(black);
            p.text(x, p.y + 8,
                   worst[k]["name"].get<std::string>() + "  " + number(real(worst[k]["sqnr_db"])) + " dB", w);
            const double bar = w / static_cast<double>(f.size());
            const auto height = [&](double n) { return n > 0 ? h * std::log1p(n) / std::log1p(most) : 0; };
            for (size_t b = 0; b < f.size(); ++b) {
                p.ink(blue, 0.4);
                p.rect(x + bar * static_cast<double>(b), base - height(f[b]), bar, height(f[b]));
                p.ink(orange);
                p.line(x + bar * static_cast<double>(b), base - height(q[b]),
                       x + bar * static_cast<double>(b + 1), base - height(q[b]), 0.8);
            }
            if (hist.contains("clamp"))
                for (const auto& c : hist["clamp"]) {
                    const double cx = x + (c.get<double>() - low) / (high - low) * w;
                    p.ink(red);
                    if (cx >= x && cx <= x + w) p.line(cx, base - h, cx, base, 0.7, true);
                }
            p.font(7);
            p.ink(dim);
            p.text(x, base + 9, number(low), 50);
            p.text(x + w, base + 9, number(high), 50, 1);
            const std::string clamps = clamp_sentence(hist);
            p.text(x + (w - p.width(clamps)) / 2, base + 9, clamps, w - 100);
        }
        p.y += h + 36;
    }
}

constexpr double map_side = 130;

void attention(Pages& p, const Json& a, const std::string& thumbnail) {
    const int grid = a["grid"];
    p.need(map_side + 40);
    const auto [most, worst] = attention_range(a);
    const char* names[] = {"Shiftmax", "softmax of the same logits", "difference"};
    for (int kind = 0; kind < 3; ++kind) {
        const double x0 = margin + kind * (map_side + 24), cell = map_side / grid;
        p.picture(thumbnail, x0, p.y, map_side, kind == 2 ? 0.5 : 1);
        for (size_t i = 0; i < a["shiftmax"].size(); ++i) {
            const double s = real(a["shiftmax"][i]), t = real(a["softmax"][i]);
            const double v = kind == 0 ? s : kind == 1 ? t : s - t, scale = kind == 2 ? worst : most;
            const MapColour c = map_colour(scale > 0 ? v / scale : 0, kind == 2);
            p.ink({c.r, c.g, c.b}, c.alpha);
            p.rect(x0 + static_cast<double>(static_cast<int>(i) % grid) * cell,
                   p.y + static_cast<double>(static_cast<int>(i) / grid) * cell, cell, cell);
        }
        p.font(8);
        p.ink(black);
        p.text(x0, p.y + map_side + 11, names[kind], map_side + 20);
    }
    p.y += map_side + 18;
    p.ink(dim);
    p.paragraph(margin, attention_sentence(a, most, worst), page_w - 2 * margin, 11);
}

// The picture as the networks take it, and what both say of it.
void predictions(Pages& p, const Json& image) {
    const auto &f = image["predictions"]["float"], &q = image["predictions"]["integer"];
    constexpr double side = 72, left = margin + side + 14, half = (page_w - margin - left) / 2;
    const size_t rows = std::min<size_t>({f.size(), q.size(), 40});
    p.need(std::max(side, 16 + 12 * static_cast<double>(rows)) + 4);
    const double top = p.y;
    p.picture(image["thumbnail"].get<std::string>(), margin, top, side);
    p.font(8, true);
    p.ink(blue);
    p.text(left, p.y + 8, "float");
    p.ink(orange);
    p.text(left + half, p.y + 8, "integer");
    p.y += 12;
    for (size_t i = 0; i < rows; ++i) {
        for (int k = 0; k < 2; ++k) {
            const Json& e = k ? q[i] : f[i];
            const double x = left + k * half, share = real(e["probability"]);
            p.ink(k ? orange : blue, 0.5);
            p.rect(x + 90, p.y + 2, 62 * std::clamp(share, 0.0, 1.0), 6);
            p.ink(black);
            p.font(8);
            p.text(x, p.y + 8, e["label"].get<std::string>(), 86);
            p.text(x + 198, p.y + 8, number(100 * share) + " %", 60, 1);
        }
        p.y += 12;
    }
    p.y = std::max(p.y, top + side) + 4;
}

void definitions(Pages& p, const std::vector<std::pair<std::string, std::string>>& rows) {
    constexpr double value_x = margin + 92;
    for (const auto& [key, value] : rows) {
        p.need(12);
        p.font(8.5);
        p.ink(dim);
        p.text(margin, p.y + 9, key, 88);
        p.ink(black);
        p.paragraph(value_x, value, page_w - margin - value_x, 12);
    }
}

void sentence(Pages& p, const std::string& s, Colour colour = black) {
    p.font(8.5);
    p.ink(colour);
    p.paragraph(margin, s, page_w - 2 * margin, 12);
    p.y += 3;
}

TextTable nodes_table(const Json& image) {
    TextTable t{{"node", "place", "bits", "cumulative dB", "isolated dB", "cosine", "MSE", "max error",
                 "at limit %", "range %"},
                {}};
    for (const auto& r : worst_first(layer_rows(image)))
        t.rows.push_back({r.name, std::to_string(r.place), std::to_string(r.bits), number(r.cumulative_db),
                          number(r.isolated_db), number(r.cosine, 6), number(r.mse), number(r.max_abs_error),
                          number(100 * r.saturation), number(100 * r.range_used)});
    return t;
}

void evaluation(Pages& p, const Json& e) {
    p.heading("Evaluation", 13, 60);
    sentence(p, evaluation_sentence(e));
    table(p, evaluation_table(e), 110);
    for (size_t k = 0; k < e["configurations"].size(); ++k) {
        const std::string name = e["configurations"][k]["quant"];
        const TextTable classes = class_table(e, k), worst = worst_table(e, k, 10);
        if (!classes.rows.empty()) {
            p.heading(name + ", by class", 10.5, 36);
            table(p, classes, 200);
        }
        if (!worst.rows.empty()) {
            p.heading(name + ", greatest disagreement", 10.5, 36);
            table(p, worst, 150);
        }
    }
}

void image(Pages& p, const Json& i) {
    p.heading(i["file"].get<std::string>(), 13, 130);
    sentence(p, verdict(i), i["logits"]["agree"].get<bool>() ? black : red);
    sentence(p, "SHA-256 " + i["sha256"].get<std::string>(), dim);
    predictions(p, i);
    p.heading("SQNR along depth", 10.5, 190);
    sqnr_plot(p, layer_rows(i));
    p.heading(attention_title(i["attention"]), 10.5, map_side + 40);
    attention(p, i["attention"], i["thumbnail"].get<std::string>());
    p.heading("The ten worst nodes", 10.5, 120);
    sentence(p,
             "Float values filled, integer values outlined; logarithmic counts; dashed lines are the clamp "
             "limits, "
             "where they lie within the values.",
             dim);
    histograms(p, i["worst"]);
    p.heading("Every node, worst first", 10.5, 60);
    sentence(p, health(i));
    table(p, nodes_table(i), 104);
}

}  // namespace

std::string report_pdf(const Json& report) {
    Pages p;
    p.heading("I-ViT report", 18);
    definitions(p, report_facts(report));
    p.heading("Effective configuration");
    definitions(p, config_rows(report));
    if (report.contains("latency")) {
        p.heading("Latency");
        sentence(p, latency_sentence(report["latency"]));
        if (const TextTable steps = latency_table(report["latency"]); !steps.rows.empty())
            table(p, steps, 300);
    }
    if (report.contains("evaluation")) evaluation(p, report["evaluation"]);
    for (const auto& i : report["images"]) image(p, i);
    if (!report["reproduce"].empty()) {
        p.heading("Reproduce");
        p.font(8);
        p.ink(black);
        for (const auto& c : report["reproduce"])
            p.paragraph(margin, c.get<std::string>(), page_w - 2 * margin, 11);
    }
    return p.finish();
}

}  // namespace ivit
