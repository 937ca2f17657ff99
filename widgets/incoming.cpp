// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/incoming.h"

#include <QFileInfo>
#include <QMimeData>
#include <QNetworkAccessManager>
#include <QNetworkReply>
#include <QUrl>

#include "engine/error.h"
#include "engine/image.h"
#include "widgets/workbench.h"

namespace {
constexpr qint64 most_download = 64 << 20;
}

Incoming::Incoming(Workbench& bench, QObject* parent)
    : QObject(parent), bench_(bench), network_(new QNetworkAccessManager(this)) {}

bool Incoming::take(const QMimeData* data) {
    if (!data) return false;
    QStringList files;
    QList<QUrl> links;
    for (const QUrl& url : data->urls()) {
        if (url.isLocalFile()) {
            files << url.toLocalFile();
        } else if (url.scheme() == "http" || url.scheme() == "https") {
            links << url;
        }
    }
    // A model among the files is opened as one.
    QStringList pictures;
    for (const QString& f : files) {
        if (f.endsWith(QStringLiteral(".safetensors"), Qt::CaseInsensitive)) {
            emit model_wanted(f);
        } else if (f.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive)) {
            emit config_wanted(f);
        } else {
            pictures << f;
        }
    }
    if (!pictures.isEmpty()) bench_.open_pictures(pictures);
    if (!files.isEmpty()) return true;
    // A browser gives the picture itself, or a link to it, or both: the picture is at hand, the link may be a
    // page.
    if (data->hasImage()) {
        bench_.open_image(qvariant_cast<QImage>(data->imageData()),
                          links.isEmpty() ? QStringLiteral("pasted picture") : links.first().fileName());
        return true;
    }
    for (const QUrl& url : links) download(url);
    if (!links.isEmpty()) return true;
    if (data->hasText()) {
        const QString text = data->text().trimmed();
        if (QFileInfo::exists(text)) {
            bench_.open_pictures({text});
            return true;
        }
        const QUrl url(text, QUrl::StrictMode);
        if (url.scheme() == "http" || url.scheme() == "https") {
            download(url);
            return true;
        }
    }
    return false;
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
        const QByteArray bytes = reply->readAll();
        try {
            const ivit::Image image =
                ivit::decode_image(std::span(reinterpret_cast<const uint8_t*>(bytes.constData()),
                                             static_cast<size_t>(bytes.size())),
                                   url.fileName().toStdString());
            QImage q(image.rgb.data(), image.width, image.height, image.width * 3, QImage::Format_RGB888);
            bench_.open_image(q.copy(), url.fileName().isEmpty() ? url.host() : url.fileName());
        } catch (const ivit::Error& e) {
            bench_.say(QString::fromUtf8(e.what()), true);
        }
    });
}
