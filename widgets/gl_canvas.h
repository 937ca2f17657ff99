// SPDX-License-Identifier: GPL-3.0-or-later
// An OpenGL 3.3 canvas with a Dear ImGui overlay: one ImGui context per widget, text in the application's own
// font.
#pragma once
#include <QOpenGLFunctions_3_3_Core>
#include <QOpenGLWidget>

struct ImGuiContext;

class GlCanvas : public QOpenGLWidget, protected QOpenGLFunctions_3_3_Core {
    Q_OBJECT
  public:
    explicit GlCanvas(QWidget* parent = nullptr);
    ~GlCanvas() override;

    // Asks for a core profile everywhere; before the QApplication.
    static void set_default_format();
    // Empty when this machine can draw canvases, else one sentence.
    static QString problem();

  protected:
    virtual void set_up() = 0;     // context current, once per context
    virtual void tear_down() = 0;  // context current, before it goes
    virtual void draw() = 0;       // context current, viewport set
    virtual void overlay() = 0;    // between ImGui's NewFrame and Render
    void initializeGL() final;
    void paintGL() final;
    bool event(QEvent* e) override;
    bool ready() const { return ready_; }
    void shut_down();  // every final class calls it in its destructor

  private:
    void release();
    void build_font();
    ImGuiContext* imgui_ = nullptr;
    bool ready_ = false;
    double font_scale_ = 0;
};
