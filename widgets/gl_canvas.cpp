// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/gl_canvas.h"

#include <backends/imgui_impl_opengl3.h>
#include <imgui.h>

#include <QMouseEvent>
#include <QOffscreenSurface>
#include <QOpenGLContext>
#include <QPainter>
#include <cmath>

#include "widgets/theme.h"

void GlCanvas::set_default_format() {
    QSurfaceFormat format;
    format.setVersion(3, 3);
    format.setProfile(QSurfaceFormat::CoreProfile);
    format.setDepthBufferSize(0);
    format.setStencilBufferSize(0);
    QSurfaceFormat::setDefaultFormat(format);
    QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);  // docks that float keep their textures
}

QString GlCanvas::problem() {
    QOpenGLContext context;
    if (!context.create())
        return QStringLiteral(
            "This display has no OpenGL, which the tensor lens draws with; every other view works without.");
    QOffscreenSurface surface;
    surface.create();
    if (!context.makeCurrent(&surface))
        return QStringLiteral(
            "The OpenGL driver does not start, and the tensor lens needs it; every other view works "
            "without.");
    const QPair<int, int> version = context.format().version();
    context.doneCurrent();
    if (version < qMakePair(3, 3)) {
        return QStringLiteral(
                   "The OpenGL driver offers version %1.%2 and the tensor lens needs 3.3; every other view "
                   "works without.")
            .arg(version.first)
            .arg(version.second);
    }
    return {};
}

GlCanvas::GlCanvas(QWidget* parent) : QOpenGLWidget(parent) {
    setMouseTracking(true);
    setFocusPolicy(Qt::ClickFocus);
}

GlCanvas::~GlCanvas() = default;

void GlCanvas::shut_down() {
    if (!imgui_) return;
    if (context()) disconnect(context(), nullptr, this, nullptr);
    makeCurrent();
    release();
    doneCurrent();
}

void GlCanvas::initializeGL() {
    initializeOpenGLFunctions();
    connect(context(), &QOpenGLContext::aboutToBeDestroyed, this, [this] {
        makeCurrent();
        release();
        doneCurrent();
    });
    imgui_ = ImGui::CreateContext();
    ImGui::SetCurrentContext(imgui_);
    ImGuiIO& io = ImGui::GetIO();
    io.IniFilename = nullptr;
    io.ConfigFlags |= ImGuiConfigFlags_NoMouseCursorChange;
    font_scale_ = 0;
    ImGui_ImplOpenGL3_Init("#version 330 core");
    set_up();
    ready_ = true;
}

void GlCanvas::release() {
    if (!imgui_) return;
    ready_ = false;
    tear_down();
    ImGui::SetCurrentContext(imgui_);
    ImGui_ImplOpenGL3_Shutdown();
    ImGui::DestroyContext(imgui_);
    imgui_ = nullptr;
}

namespace {

// ASCII, and the signs that the overlays use.
std::vector<char16_t> written() {
    std::vector<char16_t> all;
    for (char16_t c = 32; c < 127; ++c) all.push_back(c);
    for (const char16_t c :
         {u'\u2212', u'\u00d7', u'\u00b1', u'\u00b7', u'\u2026', u'\u2265', u'\u2264', u'\u2013', u'\u2014'})
        all.push_back(c);
    return all;
}

QImage glyph(char16_t c, const QFont& font, const QSize& size) {
    QImage image(size, QImage::Format_ARGB32_Premultiplied);
    image.fill(Qt::transparent);
    QPainter p(&image);
    p.setFont(font);
    p.setPen(Qt::white);
    p.drawText(1, QFontMetrics(font).ascent(), QString(QChar(c)));
    return image;
}

// Into an atlas of RGBA that is `stride` pixels wide: white, with the glyph's opacity.
void put_glyph(const QImage& glyph, unsigned char* to, size_t stride) {
    for (int y = 0; y < glyph.height(); ++y) {
        for (int x = 0; x < glyph.width(); ++x) {
            unsigned char* out = to + (static_cast<size_t>(y) * stride + static_cast<size_t>(x)) * 4;
            out[0] = out[1] = out[2] = 255;
            out[3] = static_cast<unsigned char>(qAlpha(glyph.pixel(x, y)));
        }
    }
}

}  // namespace

// ImGui reads font files; we have a QFont. So its glyphs are drawn by Qt, at the screen's own resolution.
void GlCanvas::build_font() {
    const double scale = devicePixelRatioF();
    if (scale == font_scale_) return;
    font_scale_ = scale;
    ImGuiIO& io = ImGui::GetIO();
    io.Fonts->Clear();
    QFont font = Theme::instance().figures(static_cast<int>(std::lround(12 * scale)));
    font.setStyleStrategy(QFont::PreferAntialias);
    const QFontMetrics metrics(font);
    ImFontConfig config;
    config.SizePixels = static_cast<float>(metrics.height());
    ImFont* target = io.Fonts->AddFontDefault(&config);
    std::vector<std::pair<int, char16_t>> glyphs;
    for (const char16_t c : written()) {
        const int width = std::max(1, metrics.horizontalAdvance(QChar(c)));
        glyphs.push_back({io.Fonts->AddCustomRectFontGlyph(target, c, width + 2, metrics.height(),
                                                           static_cast<float>(width), ImVec2(-1, 0)),
                          c});
    }
    unsigned char* pixels = nullptr;
    int width = 0, height = 0;
    io.Fonts->GetTexDataAsRGBA32(&pixels, &width, &height);
    for (const auto& [id, c] : glyphs) {
        const ImFontAtlasCustomRect* r = io.Fonts->GetCustomRectByIndex(id);
        const size_t at = static_cast<size_t>(r->Y) * static_cast<size_t>(width) + static_cast<size_t>(r->X);
        put_glyph(glyph(c, font, QSize(r->Width, r->Height)), pixels + 4 * at, static_cast<size_t>(width));
    }
    io.FontGlobalScale = static_cast<float>(1 / scale);
    ImGui_ImplOpenGL3_DestroyFontsTexture();
    ImGui_ImplOpenGL3_CreateFontsTexture();
}

void GlCanvas::paintGL() {
    if (!ready_) return;
    draw();
    ImGui::SetCurrentContext(imgui_);
    ImGui_ImplOpenGL3_NewFrame();
    build_font();
    ImGuiIO& io = ImGui::GetIO();
    io.DisplaySize = ImVec2(static_cast<float>(width()), static_cast<float>(height()));
    const float scale = static_cast<float>(devicePixelRatioF());
    io.DisplayFramebufferScale = ImVec2(scale, scale);
    io.DeltaTime = 1.0f / 60;
    ImGuiStyle& style = ImGui::GetStyle();
    if (Theme::instance().dark()) {
        ImGui::StyleColorsDark(&style);
    } else {
        ImGui::StyleColorsLight(&style);
    }
    const QColor panel = Theme::instance().panel();
    style.Colors[ImGuiCol_WindowBg] = ImVec4(panel.redF(), panel.greenF(), panel.blueF(), 0.92f);
    style.Colors[ImGuiCol_PopupBg] = style.Colors[ImGuiCol_WindowBg];
    style.WindowRounding = 6;
    style.WindowBorderSize = 0;
    style.WindowPadding = ImVec2(10, 7);
    ImGui::NewFrame();
    overlay();
    ImGui::Render();
    ImGui_ImplOpenGL3_RenderDrawData(ImGui::GetDrawData());
}

bool GlCanvas::event(QEvent* e) {
    if (imgui_) {
        ImGui::SetCurrentContext(imgui_);
        ImGuiIO& io = ImGui::GetIO();
        switch (e->type()) {
            case QEvent::MouseMove:
            case QEvent::MouseButtonPress:
            case QEvent::MouseButtonRelease: {
                const auto* mouse = static_cast<QMouseEvent*>(e);
                io.MousePos = ImVec2(static_cast<float>(mouse->position().x()),
                                     static_cast<float>(mouse->position().y()));
                io.MouseDown[0] = mouse->buttons() & Qt::LeftButton;
                update();
                break;
            }
            case QEvent::Leave:
                io.MousePos = ImVec2(-FLT_MAX, -FLT_MAX);
                update();
                break;
            default:
                break;
        }
    }
    return QOpenGLWidget::event(e);
}
