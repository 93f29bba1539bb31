#include "report/html_parts.h"
#include "report/svg.h"

namespace graft {

const char* chart_css() {
  return R"css(:root{--page:#f6f7f9;--card:#fff;--ink:#16202e;--soft:#55627a;--line:#e1e5ec;--rule:#aab3c2;--accent:#1f5fd0;
--muted:#9aa5b8;--good:#1f5fd0;--bad:#d9541e;--code:#f1f3f7;--c0:#1f5fd0;--c1:#c2460f;--c2:#0b7561;--c3:#9a3fb5;--c4:#a87400;
--c5:#5b6678}
@media (prefers-color-scheme:dark){:root{--page:#0e131b;--card:#171e29;--ink:#e8ecf3;--soft:#a3aec0;--line:#29323f;--rule:#526074;
--accent:#7aa7ff;--muted:#66728a;--good:#3b74dd;--bad:#d2602f;--code:#10161f;--c0:#7aa7ff;--c1:#ff9561;--c2:#4fd0b3;--c3:#dd92f2;
--c4:#e6b84d;--c5:#a9b4c6}}
.chart{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.chart text{fill:var(--ink)}.chart .tick,.chart .label{fill:var(--soft)}.chart .tick{font-variant-numeric:tabular-nums}
.chart .end{text-anchor:end}.chart .middle,.chart .cell{text-anchor:middle}.chart .strong,.chart .value{font-weight:600}
.chart .grid{stroke:var(--line)}.chart .axis{stroke:var(--rule)}
.chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.chart .raw{fill:none;stroke-width:1;opacity:.3}
.chart .dot{stroke:var(--card);stroke-width:1.5}
.chart .s0{stroke:var(--c0)}.chart .s1{stroke:var(--c1)}.chart .s2{stroke:var(--c2)}.chart .s3{stroke:var(--c3)}
.chart .s4{stroke:var(--c4)}.chart .s5{stroke:var(--c5)}
.chart .dot.s0{fill:var(--c0);stroke:var(--card)}.chart .dot.s1{fill:var(--c1);stroke:var(--card)}
.chart .dot.s2{fill:var(--c2);stroke:var(--card)}.chart .dot.s3{fill:var(--c3);stroke:var(--card)}
.chart .dot.s4{fill:var(--c4);stroke:var(--card)}.chart .dot.s5{fill:var(--c5);stroke:var(--card)}
.chart .band{opacity:.16}.chart .band.s0{fill:var(--c0);stroke:none}.chart .band.s1{fill:var(--c1);stroke:none}
.chart .band.s2{fill:var(--c2);stroke:none}.chart .band.s3{fill:var(--c3);stroke:none}
.chart .band.s4{fill:var(--c4);stroke:none}.chart .band.s5{fill:var(--c5);stroke:none}
.chart .b0{fill:var(--muted)}.chart .b1{fill:var(--accent)}
.chart .whisker{stroke:var(--ink);stroke-width:1.5;fill:none}.chart .reference{stroke:var(--soft);stroke-dasharray:4 3;fill:none}
.chart .hit{fill:var(--good)}.chart .miss{fill:var(--bad)}.chart .field{fill:none;stroke:var(--line)}
)css";
}

const char* page_css() {
  return R"css(*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 8px}
footer{max-width:1120px;margin:0 auto;padding:8px 24px 40px;color:var(--soft);font-size:14px}
h1,h2,h3,p,dl,dd,figure,ul,pre{margin:0;padding:0}
h1{font-size:32px;line-height:1.2;font-weight:680;letter-spacing:-.015em;overflow-wrap:anywhere}
h1 .on{color:var(--soft);font-weight:400}
h2{font-size:20px;font-weight:650;margin-bottom:14px}
h3{font-size:16px;font-weight:600;overflow-wrap:anywhere}
small{font-weight:400;font-size:13px;color:var(--soft)}
a{color:var(--accent)}
a:focus-visible,summary:focus-visible,select:focus-visible,input:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.brand{color:var(--accent);font-size:13px;font-weight:650;letter-spacing:.08em;text-transform:uppercase;margin-bottom:6px}
.facts{display:flex;flex-wrap:wrap;gap:6px 28px;margin-top:14px}
.facts dt{font-size:13px;color:var(--soft)}.facts dd{font-weight:550;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 20px;margin:22px 0 18px;padding:10px 0;border-block:1px solid var(--line);font-size:14px}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin-bottom:20px}
.note{color:var(--soft);font-size:14px;margin-bottom:14px;max-width:75ch}.note:last-child{margin-bottom:0}
.grid2{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:24px 32px}.stack{display:grid;gap:24px}
figure{min-width:0}figcaption{font-weight:600;font-size:15px;margin-bottom:8px}
.scroll{overflow-x:auto}
.what{color:var(--soft)}
.bigs{display:flex;flex-wrap:wrap;align-items:center;gap:8px 22px;margin:10px 0 16px}
.big{display:flex;flex-direction:column}.big .name,.big .interval{font-size:14px;color:var(--soft)}
.big .figure{font-size:52px;line-height:1.1;font-weight:680;letter-spacing:-.03em;font-variant-numeric:tabular-nums}
.big.before .figure{color:var(--soft);font-weight:500}.big.after .figure{color:var(--accent)}
.arrow{font-size:30px;color:var(--rule)}
.verdict{border-left:3px solid var(--accent);padding-left:12px}.verdict span{display:block;font-size:14px;color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid var(--line)}
th{font-weight:600}thead th{color:var(--soft);font-weight:500}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.nowrap{white-space:nowrap}
tr:last-child>*{border-bottom:0}
.table{margin-top:22px;max-width:640px}.table h3{margin-bottom:4px;font-size:15px}
caption{text-align:left;font-weight:600;font-size:15px;padding-bottom:4px}
.phases{margin-top:22px}.phases th{font-weight:400;white-space:nowrap}.share{width:60%}
.key{display:inline-block;width:12px;height:12px;border-radius:2px;vertical-align:-1px;margin-left:8px}
.key.hit{background:var(--good)}.key.miss{background:var(--bad)}
.key.was{width:3px;height:14px;background:var(--ink);vertical-align:-2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:18px 24px}
.tile dt{font-size:14px;color:var(--soft)}.tile dd{font-size:22px;font-weight:620;font-variant-numeric:tabular-nums}
.tile small{display:block}
.controls{display:flex;flex-wrap:wrap;gap:10px 16px;align-items:end;margin-bottom:8px;font-size:14px}
.controls[hidden]{display:none}
.controls label{display:flex;flex-direction:column;gap:3px;color:var(--soft);max-width:100%}
select,input{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:5px 8px;
max-width:100%;height:36px}
.controls output{color:var(--soft);padding-bottom:6px}
.mistake{padding:18px 0;border-top:1px solid var(--line)}.mistake:last-child{padding-bottom:0}.mistake[hidden]{display:none}
.predicted{color:var(--c1)}.right{color:var(--c2)}.should{font-weight:400;color:var(--soft)}
.two{display:grid;grid-template-columns:minmax(0,1.25fr) minmax(0,1fr);gap:12px 32px;margin-top:8px}
.text{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;font-size:15px}
.source{margin-top:8px;font-size:13px;color:var(--soft);display:flex;flex-wrap:wrap;gap:4px 10px;overflow-wrap:anywhere}
.tag{border:1px solid var(--rule);border-radius:999px;padding:0 9px}.tag.lost{border-color:var(--c1);color:var(--c1)}
summary{cursor:pointer;color:var(--accent);font-size:14px;margin-top:6px}
.bars{list-style:none;display:grid;gap:5px;align-content:start;font-size:14px}
.bars li{display:grid;grid-template-columns:minmax(0,11em) minmax(0,1fr) 3.6em;gap:10px;align-items:center}
.bars .choice{overflow-wrap:anywhere;line-height:1.25}.bars b{font-weight:500;font-size:12px;color:var(--soft)}
.bars .p{text-align:right;font-variant-numeric:tabular-nums}.bars .rest{display:block;color:var(--soft);font-size:13px}
.track{display:block;position:relative;height:10px;border-radius:5px;background:var(--line)}
.fill{position:absolute;inset:0 auto 0 0;border-radius:5px;background:var(--muted);min-width:2px}
.truth .fill{background:var(--c2)}.wrong .fill{background:var(--c1)}.phases .fill{background:var(--accent)}
.track .was{position:absolute;top:-2px;bottom:-2px;width:2px;margin-left:-1px;background:var(--ink)}
.command{margin-bottom:16px}.command:last-child{margin-bottom:0}.command p{font-size:15px;margin-bottom:5px}
pre{background:var(--code);border:1px solid var(--line);border-radius:8px;padding:11px 14px;overflow-x:auto}
code{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.rows div{display:grid;grid-template-columns:13em minmax(0,1fr);gap:2px 16px;padding:6px 0;border-bottom:1px solid var(--line);
font-size:14px}
.rows dt{color:var(--soft)}.rows dd{overflow-wrap:anywhere}.config{margin-top:12px}.config pre{margin-top:8px}
@media (max-width:760px){main{padding:22px 14px 4px}footer{padding-inline:14px}section{padding:18px 16px;border-radius:10px}
h1{font-size:25px}.grid2,.two{grid-template-columns:minmax(0,1fr)}.big .figure{font-size:42px}.bigs{gap:8px 16px}
.rows div{grid-template-columns:minmax(0,1fr)}.bars li{grid-template-columns:minmax(0,8em) minmax(0,1fr) 3.6em}.share{width:30%}
.tiles{grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}.tile dd{font-size:19px}}
@media (max-width:480px){.chart .tick,.chart .label,.chart .value{font-size:14.5px}}
@media print{:root{--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--rule:#888;--accent:#1f5fd0;--muted:#9aa5b8;
--good:#1f5fd0;--bad:#d9541e;--code:#fff;--c0:#1f5fd0;--c1:#c2460f;--c2:#0b7561;--c3:#8a35a3;--c4:#8a5f00;--c5:#5b6678}
nav,.controls{display:none}.scroll{overflow:visible}.chart.large{min-width:0!important}section{border:0;padding:0;margin-bottom:24px}main{padding:0;max-width:none}
figure,.mistake,.command,.tile,tr{break-inside:avoid}h2,h3{break-after:avoid}pre{white-space:pre-wrap}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
)css";
}

const char* page_script() {
  return R"js((function () {
  "use strict";
  var list = document.getElementById("list");
  var controls = document.getElementById("controls");
  if (!list || !controls) return;
  var items = Array.prototype.slice.call(list.querySelectorAll(".mistake"));
  var by = document.getElementById("by");
  var words = document.getElementById("words");
  var shown = document.getElementById("shown");

  function fill(name) {
    var select = document.getElementById(name);
    var values = items.map(function (item) { return item.getAttribute("data-" + name); });
    values.filter(function (value, at) { return values.indexOf(value) === at; }).sort().forEach(function (value) {
      var option = document.createElement("option");
      option.value = option.textContent = value;
      select.appendChild(option);
    });
    return select;
  }
  var truth = fill("truth");
  var predicted = fill("predicted");

  function update() {
    var sign = { confident: -1, doubtful: 1, order: 0 }[by.value];
    items.sort(function (a, b) {
      var order = a.getAttribute("data-order") - b.getAttribute("data-order");
      return sign * (a.getAttribute("data-confidence") - b.getAttribute("data-confidence")) || order;
    });
    var wanted = words.value.toLowerCase();
    var count = 0;
    items.forEach(function (item) {
      var fits = (!truth.value || item.getAttribute("data-truth") === truth.value) &&
        (!predicted.value || item.getAttribute("data-predicted") === predicted.value) &&
        (!wanted || item.textContent.toLowerCase().indexOf(wanted) >= 0);
      item.hidden = !fits;
      if (fits) count += 1;
      list.appendChild(item);
    });
    shown.textContent = count + " of " + items.length + " shown";
  }

  [by, truth, predicted].forEach(function (control) { control.addEventListener("change", update); });
  words.addEventListener("input", update);
  controls.addEventListener("submit", function (event) { event.preventDefault(); });
  controls.hidden = false;
  update();
})();
)js";
}

}  // namespace graft
