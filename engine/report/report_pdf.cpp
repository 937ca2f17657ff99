// SPDX-License-Identifier: Apache-2.0
// The report as a vector PDF, A4, numbered pages, drawn with cairo.
#include <cairo-pdf.h>
#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

    void need(double height) {
        if (y + height <= page_h - margin) return;
        footer();
        cairo_show_page(cairo_);
        ++page_;
        y = margin;
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
        if (width(s) > most) {
            while (!s.empty() && width(s + "\u2026") > most) {
                while (!s.empty() && (static_cast<unsigned char>(s.back()) & 0xc0) == 0x80) s.pop_back();
                if (!s.empty()) s.pop_back();
            }
            s += "\u2026";
        }
        cairo_move_to(cairo_, align ? x - width(s) : x, at);
        cairo_show_text(cairo_, s.c_str());
    }

    // Breaks `s` into lines of at most `most` points, inside words where one is longer than a line.
    void paragraph(double x, const std::string& s, double most, double line_height) {
        std::string line, word;
        const auto flush = [&] {
            if (line.empty()) return;
            need(line_height);
            text(x, y + line_height * 0.75, line);
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
            if (c == ' ')
                add();
            else
                word += c;
        }
        add();
        flush();
    }

    void heading(const std::string& s, double size = 13) {
        need(size * 3.2);
        y += size * 0.8;
        font(size, true);
        ink(black);
        text(margin, y + size, s, page_w - 2 * margin);
        y += size * 1.6;
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

struct Column {
    const char* name;
    double x;  // right edge; left edge for the first
};

void table_head(Pages& p, const std::vector<Column>& columns) {
    p.font(7.5, true);
    p.ink(dim);
    for (size_t i = 0; i < columns.size(); ++i) p.text(columns[i].x, p.y + 9, columns[i].name, 200, i > 0);
    p.y += 12;
    p.ink(faint);
    p.line(margin, p.y, page_w - margin, p.y);
}

void table_row(Pages& p, const std::vector<Column>& columns, const std::vector<std::string>& cells) {
    const double page_top = p.y;
    p.need(11);
    if (p.y < page_top) table_head(p, columns);  // a new page repeats the head
    p.font(7.5);
    p.ink(black);
    for (size_t i = 0; i < columns.size(); ++i)
        p.text(columns[i].x, p.y + 8.5, cells[i], i == 0 ? columns[1].x - columns[0].x - 44 : 200, i > 0);
    p.y += 11;
}

void sqnr_plot(Pages& p, const std::vector<LayerRow>& rows) {
    const double height = 150, left = margin + 28, right = page_w - margin;
    p.need(height + 24);
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
    std::vector<std::pair<double, double>> cumulative, isolated;
    for (size_t i = 0; i < rows.size(); ++i) {
        cumulative.push_back(at(i, rows[i].cumulative_db));
        if (std::isfinite(rows[i].isolated_db)) isolated.push_back(at(i, rows[i].isolated_db));
    }
    p.ink(blue);
    p.polyline(isolated, true);
    p.ink(orange);
    p.polyline(cumulative, false);
    p.y += height + 12;
    p.font(7.5);
    p.text(left, p.y, "cumulative (solid)");
    p.ink(blue);
    p.text(left + 90, p.y, "isolated (dashed)");
    p.ink(dim);
    p.text(right, p.y, "dB, nodes in execution order", 200, 1);
    p.y += 10;
}

void histograms(Pages& p, const Json& worst) {
    const double w = (page_w - 2 * margin - 20) / 2, h = 62;
    for (size_t i = 0; i < worst.size(); i += 2) {
        p.need(h + 32);
        for (size_t k = i; k < std::min(i + 2, worst.size()); ++k) {
            const double x = margin + static_cast<double>(k - i) * (w + 20), base = p.y + 14 + h;
            const Json& hist = worst[k]["histogram"];
            const auto f = hist["float"].get<std::vector<double>>(),
                       q = hist["integer"].get<std::vector<double>>();
            const double low = hist["low"], high = hist["high"];
            double most = 1;
            for (size_t b = 0; b < f.size(); ++b) most = std::max({most, f[b], q[b]});
            p.font(8, true);
            p.ink(black);
            p.text(x, p.y + 8,
                   worst[k]["name"].get<std::string>() + "  " + number(worst[k]["sqnr_db"]) + " dB", w);
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
            p.text(x, base + 9, number(low));
            p.text(x + w, base + 9, number(high), 100, 1);
        }
        p.y += h + 32;
    }
}

void attention(Pages& p, const Json& a) {
    const int grid = a["grid"];
    const double side = 130;
    p.need(side + 40);
    const auto s = a["shiftmax"].get<std::vector<double>>(), t = a["softmax"].get<std::vector<double>>();
    double most = 0, worst = 0;
    for (size_t i = 0; i < s.size(); ++i) {
        most = std::max({most, s[i], t[i]});
        worst = std::max(worst, std::fabs(s[i] - t[i]));
    }
    const char* names[] = {"Shiftmax", "softmax of the same logits", "difference"};
    for (int k = 0; k < 3; ++k) {
        const double x0 = margin + k * (side + 24);
        for (size_t i = 0; i < s.size(); ++i) {
            const double v = k == 0 ? s[i] : k == 1 ? t[i] : s[i] - t[i], scale = k == 2 ? worst : most;
            const double u = scale > 0 ? v / scale : 0, cell = side / grid;
            if (k < 2)
                p.ink({0.99 * u, 0.13 + 0.77 * u, 0.30 - 0.16 * u});
            else
                p.ink(u < 0 ? Colour{1 + u, 1 + 0.55 * u, 1 + 0.3 * u}
                            : Colour{1 - 0.16 * u, 1 - 0.63 * u, 1 - u});
            p.rect(x0 + static_cast<double>(static_cast<int>(i) % grid) * cell,
                   p.y + static_cast<double>(static_cast<int>(i) / grid) * cell, cell + 0.2, cell + 0.2);
        }
        p.font(8);
        p.ink(black);
        p.text(x0, p.y + side + 11, names[k]);
    }
    p.y += side + 18;
    p.ink(dim);
    p.paragraph(margin,
                fmt::format("{}, head {}, row of the {}. Colour from 0 to {} for the first two, \u00b1{} for "
                            "the difference. Row sum {}, KL of the head {} nats.",
                            a["node"].get<std::string>(), a["head"].get<int>(), a["query"].get<std::string>(),
                            number(most), number(worst), number(a["row_sum"], 5), number(a["kl"])),
                page_w - 2 * margin, 11);
}

void predictions(Pages& p, const Json& predictions) {
    const auto &f = predictions["float"], &q = predictions["integer"];
    const double half = (page_w - 2 * margin) / 2;
    p.need(16 + 12 * static_cast<double>(f.size()));
    p.font(8, true);
    p.ink(blue);
    p.text(margin, p.y + 8, "float");
    p.ink(orange);
    p.text(margin + half, p.y + 8, "integer");
    p.y += 12;
    for (size_t i = 0; i < std::min(f.size(), q.size()); ++i) {
        for (int k = 0; k < 2; ++k) {
            const Json& e = k ? q[i] : f[i];
            const double x = margin + k * half, share = e["probability"];
            p.ink(k ? orange : blue, 0.5);
            p.rect(x + 110, p.y + 2, 70 * share, 6);
            p.ink(black);
            p.font(8);
            p.text(x, p.y + 8, e["label"].get<std::string>(), 104);
            p.text(x + 226, p.y + 8, number(100 * share) + " %", 60, 1);
        }
        p.y += 12;
    }
}

}  // namespace

std::string report_pdf(const Json& report) {
    Pages p;
    p.heading("I-ViT report", 18);
    const double value_x = margin + 92, value_w = page_w - margin - value_x;
    for (const auto& [key, value] : report_facts(report)) {
        p.need(12);
        p.font(8.5);
        p.ink(dim);
        p.text(margin, p.y + 9, key, 88);
        p.ink(black);
        p.paragraph(value_x, value, value_w, 12);
    }
    if (report.contains("latency")) {
        p.heading("Latency");
        p.font(8.5);
        p.paragraph(margin, latency_sentence(report["latency"]), page_w - 2 * margin, 12);
    }
    if (report.contains("evaluation")) {
        p.heading("Evaluation");
        const std::vector<Column> columns = {{"configuration", margin},
                                             {"top-1 %", 320},
                                             {"top-5 %", 390},
                                             {"agreement %", 470},
                                             {"mean KL", page_w - margin}};
        table_head(p, columns);
        for (const auto& row : evaluation_rows(report["evaluation"]))
            table_row(p, columns, {row.begin(), row.end()});
    }
    for (const auto& image : report["images"]) {
        p.heading(image["file"].get<std::string>());
        p.font(8.5);
        p.ink(image["logits"]["agree"].get<bool>() ? black : red);
        p.paragraph(margin, verdict(image), page_w - 2 * margin, 12);
        p.y += 4;
        predictions(p, image["predictions"]);
        p.heading("SQNR along depth", 10.5);
        sqnr_plot(p, layer_rows(image));
        p.heading("Shiftmax against softmax", 10.5);
        attention(p, image["attention"]);
        p.heading(
            "The ten worst nodes (float filled, integer outlined; logarithmic counts; dashed: clamp limits)",
            10.5);
        histograms(p, image["worst"]);
        p.heading("Every node", 10.5);
        const std::vector<Column> columns = {
            {"node", margin}, {"bits", 216}, {"cumulative dB", 282}, {"isolated dB", 340},
            {"cosine", 390},  {"MSE", 436},  {"at limit %", 488},    {"range used %", page_w - margin}};
        table_head(p, columns);
        for (const auto& r : layer_rows(image))
            table_row(
                p, columns,
                {r.name, std::to_string(r.bits), number(r.cumulative_db), number(r.isolated_db),
                 number(r.cosine, 6), number(r.mse), number(100 * r.saturation), number(100 * r.range_used)});
    }
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
