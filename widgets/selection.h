// SPDX-License-Identifier: GPL-3.0-or-later
// The one selection. Every view reads it and any view sets it: a point of the plot, a row of the table, a
// thumbnail of the head grid and a patch of the picture are the same gesture.
#pragma once
#include <QObject>

class Selection : public QObject {
    Q_OBJECT
  public:
    using QObject::QObject;

    int picture() const { return picture_; }  // index in the strip; -1: none
    int node() const { return node_; }        // index in the graph; -1: none
    int head() const { return head_; }        // attention head; always >= 0
    int token() const { return token_; }      // row of a [tokens, channels] output; 0 is the class token
    int channel() const { return channel_; }

    void set_picture(int i) { set(picture_, i, &Selection::picture_changed); }
    void set_node(int i) { set(node_, i, &Selection::node_changed); }
    void set_head(int i) { set(head_, i < 0 ? 0 : i, &Selection::head_changed); }
    void set_token(int i) { set(token_, i < 0 ? 0 : i, &Selection::token_changed); }
    void set_channel(int i) { set(channel_, i < 0 ? 0 : i, &Selection::channel_changed); }

  signals:
    void picture_changed();
    void node_changed();
    void head_changed();
    void token_changed();
    void channel_changed();

  private:
    void set(int& field, int value, void (Selection::*signal)()) {
        if (field == value) return;
        field = value;
        (this->*signal)();
    }
    int picture_ = -1, node_ = -1, head_ = 0, token_ = 0, channel_ = 0;
};
