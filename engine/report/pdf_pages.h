// SPDX-License-Identifier: Apache-2.0
// Pages of a vector PDF to write on from top to bottom: A4, with a footer and an outline. Text is laid out by
// Pango, so that names in any script are shaped, and read from the right where they should be.
#pragma once
#include <string>
#include <utility>
#include <vector>

typedef struct _cairo cairo_t;
typedef struct _cairo_surface cairo_surface_t;
typedef struct _PangoFontMap PangoFontMap;
typedef struct _PangoContext PangoContext;
typedef struct _PangoFontDescription PangoFontDescription;
typedef struct _PangoLayout PangoLayout;

namespace ivit {

constexpr double page_w = 595.28, page_h = 841.89, page_margin = 48;  // points

struct Colour {
    double r, g, b;
};

class Pages {
  public:
    // total: how many pages there will be, for the footer; 0: nobody knows yet.
    Pages(std::string title, int total);
    ~Pages();
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    std::string finish();  // the file's bytes. Throws Error
    int page() const { return page_; }

    double y = page_margin;  // where the next thing goes, from the top

    // Begins a new page when `height` does not fit any more; true when it did.
    bool need(double height);

    void font(double size, bool bold = false);
    void ink(Colour c, double alpha = 1);
    double width(const std::string& s);
    // One line on the baseline `at`, cut with an ellipsis to fit `most` points. align: 0 left, 1 right of x.
    void text(double x, double at, const std::string& s, double most = page_w, int align = 0);
    // Breaks `s` into lines of at most `most` points, inside words where one is longer than a line; after
    // `most_lines` lines comes an ellipsis.
    void paragraph(double x, const std::string& s, double most, double line_height, int most_lines = 0);
    // with: height of what must stand on the same page below it. Those of 13 points and more go into the
    // outline.
    void heading(const std::string& s, double size = 13, double with = 24);
    // The picture of a data URL, PNG, as large as the square at (x, at). What cannot be decoded is left out.
    void picture(const std::string& data_url, double x, double at, double side, double alpha = 1);
    void rect(double x, double at, double w, double h);
    void disc(double x, double at, double radius);
    void line(double x0, double y0, double x1, double y1, double w = 0.5, bool dashed = false);
    void polyline(const std::vector<std::pair<double, double>>& points);

  private:
    void footer();
    PangoLayout* lay_out(const std::string& s);  // the caller frees it

    std::string bytes_, title_;
    cairo_surface_t* surface_;
    cairo_t* cairo_;
    PangoFontMap* fonts_;
    PangoContext* context_;
    PangoFontDescription* font_;
    int page_ = 1, total_;
};

}  // namespace ivit
