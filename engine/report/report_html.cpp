// SPDX-License-Identifier: Apache-2.0
// The report as one HTML file: no request to anywhere, light and dark, readable on a phone, printable, tables
// that sort.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/report/report.h"
#include "engine/report/report_figures.h"
#include "engine/report/report_parts.h"

namespace ivit {

namespace {

const char* const style = R"css(
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5b6470;--line:#d5dae0;--card:#f5f7f9;--float:#0072b2;--int:#d55e00;--bad:#b3261e}
@media screen and (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e9ec;--dim:#9aa4af;--line:#333a42;--card:#1d2126;--float:#56b4e9;--int:#e69f00;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:16px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25;margin:.2em 0}h2{font-size:1.15rem;margin:2em 0 .4em;border-bottom:1px solid var(--line)}h3{font-size:1rem;margin:1.4em 0 .3em}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 16px;margin:.6em 0}dt{color:var(--dim)}dd{margin:0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.93em;font-variant-numeric:tabular-nums}th,td{padding:3px 7px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child,.l{text-align:left}td.w{white-space:normal;min-width:9em}td.l{white-space:normal;min-width:6em;overflow-wrap:break-word}th{color:var(--dim);font-weight:600;white-space:normal;overflow-wrap:break-word;vertical-align:bottom;line-height:1.25}.sort th{cursor:pointer}th[aria-sort]::after{content:" \2193"}th[aria-sort=ascending]::after{content:" \2191"}
.row{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}.card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px}
.card svg,.thumb svg{display:block;width:100%;height:auto}.plot svg{min-width:640px}.grow{flex:1 1 300px;min-width:0}.hist{flex:1 1 280px;max-width:340px}.plot circle.i{fill:var(--float)}.plot text.worst{fill:var(--int);font-weight:600;font-size:12px;paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}.map{flex:1 1 180px;max-width:240px}.thumb{width:144px}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:1em 0}.cards .find{flex:1 1 240px;min-width:0}.row+.row,.find+.row{margin-top:12px}.find b{display:block;font-size:1.12rem;line-height:1.3;margin-bottom:.25em}.find.alert{border-color:var(--bad)}.find.alert b{color:var(--bad)}
.gain{display:grid;grid-template-columns:minmax(0,2fr) minmax(40px,1fr) max-content;gap:3px 10px;align-items:center}.gain>:nth-child(3n){text-align:right;font-variant-numeric:tabular-nums}.gain .bar{min-width:1px;background:var(--int)}.why{flex:1 1 300px;min-width:0}
.bars{table-layout:fixed}.bars td{white-space:normal}.bars td:nth-child(2){width:40%}.bars td:nth-child(3){width:5.5em;white-space:nowrap}.bar{height:8px;border-radius:2px;background:var(--float)}.bar.q{background:var(--int)}
pre{background:var(--card);border:1px solid var(--line);padding:8px;white-space:pre-wrap}a{color:inherit}.dim{color:var(--dim)}.bad{color:var(--bad);font-weight:600}svg text{fill:var(--dim);font-size:11px;font-family:inherit}.px{image-rendering:pixelated}.grey{filter:grayscale(1)}
@media(max-width:600px){body{padding:12px}.hist,.map{max-width:none}dl{grid-template-columns:minmax(0,1fr)}dt{margin-top:6px}th,td{padding:3px 6px}}
@media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:11px}.card,tr{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}.plot svg{min-width:0}th,td{padding:1px 4px;font-size:9px}.hist{flex:0 1 31%}.find b{font-size:12px}.grow{flex:1 1 180px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";

// Sorts by the clicked column, numbers as numbers, what is absent last; opens everything for the printer.
const char* const script = R"js(
document.querySelectorAll('table.sort').forEach(t=>{const h=[...t.tHead.rows[0].cells];h.forEach((c,i)=>{const go=()=>{
const down=c.getAttribute('aria-sort')==='ascending';h.forEach(x=>x.removeAttribute('aria-sort'));c.setAttribute('aria-sort',down?'descending':'ascending');
const key=r=>{const v=(r.cells[i].dataset.v??r.cells[i].textContent).trim();return v===''||v==='-'||v==='nan'?null:isNaN(Number(v))?v:Number(v)};
[...t.tBodies[0].rows].map(r=>[key(r),r]).sort(([x],[y])=>{if(x===null||y===null)return(x===null)-(y===null);
const s=typeof x==='number'&&typeof y==='number'?x-y:String(x).localeCompare(String(y),undefined,{numeric:true});return down?-s:s})
.forEach(([,r])=>t.tBodies[0].append(r))};c.tabIndex=0;c.onclick=go;c.onkeydown=e=>{if(e.key==='Enter'||e.key===' '){e.preventDefault();go()}}})});
addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(d=>d.open=true));
)js";

// Columns of text are to the left, numbers to the right.
std::string sortable(TextTable t) {
    align_decimals(t);
    std::vector<bool> words(t.head.size());
    for (size_t i = 0; i < t.head.size(); ++i)
        words[i] = std::any_of(t.rows.begin(), t.rows.end(), [&](const auto& row) {
            return row[i].find_first_of("abcdfghijklmnopqrstuvwxyz") != std::string::npos;
        });
    std::string s = "<div class='scroll'><table class='sort'><thead><tr>";
    for (size_t i = 0; i < t.head.size(); ++i)
        s += (words[i] ? "<th class='l'>" : "<th>") + esc(t.head[i]) + "</th>";
    s += "</tr></thead><tbody>";
    for (const auto& row : t.rows) {
        s += "<tr>";
        for (size_t i = 0; i < row.size(); ++i)
            s += (i == 0 ? "<td class='w'>" : words[i] ? "<td class='l'>" : "<td>") + esc(row[i]) + "</td>";
        s += "</tr>\n";
    }
    return s + "</tbody></table></div>";
}

std::string folded(const std::string& summary, const TextTable& t) {
    return t.rows.empty() ? std::string()
                          : "<details><summary>" + esc(summary) + "</summary>" + sortable(t) + "</details>";
}

std::string definitions(const std::vector<std::pair<std::string, std::string>>& rows) {
    std::string s = "<dl>";
    for (const auto& [key, value] : rows) s += "<dt>" + esc(key) + "</dt><dd>" + esc(value) + "</dd>";
    return s + "</dl>";
}

std::string attention_html(const std::string& id, const Json& a) {
    const auto [most, worst] = attention_range(a);
    std::string s = "<h3>" + esc(attention_title(a)) + "</h3><div class='row'>";
    const std::string names[] = {attention_operator(a), "softmax of the same logits", "difference"};
    for (int kind = 0; kind < 3; ++kind)
        s += "<div class='card map'>" + map_svg(id, a, kind, kind == 2 ? worst : most) + "<div>" +
             names[kind] + "</div></div>";
    return s + "</div><p class='dim'>" + esc(attention_sentence(a, most, worst)) + "</p>";
}

std::string predictions_html(const Json& p) {
    std::string s;
    for (const char* kind : {"float", "integer"}) {
        s += fmt::format("<div class='card grow'><b>{}</b><table class='bars'>", kind);
        for (const auto& e : p[kind])
            s += fmt::format(
                "<tr><td>{}</td><td><div class='bar{}' style='width:{:.1f}%'></div></td><td>{} %</td></tr>",
                esc(e["label"]), std::string(kind) == "integer" ? " q" : "", 100 * real(e["probability"]),
                number(100 * real(e["probability"])));
        s += "</table></div>";
    }
    return s;
}

// Sorted by what the networks said, not by what is shown of it.
std::string layers_html(const Json& image) {
    TextTable t = node_table(image);
    align_decimals(t);
    std::string s = "<div class='scroll'><table class='sort'><thead><tr>";
    for (const auto& h : t.head)
        s += h == "op"                   ? "<th class='l'>op</th>"
             : h == "cumulative SQNR dB" ? "<th aria-sort='ascending'>cumulative SQNR dB</th>"
                                         : "<th>" + h + "</th>";
    s += "</tr></thead><tbody>";
    const auto rows = worst_first(layer_rows(image));
    for (size_t i = 0; i < rows.size(); ++i) {
        const LayerRow& r = rows[i];
        const auto& cells = t.rows[i];
        s += fmt::format("<tr><td>{}</td><td>{}</td><td class='l'>{}</td><td>{}</td>", esc(cells[0]),
                         cells[1], esc(cells[2]), cells[3]);
        const double values[] = {r.cumulative_db, r.isolated_db, r.cumulative_db - r.isolated_db,
                                 r.cosine,        r.mse,         r.max_abs_error,
                                 r.saturation,    r.range_used};
        for (size_t k = 0; k < std::size(values); ++k)
            s += fmt::format("<td data-v='{}'>{}</td>", cells[k + 4] == "-" ? NAN : values[k],
                             esc(cells[k + 4]));
        s += "</tr>\n";
    }
    return s + "</tbody></table></div>";
}

std::string evaluation_html(const Json& e) {
    std::string s =
        "<h2>Evaluation</h2><p>" + esc(evaluation_sentence(e)) + "</p>" + sortable(evaluation_table(e));
    for (size_t k = 0; k < e["configurations"].size(); ++k) {
        const std::string name = e["configurations"][k]["quant"];
        s += folded(name + ", flips by the float network's margin", margin_table(e, k)) +
             folded(name + ", by class", class_table(e, k)) +
             folded(name + ", greatest disagreement", worst_table(e, k, 20));
    }
    TextTable skipped{{"skipped", "why"}, {}};
    for (const auto& x : e["skipped"]) {
        if (skipped.rows.size() == 100) break;
        skipped.rows.push_back({x["file"].get<std::string>(), x["error"].get<std::string>()});
    }
    return s + folded("skipped pictures", skipped);
}

// The first screen: does it matter, which layer hurts, and why?
std::string findings_html(const Json& report) {
    std::string s = "<div class='cards'>";
    std::string why;
    for (const Finding& f : findings(report))
        (f.why ? why : s) += fmt::format("<div class='card find{}'><b>{}</b>{}</div>", f.bad ? " alert" : "",
                                         esc(f.headline), esc(f.text));
    s += "</div>";
    if (!report.contains("causes")) return s;
    std::string lists;
    const CauseLists causes = cause_lists(report);
    for (const auto& [title, bars] : causes.lists) {
        lists += fmt::format("<div class='card why'><b>{}</b>", title);
        if (bars.empty()) lists += "<div class='dim'>Nothing gains 0.05 dB.</div>";
        lists += "<div class='gain'>";
        for (const CauseBar& b : bars)
            lists += fmt::format(
                "<span>{}</span><div><div class='bar' style='width:{:.1f}%'></div></div><span>{:+.2f} "
                "dB</span>",
                esc(b.name), 100 * b.gain_db / causes.most_db, b.gain_db);
        lists += "</div></div>";
    }
    return s + "<h2>Which layer hurts, and why</h2>" + why + "<div class='row'>" + lists +
           "</div><p class='dim'>" + esc(causes_sentence(report)) + "</p>";
}

// Several pictures: what came of each, with a link to it.
std::string overview_html(const Json& images) {
    if (images.size() < 2) return {};
    std::string s =
        "<h2>Pictures</h2><div class='scroll'><table class='sort'><thead><tr><th>picture</th><th "
        "class='l'>float</th><th class='l'>integer</th><th>agree</th><th>logits SQNR "
        "dB</th><th>KL nats</th></tr></thead><tbody>";
    for (size_t i = 0; i < images.size(); ++i) {
        const Json &p = images[i]["predictions"], &l = images[i]["logits"];
        s += fmt::format(
            "<tr><td class='w'><a href='#p{}h'>{}</a></td><td class='l'>{}</td><td "
            "class='l'>{}</td><td{}</td><td>{}</td><td>{}</td></tr>\n",
            i, esc(short_name(images[i]["file"])), esc(p["float"][0]["label"]), esc(p["integer"][0]["label"]),
            l["agree"].get<bool>() ? ">yes" : " class='bad'>no", decibels(real(l["sqnr_db"])),
            number(real(l["kl"])));
    }
    return s + "</tbody></table></div>";
}

std::string image_html(const std::string& id, const Json& image) {
    std::string s = "<h2 id='" + id + "h'>" + esc(image["file"]) + "</h2><p" +
                    (image["logits"]["agree"].get<bool>() ? ">" : " class='bad'>") + esc(verdict(image)) +
                    "</p><p class='dim'>SHA-256 " + esc(image["sha256"]) + "</p>";
    s += "<div class='row'>" + thumbnail_svg(id, image) + predictions_html(image["predictions"]) + "</div>";
    s += "<h3>SQNR along depth</h3><div class='card'>" + sqnr_plot(layer_rows(image)) + "</div>";
    s += "<h3>The ten worst nodes</h3><p class='dim'>Values of the <span "
         "style='color:var(--float)'>float</span> (filled) and the <span "
         "style='color:var(--int)'>integer</span> network (outlined), logarithmic counts; dashed lines are "
         "the clamp limits, where they lie within the values.</p><div class='row'>";
    for (const auto& w : image["worst"])
        s += "<div class='card hist'><b>" + esc(w["name"]) + "</b> <span class='dim'>" +
             decibels(real(w["sqnr_db"])) + " dB</span>" + histogram_svg(w["histogram"]) +
             "<div class='dim'>" + esc(clamp_sentence(w["histogram"])) + ". " +
             esc(own_sentence(image, w["name"])) + "</div></div>";
    return s + "</div>" + attention_html(id, image["attention"]) +
           "<h3>Every node, worst first</h3><p class='dim'>" + esc(health(image)) +
           " Click a column's head to sort by it. Place is the order of execution; own share is how much of "
           "a "
           "node's error it makes itself, the rest came with its inputs.</p>" +
           layers_html(image);
}

}  // namespace

std::string report_html(const Json& report) {
    std::string s =
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
        "content='width=device-width,initial-scale=1'><title>";
    s += esc("I-ViT report: " + report_title(report));
    s += std::string("</title><style>") + style + "</style></head><body><h1>" + esc(report_title(report)) +
         "</h1><p class='dim'>An integer-only Vision Transformer beside its float network. " +
         esc(report_subtitle(report)) + "</p>" + findings_html(report);
    const Json& images = report["images"];
    s += overview_html(images);
    for (size_t i = 0; i < images.size(); ++i) s += image_html("p" + std::to_string(i), images[i]);
    if (report.contains("evaluation")) s += evaluation_html(report["evaluation"]);
    if (report.contains("latency")) {
        const Json& l = report["latency"];
        s += "<h2>Latency</h2><p>" + esc(latency_sentence(l)) + "</p>" +
             folded("Step by step (each timed on its own: they add up to more than the whole)",
                    latency_table(l));
    }
    s += "<h2>Made of and with</h2>" + definitions(report_facts(report)) +
         "<h2>Effective configuration</h2>" + definitions(config_rows(report));
    if (!report["reproduce"].empty()) {
        s += "<h2>Reproduce</h2><pre>";
        for (const auto& c : report["reproduce"]) s += esc(c) + "\n";
        s += "</pre>";
    }
    return s +
           "<p class='dim'>SQNR = 20 log10(|fp| / |fp - q|). The numbers are those of <code>ivit "
           "compare</code>; the JSON form of this report can be replayed with "
           "<code>ivit replay</code>.</p><script>" +
           std::string(script) + "</script></body></html>\n";
}

}  // namespace ivit
