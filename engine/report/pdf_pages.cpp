// SPDX-License-Identifier: Apache-2.0
#include "engine/report/pdf_pages.h"

#include <cairo-pdf.h>
#include <cairo.h>
#include <pango/pangocairo.h>

#include <cstring>

#include "engine/error.h"

namespace ivit {

namespace {

constexpr Colour ink_black{0.1, 0.12, 0.14}, ink_dim{0.4, 0.43, 0.47};

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

// Control characters of file names would be drawn as boxes, or begin a new line.
std::string one_line(std::string s) {
    for (char& c : s)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return s;
}

}  // namespace

Pages::Pages(std::string title, int total) : title_(one_line(std::move(title))), total_(total) {
    surface_ = cairo_pdf_surface_create_for_stream(
        [](void* to, const unsigned char* data, unsigned n) {
            static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data), n);
            return CAIRO_STATUS_SUCCESS;
        },
        &bytes_, page_w, page_h);
    cairo_pdf_surface_set_metadata(surface_, CAIRO_PDF_METADATA_TITLE, title_.c_str());
    cairo_ = cairo_create(surface_);
    // Fonts of its own, and not the thread's: what is made here is freed here.
    fonts_ = pango_cairo_font_map_new_for_font_type(CAIRO_FONT_TYPE_FT);
    context_ = pango_font_map_create_context(fonts_);
    pango_cairo_update_context(cairo_, context_);
    font_ = pango_font_description_from_string("DejaVu Sans");
}

Pages::~Pages() {
    pango_font_description_free(font_);
    g_object_unref(context_);
    g_object_unref(fonts_);
    cairo_destroy(cairo_);
    cairo_surface_destroy(surface_);
}

std::string Pages::finish() {
    footer();
    cairo_surface_finish(surface_);
    if (cairo_surface_status(surface_) != CAIRO_STATUS_SUCCESS) throw Error("could not draw the PDF");
    return std::move(bytes_);
}

bool Pages::need(double height) {
    if (y + height <= page_h - page_margin || y == page_margin) return false;
    footer();
    cairo_show_page(cairo_);
    ++page_;
    y = page_margin;
    return true;
}

void Pages::font(double size, bool bold) {
    pango_font_description_set_absolute_size(font_, size * PANGO_SCALE);
    pango_font_description_set_weight(font_, bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
}

void Pages::ink(Colour c, double alpha) { cairo_set_source_rgba(cairo_, c.r, c.g, c.b, alpha); }

PangoLayout* Pages::lay_out(const std::string& s) {
    PangoLayout* layout = pango_layout_new(context_);
    pango_layout_set_font_description(layout, font_);
    pango_layout_set_auto_dir(layout, FALSE);  // a name in Arabic still begins where every other one does
    pango_layout_set_text(layout, s.c_str(), static_cast<int>(s.size()));
    return layout;
}

double Pages::width(const std::string& s) {
    PangoLayout* layout = lay_out(s);
    int w = 0;
    pango_layout_get_size(layout, &w, nullptr);
    g_object_unref(layout);
    return static_cast<double>(w) / PANGO_SCALE;
}

void Pages::text(double x, double at, const std::string& s, double most, int align) {
    PangoLayout* layout = lay_out(one_line(s));
    pango_layout_set_single_paragraph_mode(layout, TRUE);
    int w = 0;
    pango_layout_get_size(layout, &w, nullptr);
    if (w > most * PANGO_SCALE) {
        pango_layout_set_width(layout, static_cast<int>(most * PANGO_SCALE));
        pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
        pango_layout_get_size(layout, &w, nullptr);
    }
    const double left = align ? x - static_cast<double>(w) / PANGO_SCALE : x;
    cairo_move_to(cairo_, left, at - static_cast<double>(pango_layout_get_baseline(layout)) / PANGO_SCALE);
    pango_cairo_show_layout(cairo_, layout);
    cairo_new_path(cairo_);  // the text's end is no beginning of a line
    g_object_unref(layout);
}

void Pages::paragraph(double x, const std::string& s, double most, double line_height, int most_lines) {
    std::string clean = s;
    for (char& c : clean)
        if (c != '\n' && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)) c = ' ';
    PangoLayout* layout = lay_out(clean);
    pango_layout_set_width(layout, static_cast<int>(most * PANGO_SCALE));
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    if (most_lines > 0) {
        pango_layout_set_height(layout, -most_lines);
        pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
    }
    // A new page's footer writes in its own font and colour.
    cairo_pattern_t* colour = cairo_pattern_reference(cairo_get_source(cairo_));
    const int lines = pango_layout_get_line_count(layout);
    for (int i = 0; i < lines; ++i) {
        PangoFontDescription* kept = pango_font_description_copy(font_);
        if (need(line_height)) cairo_set_source(cairo_, colour);
        pango_font_description_free(font_);
        font_ = kept;
        cairo_move_to(cairo_, x, y + line_height * 0.75);
        pango_cairo_show_layout_line(cairo_, pango_layout_get_line_readonly(layout, i));
        cairo_new_path(cairo_);
        y += line_height;
    }
    cairo_pattern_destroy(colour);
    g_object_unref(layout);
}

void Pages::heading(const std::string& s, double size, double with) {
    need(size * 2.4 + with);
    if (y > page_margin) y += size * 0.8;
    font(size, true);
    ink(ink_black);
    if (size >= 13) {
        const std::string place = "page=" + std::to_string(page_) + " pos=[" +
                                  std::to_string(static_cast<int>(page_margin)) + " " +
                                  std::to_string(static_cast<int>(y)) + "]";
        cairo_pdf_surface_add_outline(surface_, CAIRO_PDF_OUTLINE_ROOT, one_line(s).c_str(), place.c_str(),
                                      static_cast<cairo_pdf_outline_flags_t>(0));
    }
    // A long name breaks into lines, and after four of them into an ellipsis.
    paragraph(page_margin, one_line(s), page_w - 2 * page_margin, size * 1.25, 4);
    y += size * 0.35;
}

void Pages::picture(const std::string& data_url, double x, double at, double side, double alpha) {
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

void Pages::rect(double x, double at, double w, double h) {
    cairo_rectangle(cairo_, x, at, w, h);
    cairo_fill(cairo_);
}

void Pages::disc(double x, double at, double radius) {
    cairo_arc(cairo_, x, at, radius, 0, 6.2832);
    cairo_fill(cairo_);
}

void Pages::line(double x0, double y0, double x1, double y1, double w, bool dashed) {
    const double dash[] = {3, 2};
    cairo_set_dash(cairo_, dash, dashed ? 2 : 0, 0);
    cairo_set_line_width(cairo_, w);
    cairo_move_to(cairo_, x0, y0);
    cairo_line_to(cairo_, x1, y1);
    cairo_stroke(cairo_);
}

void Pages::polyline(const std::vector<std::pair<double, double>>& points) {
    cairo_set_dash(cairo_, nullptr, 0, 0);
    cairo_set_line_width(cairo_, 1);
    cairo_new_path(cairo_);
    for (const auto& [x, at] : points) cairo_line_to(cairo_, x, at);
    cairo_stroke(cairo_);
}

void Pages::footer() {
    font(8);
    ink(ink_dim);
    text(page_margin, page_h - page_margin / 2, title_, page_w - 2 * page_margin - 80);
    text(page_w - page_margin, page_h - page_margin / 2,
         total_ > 0 ? std::to_string(page_) + " / " + std::to_string(total_) : std::to_string(page_), 80, 1);
}

}  // namespace ivit
