// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/incoming.h"

#include <QFileInfo>
#include <QImage>
#include <QMimeData>
#include <QNetworkAccessManager>
#include <QNetworkReply>
#include <QUrl>

#include "engine/error.h"
#include "engine/image.h"
#include "widgets/workbench.h"

namespace {

constexpr qint64 most_download = 64 << 20;

bool is_web(const QUrl& url) {
    return url.scheme() == QLatin1String("http") || url.scheme() == QLatin1String("https");
}

// Copied text: one path or link a line; anything else in it makes it no list of ours.
QList<QUrl> in_text(const QString& text) {
    QList<QUrl> found;
    for (const QString& line : text.trimmed().split(QLatin1Char('\n'), Qt::SkipEmptyParts)) {
        const QString entry = line.trimmed();
        const QUrl url(entry, QUrl::StrictMode);
        if (QFileInfo::exists(entry)) {
            found << QUrl::fromLocalFile(QFileInfo(entry).absoluteFilePath());
        } else if (is_web(url) || url.isLocalFile() || url.scheme() == QLatin1String("data")) {
            found << url;
        } else {
            return {};
        }
    }
    return found;
}

}  // namespace

SortedFiles sort_files(const QStringList& files) {
    SortedFiles sorted;
    for (const QString& file : files) {
        if (file.endsWith(QStringLiteral(".safetensors"), Qt::CaseInsensitive) ||
            QFileInfo(file + QStringLiteral("/model.safetensors")).isFile())
            sorted.models << file;
        else if (file.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive))
            sorted.documents << file;
        else
            sorted.pictures << file;
    }
    return sorted;
}

Incoming::Incoming(Workbench& bench, QObject* parent)
    : QObject(parent), bench_(bench), network_(new QNetworkAccessManager(this)) {}

bool Incoming::take(const QMimeData* data) {
    if (!data) return false;
    QList<QUrl> urls = data->urls();
    if (urls.isEmpty() && !data->hasImage()) urls = in_text(data->text());
    QStringList files;
    QList<QUrl> links, inlined;
    for (const QUrl& url : urls) {
        if (url.scheme() == QLatin1String("data"))
            inlined << url;
        else if (url.isLocalFile())
            files << url.toLocalFile();
        else if (is_web(url))
            links << url;
    }
    if (!files.isEmpty()) {
        const SortedFiles sorted = sort_files(files);
        for (const QString& file : sorted.models) emit model_wanted(file);
        for (const QString& file : sorted.documents) emit document_wanted(file);
        if (!sorted.pictures.isEmpty()) bench_.open_pictures(sorted.pictures);
        return true;
    }
    // A browser gives the picture itself, or a link to it, or both: the picture is at hand, the link may be a
    // page.
    if (data->hasImage()) {
        const QString name = links.isEmpty() ? QString() : links.first().fileName();
        bench_.open_image(qvariant_cast<QImage>(data->imageData()),
                          name.isEmpty() ? QStringLiteral("pasted picture") : name);
        return true;
    }
    for (const QUrl& url : inlined) {
        // data:image/png;base64,iVBOR...
        const QByteArray text = url.toEncoded(), head = text.left(text.indexOf(',')),
                         body = QByteArray::fromPercentEncoding(text.mid(text.indexOf(',') + 1));
        open(head.endsWith(";base64") ? QByteArray::fromBase64(body) : body,
             QStringLiteral("inlined picture"));
    }
    for (const QUrl& url : links) download(url);
    return !links.isEmpty() || !inlined.isEmpty();
}

void Incoming::open(const QByteArray& bytes, const QString& name) {
    try {
        const ivit::Image image = ivit::decode_image(
            std::span(reinterpret_cast<const uint8_t*>(bytes.constData()), static_cast<size_t>(bytes.size())),
            name.toStdString());
        const QImage q(image.rgb.data(), image.width, image.height, image.width * 3, QImage::Format_RGB888);
        bench_.open_image(q.copy(), name);
    } catch (const ivit::Error& e) {
        bench_.say(QString::fromUtf8(e.what()), true);
    }
}

void Incoming::download(const QUrl& url) {
    QNetworkRequest request(url);
    request.setTransferTimeout(20000);
    QNetworkReply* reply = network_->get(request);
    bench_.say(QStringLiteral("Fetching %1 …").arg(url.host()));
    connect(reply, &QNetworkReply::downloadProgress, reply, [reply](qint64 got, qint64 total) {
        if (got > most_download || total > most_download) reply->abort();
    });
    connect(reply, &QNetworkReply::finished, this, [this, reply, url] {
        reply->deleteLater();
        if (reply->error() != QNetworkReply::NoError) {
            bench_.say(QStringLiteral("%1: %2").arg(url.toDisplayString(), reply->errorString()), true);
            return;
        }
        open(reply->readAll(), url.fileName().isEmpty() ? url.host() : url.fileName());
    });
}
