// SPDX-License-Identifier: GPL-3.0-or-later
// What is dropped or pasted: files, folders, links and picture data, sorted out and handed on.
#pragma once
#include <QObject>
#include <QStringList>

class QMimeData;
class QNetworkAccessManager;
class QUrl;
class Workbench;

// Files and folders by what is done with them, in the order given.
struct SortedFiles {
    QStringList models;     // *.safetensors, and folders as transformers saves them
    QStringList documents;  // *.json
    QStringList pictures;   // everything else
};
SortedFiles sort_files(const QStringList& files);

class Incoming : public QObject {
    Q_OBJECT
  public:
    explicit Incoming(Workbench& bench, QObject* parent = nullptr);

    // Pictures and folders go to the strip, links are fetched in the background. False when there is nothing
    // in it for us.
    bool take(const QMimeData* data);

  signals:
    void model_wanted(const QString& file);     // one for each model among them
    void document_wanted(const QString& file);  // one for each JSON file among them

  private:
    void download(const QUrl& url);
    void open(const QByteArray& bytes, const QString& name);  // an encoded picture
    Workbench& bench_;
    QNetworkAccessManager* network_;
};
