// SPDX-License-Identifier: GPL-3.0-or-later
// The Qt models, without their pages, under QAbstractItemModelTester.
#include "tests/widgets/fixture.h"

#include <QAbstractItemModelTester>
#include <catch2/catch.hpp>

#include "widgets/config_edit.h"
#include "widgets/exporting.h"
#include "widgets/models/node_table_model.h"
#include "widgets/models/picture_list_model.h"
#include "widgets/models/quant_tree_model.h"

namespace {
// Warns through qWarning in this mode; a wrong model must fail the test.
constexpr auto fatal = QAbstractItemModelTester::FailureReportingMode::Fatal;
}  // namespace

TEST_CASE("picture list: rows, predictions, removal", "[models]") {
    PictureListModel model;
    QAbstractItemModelTester tester(&model, fatal);
    std::vector<Picture> three(3);
    for (int i = 0; i < 3; ++i) three[size_t(i)].name = QStringLiteral("picture %1").arg(i);
    CHECK(model.add(three) == 0);
    CHECK(model.add({}) == 3);
    const int id = model.picture(1).id;
    model.set_predictions(id, Prediction{"cat", 0.93}, Prediction{"dog", 0.41});
    const QModelIndex i = model.index(1);
    CHECK(i.data(PictureListModel::differs_role).toBool());
    CHECK(i.data(PictureListModel::float_role).toString() == "cat 0.930");
    CHECK(i.data(Qt::AccessibleTextRole).toString().contains("they differ"));
    model.remove(0);
    CHECK(model.row_of(id) == 0);
    CHECK(model.rowCount() == 2);
    model.remove(17);
    CHECK(model.rowCount() == 2);
    model.set_error(id, "is not a picture");
    CHECK(model.index(0).data(PictureListModel::error_role).toString() == "is not a picture");
    model.set_thumbnail(12345, QImage());  // removed meanwhile
    model.forget_predictions(false);
    CHECK(model.picture(0).float_top);
    CHECK_FALSE(model.picture(0).integer_top);
}

TEST_CASE("picture list: of very many pictures the thumbnails looked at are kept", "[models]") {
    PictureListModel model;
    constexpr int many = static_cast<int>(PictureListModel::most_thumbnails) + 200;
    model.add(std::vector<Picture>(many));
    std::vector<int> wanted;
    QObject::connect(&model, &PictureListModel::thumbnail_wanted, [&](int id) { wanted.push_back(id); });
    const auto thumbnail = [&](int row) { return model.index(row).data(Qt::DecorationRole).value<QImage>(); };
    QImage any(4, 4, QImage::Format_RGB32);
    any.fill(Qt::red);
    for (const Picture& p : std::vector<Picture>(model.pictures())) model.set_thumbnail(p.id, any);
    int kept = 0;
    for (const Picture& p : model.pictures()) kept += !p.thumbnail.isNull();
    CHECK(kept == static_cast<int>(PictureListModel::most_thumbnails));
    CHECK_FALSE(thumbnail(many - 1).isNull());
    CHECK(wanted.empty());
    CHECK(thumbnail(7).isNull());
    CHECK(thumbnail(7).isNull());  // asked for once
    CHECK(wanted == std::vector<int>{model.picture(7).id});
    model.set_thumbnail(model.picture(7).id, any);
    CHECK_FALSE(thumbnail(7).isNull());
    model.set_error(model.picture(8).id, "is gone");
    CHECK(thumbnail(8).isNull());
    CHECK(wanted.size() == 1);
}

TEST_CASE("node table: every metric, sorting with the unknown last, CSV", "[models]") {
    NodeTableModel model;
    QAbstractItemModelTester tester(&model, fatal);
    CHECK(model.rowCount() == 0);
    const Shown& shown = fixture::shown();
    REQUIRE(shown.current);
    REQUIRE_FALSE(shown.current->error);
    model.set_results(shown);
    const ivit::Graph& g = *shown.graph();
    REQUIRE(model.rowCount() == int(g.nodes.size()));
    const int fc1 = g.find("blocks.2.mlp.fc1");
    const auto& error = shown.current->comparison.cumulative[size_t(fc1)];
    CHECK(model.value(fc1, metrics::Id::sqnr_cumulative) == error.sqnr_db);
    CHECK(model.value(fc1, metrics::Id::sqnr_cumulative, true) ==
          shown.ghost->comparison.cumulative[size_t(fc1)].sqnr_db);
    CHECK(model.index(fc1, NodeTableModel::name_column).data().toString() == "blocks.2.mlp.fc1");
    CHECK(model.index(fc1, NodeTableModel::bits_column).data().toString() == "W4 A8");
    CHECK(model.colour(fc1).isValid());
    CHECK_FALSE(model.value(fc1, metrics::Id::row_sum));
    CHECK(model.value(g.find("blocks.2.attn.softmax"), metrics::Id::row_sum));
    CHECK_FALSE(model.value(fc1, metrics::Id::integer_ms));
    LatencySamples latency;
    latency.integer_node_ms.assign(g.nodes.size(), 0.5);
    model.set_latency(latency);
    CHECK(model.value(fc1, metrics::Id::integer_ms) == 0.5);

    NodeSortModel sorted;
    QAbstractItemModelTester sorted_tester(&sorted, fatal);
    sorted.setSourceModel(&model);
    const int saturation = NodeTableModel::column_of(metrics::Id::saturation);
    for (const auto order : {Qt::AscendingOrder, Qt::DescendingOrder}) {
        sorted.sort(saturation, order);
        CHECK(sorted.index(0, saturation).data(NodeTableModel::sort_role).isValid());
        CHECK_FALSE(
            sorted.index(sorted.rowCount() - 1, saturation).data(NodeTableModel::sort_role).isValid());
    }
    sorted.sort(NodeTableModel::column_of(metrics::Id::sqnr_cumulative), Qt::AscendingOrder);
    for (int r = 1; r < sorted.rowCount(); ++r) {
        const int c = NodeTableModel::column_of(metrics::Id::sqnr_cumulative);
        CHECK(sorted.index(r - 1, c).data(NodeTableModel::sort_role).toDouble() <=
              sorted.index(r, c).data(NodeTableModel::sort_role).toDouble());
    }
    const QStringList lines = exporting::to_csv(sorted).split("\r\n", Qt::SkipEmptyParts);
    CHECK(lines.size() == model.rowCount() + 1);
    CHECK(lines[0].startsWith("#,node,operator,output,bits,SQNR"));
    for (const metrics::Metric& m : metrics::all()) {
        CHECK(m.definition.size() > 40);
        model.set_colour_by(m.id);
    }
    model.set_results({});
    CHECK(model.rowCount() == 0);
}

TEST_CASE("quantization tree: edits ask for a configuration, which then shows", "[models]") {
    QuantTreeModel model;
    QAbstractItemModelTester tester(&model, fatal);
    ivit::QuantConfig config;
    const auto graph = fixture::model()->graph;
    model.set_state(graph, config, false);
    QObject::connect(&model, &QuantTreeModel::config_wanted,
                     [&](const ivit::QuantConfig& c, const QString&) { config = c; });
    const QModelIndex qkv = model.index_of_node(graph->find("blocks.3.attn.qkv"));
    REQUIRE(qkv.isValid());
    CHECK(model.node_of(qkv) == graph->find("blocks.3.attn.qkv"));
    const QModelIndex weight = qkv.siblingAtColumn(QuantTreeModel::weight_column);
    CHECK(weight.data().toString() == "8");
    CHECK_FALSE(weight.data(QuantTreeModel::choices_role).toStringList().contains("inherit"));
    CHECK(model.setData(weight, "4", Qt::EditRole));
    CHECK(weight.data().toString() == "8");  // until the workbench has agreed
    model.set_state(graph, config, false);
    CHECK(weight.data().toString() == "4");
    CHECK(weight.data(QuantTreeModel::overridden_role).toBool());
    CHECK(weight.data(QuantTreeModel::choices_role).toStringList().first() == "inherit");
    CHECK(qkv.parent().siblingAtColumn(QuantTreeModel::weight_column).data().toString() == "mixed");

    const QModelIndex mode = qkv.parent().siblingAtColumn(QuantTreeModel::mode_column);
    CHECK(model.setData(mode, "float", Qt::EditRole));
    model.set_state(graph, config, false);
    CHECK(mode.data().toString() == "float");
    CHECK(ivit::resolve(config, *graph)[size_t(graph->find("blocks.3.mlp.fc1"))].mode ==
          ivit::Mode::float_ops);

    CHECK_FALSE(model.setData(weight, "17", Qt::EditRole));
    CHECK_FALSE(model.setData(qkv, "x", Qt::EditRole));
    CHECK(model.setData(weight, "inherit", Qt::EditRole));
    model.set_state(graph, config, false);
    CHECK(weight.data().toString() == "8");

    model.set_state(graph, config, true);
    CHECK_FALSE(model.setData(weight, "4", Qt::EditRole));
    // No width is offered that resolve() would then refuse.
    model.set_state(graph, ivit::QuantConfig(), false);
    for (int node = 0; node < int(graph->nodes.size()); ++node) {
        for (const int column : {QuantTreeModel::weight_column, QuantTreeModel::activation_column,
                                 QuantTreeModel::mode_column}) {
            const QModelIndex i = model.index_of_node(node).siblingAtColumn(column);
            if (!(i.flags() & Qt::ItemIsEditable)) continue;
            for (const QString& choice : i.data(QuantTreeModel::choices_role).toStringList()) {
                INFO(graph->nodes[size_t(node)].name << " column " << column << " " << choice.toStdString());
                CHECK(model.setData(i, choice, Qt::EditRole));
                CHECK_NOTHROW(ivit::resolve(config, *graph));
            }
        }
    }
    model.set_state(nullptr, {}, true);
    CHECK(model.rowCount() == 0);
}
