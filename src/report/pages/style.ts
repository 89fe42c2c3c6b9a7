const shadesOf = (sign: "n" | "p", color: string): string =>
  Array.from(
    { length: 10 },
    (_, i) => `.${sign}${i + 1}{fill:color-mix(in oklab,var(--${color}) ${10 * (i + 1)}%,var(--paper))}`,
  ).join("\n");

const series = Array.from({ length: 6 }, (_, i) => `.s${i + 1}{background:var(--series-${i + 1})}`).join(
  "\n",
);

const day = `color-scheme:light;--paper:#fff;--page:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--link:#0757ba;
--series-1:#1f6feb;--series-2:#d4530a;--series-3:#1a7f37;--series-4:#8250df;--series-5:#bf3989;--series-6:#7a5c00;
--negative:#0757ba;--positive:#b3380a;`;
const night = `color-scheme:dark;--paper:#161b22;--page:#0d1117;--ink:#e6edf3;--soft:#9da7b3;--line:#363d47;--link:#79b8ff;
--series-1:#6cb0ff;--series-2:#ff9a57;--series-3:#5bd07a;--series-4:#c3a0ff;--series-5:#ff8ac6;--series-6:#e3c25a;
--negative:#6cb0ff;--positive:#ff9a57;`;

/** The style sheet of a report: by day, by night and on paper; for wide windows and phones. */
export const style = `:root{${day}}
@media (prefers-color-scheme:dark){:root{${night}}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;overflow-wrap:anywhere;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main,footer{max-width:1120px;margin:0 auto;padding:1rem}
h1,h2,h3{line-height:1.25;margin:1.6em 0 .5em}
h1{margin-top:.5em;font-size:1.7rem}h2{font-size:1.3rem;border-top:1px solid var(--line);padding-top:1em}h3{font-size:1.05rem}
p,li{max-width:72ch}
a{color:var(--link)}
.facts,.words,footer{color:var(--soft)}
nav ul{list-style:none;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:.25rem 1rem}
nav a{display:inline-block;padding:.2rem 0}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:1rem;margin:1rem 0;align-items:start;grid-auto-flow:dense}
figure{margin:0;padding:.75rem;background:var(--paper);border:1px solid var(--line);border-radius:8px;min-width:0}
figcaption{display:flex;flex-wrap:wrap;gap:.1rem 1rem;align-items:baseline;margin-bottom:.4rem}
@media (min-width:740px){figure.wide{grid-column:span 2}}
.words{margin:.4rem 0 0;font-size:.875rem}
.legend{display:flex;flex-wrap:wrap;gap:.1rem .9rem;font-size:.875rem}
.legend>span{display:inline-flex;align-items:center;gap:.35rem;min-width:0}
.swatch{flex:none;width:.85rem;height:.85rem;border-radius:3px;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.swatch.dashed{border-radius:0;height:0;border-top:2px dashed var(--ink)}
${series}
img.thumbnail{display:block;width:100%;max-width:192px;height:auto;image-rendering:pixelated}
svg{display:block;max-width:100%;height:auto;color:var(--ink);overflow:visible}
svg.chart{width:100%;max-width:460px}
svg.chart text{white-space:pre}
svg.heat{width:100%;max-width:300px;border:1px solid var(--line)}
svg.heat-legend{margin-top:.5rem}
.paper{fill:var(--paper)}.none{fill:var(--line)}
${shadesOf("n", "negative")}
${shadesOf("p", "positive")}
.maps{display:flex;flex-wrap:wrap;gap:.75rem}
.maps>div{flex:1 1 200px;min-width:0;max-width:300px}
.scroll{overflow-x:auto;margin:1rem 0;background:var(--paper);border:1px solid var(--line);border-radius:8px}
.scroll:focus-visible,summary:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.6rem .75rem;font-weight:600}
th,td{padding:.35rem .75rem;text-align:right;border-top:1px solid var(--line);white-space:nowrap;vertical-align:top}
thead th{color:var(--soft);font-weight:600}
th:first-child,.text{text-align:left}
tbody th{font-weight:500}
td.text{white-space:normal;min-width:14ch}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:.75rem;margin:1rem 0}
dl div{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:.5rem .75rem;min-width:0}
dt{color:var(--soft);font-size:.875rem}dd{margin:0;font-size:1.15rem}
details{margin:1rem 0}summary{cursor:pointer;padding:.3rem 0}
code{font-size:.9em}
@media (max-width:480px){th,td{padding:.35rem .4rem}}
@page{margin:12mm}
@media print{
:root{${day}}
body{background:none;font-size:10pt}
main,footer{max-width:none;padding:0}
nav{display:none}
h2,h3,caption,figcaption{break-after:avoid}
figure,dl div,tr{break-inside:avoid}
figure,.scroll,dl div{border-color:#bbb}
.scroll{overflow:visible}
.figures{grid-template-columns:1fr 1fr;gap:.5rem}
table{font-size:8pt}th,td{padding:.15rem .3rem}td.text{min-width:0}
.none,.paper,[class^="n"],[class^="p"]{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details::details-content{display:block;content-visibility:visible;block-size:auto}
details>summary{list-style:none}
a{color:inherit;text-decoration:none}
}
`;
