// The two pages that move: a slider over recorded runs, and a walk through a latent space. Plain JavaScript; nothing is fetched but a file of this site.
"use strict";
{
const here = new URL(".", document.currentScript.src);
// From disk no page can be fetched, so results of a search stand without a line of their page.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
const BLUE = "#0072b2", ORANGE = "#e69f00", GREEN = "#009e73";
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// --- small parts ---
const make = (tag, attributes = {}, ...children) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) k in e && typeof v !== "string" ? e[k] = v : e.setAttribute(k, v);
  e.append(...children);
  return e;
};
const drawn = (tag, attributes = {}, text) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
};
const data = name => new Promise((done, failed) => {
  const script = make("script", {src: new URL(`${name}-data.js`, here).href});
  script.onload = () => done(window[`scvae_${name}`]);
  script.onerror = failed;
  document.head.append(script);
});
const legend = (types, colors) => make("ul", {class: "legend"}, ...types.map((t, i) => make("li", {}, make("i", {style: `background:${colors[i]}`}), t)));
const fit = (canvas, tall = 1) => {  // as many pixels as the screen shows
  const size = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(tall * size);
  if (canvas.width !== size || canvas.height !== height) { canvas.width = size; canvas.height = height; }
  return canvas.getContext("2d");
};
const round = (x, digits = 2) => Number(x).toFixed(digits);

// A line chart as SVG: series of {values, color, dash, name}; x by position; a marker at one position.
function chart({title, series, at, low, high, ticks, height = 105, digits = 0}) {
  const W = 340, left = 46, right = 8, top = 18, bottom = 20, svg = drawn("svg", {viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": title});
  const n = series[0].values.length, x = i => left + (W - left - right) * i / Math.max(n - 1, 1), y = v => top + (height - top - bottom) * (1 - (v - low) / (high - low));
  svg.append(drawn("text", {x: left, y: 11, "font-weight": 600}, title));
  svg.append(drawn("path", {d: `M${left} ${top}V${height - bottom}H${W - right}`, fill: "none", class: "axis"}));
  for (const v of [low, high]) svg.append(drawn("text", {x: left - 5, y: y(v) + 4, "text-anchor": "end", class: "soft"}, round(v, digits)));
  for (const [i, t] of ticks) svg.append(drawn("text", {x: x(i), y: height - 5, "text-anchor": i === n - 1 ? "end" : "middle", class: "soft"}, t));
  series.forEach((s, k) => {
    svg.append(drawn("polyline", {points: s.values.map((v, i) => `${x(i)},${y(Math.min(Math.max(v, low), high))}`).join(" "), fill: "none", stroke: s.color, "stroke-width": 2, "stroke-dasharray": s.dash || "none"}));
    if (at !== undefined) svg.append(drawn("circle", {cx: x(at), cy: y(s.values[at]), r: 5, fill: s.color, class: "marker"}));
    if (s.name) svg.append(drawn("text", {x: W - right - 2, y: top + 8 + 13 * k, "text-anchor": "end", style: `fill:${s.color};font-weight:600`}, s.name));
  });
  return svg;
}

// --- the slider over beta ---
async function slider(box) {
  const page = await data("slider"), runs = page.runs, last = runs.length - 1, start = Math.max(0, runs.findIndex(r => r.beta === 0.15));
  const input = make("input", {type: "range", min: "0", max: String(last), step: "1", value: String(start), id: "beta-knob", "aria-describedby": "beta-said"});
  const ticks = make("ul", {class: "ticks", "aria-hidden": "true"}, ...runs.map((r, i) => make("li", {onclick: () => { input.value = String(i); show(i); }}, make("span", {}, String(r.beta)))));
  const said = make("p", {class: "said", id: "beta-said", "aria-live": "polite"}), canvas = make("canvas", {role: "img"}), charts = make("div");
  box.replaceChildren(make("div", {class: "knob"}, make("label", {for: "beta-knob"}, "beta"), input, ticks, said),
    make("div", {class: "row"}, make("div", {}, canvas, legend(page.types, page.colors)), charts));
  box.classList.add("play");
  const ends = run => ({recon: run.recon.at(-1), kl: run.kl.at(-1)});
  const used = run => run.spread.filter(s => s > 0.1).length;
  const tops = key => Math.max(...runs.flatMap(r => r[key]));
  const ari = runs.map(r => r.ari[page.label]), betas = [[0, runs[0].beta], [start, runs[start].beta], [4, runs[4]?.beta], [last, runs[last].beta]];
  let now = runs[start].xy.map(c => Float32Array.from(c)), frame;

  function points() {
    const g = fit(canvas), s = canvas.width, r = Math.max(1.2, s / 330);
    g.clearRect(0, 0, s, s);
    page.type.forEach((t, i) => { g.fillStyle = page.colors[t] || "#bbb"; g.beginPath(); g.arc((.03 + .94 * now[0][i] / 999) * s, (.97 - .94 * now[1][i] / 999) * s, r, 0, 7); g.fill(); });
  }
  function bars(run) {
    const W = 340, H = 105, left = 46, top = 18, floor = H - 20, high = Math.max(1, Math.ceil(Math.max(...runs.flatMap(r => r.spread)))), svg = drawn("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Spread of the ${run.spread.length} latents`});
    svg.append(drawn("text", {x: left, y: 11, "font-weight": 600}, "spread of each latent (sd over cells)"), drawn("path", {d: `M${left} ${top}V${floor}H${W - 8}`, fill: "none", class: "axis"}));
    for (const v of [0, high]) svg.append(drawn("text", {x: left - 5, y: floor - (floor - top) * v / high + 4, "text-anchor": "end", class: "soft"}, v));
    const w = (W - left - 8) / run.spread.length;
    run.spread.forEach((s, i) => svg.append(drawn("rect", {x: left + i * w + 3, width: w - 6, y: floor - Math.max(1, (floor - top) * s / high), height: Math.max(1, (floor - top) * s / high), fill: s > 0.1 ? GREEN : "#999"})));
    return svg;
  }
  function show(i) {
    const run = runs[i], e = ends(run);
    said.textContent = `beta ${run.beta} (ELBO units): reconstruction error ${round(e.recon, 0)} and KL ${round(e.kl, 1)} nats per cell, ${used(run)} of ${run.spread.length} latents in use, ARI ${round(ari[i].kmeans)} by k-means and ${round(ari[i].leiden)} by Leiden.`;
    [...ticks.children].forEach((t, k) => t.style.fontWeight = k === i ? "700" : "400");
    canvas.setAttribute("aria-label", `UMAP of the latents at beta ${run.beta}, coloured by ${page.types.length} types`);
    input.setAttribute("aria-valuetext", `beta ${run.beta}`);
    charts.replaceChildren(
      chart({title: "reconstruction error (nats) by beta", series: [{values: runs.map(r => ends(r).recon), color: BLUE}], at: i, low: 0, high: Math.ceil(Math.max(...runs.map(r => ends(r).recon)) / 100) * 100, ticks: betas}),
      chart({title: "KL (nats) over training, this beta", series: [{values: run.kl, color: GREEN}], low: 0, high: Math.ceil(tops("kl") / 10) * 10, ticks: [[0, "1"], [run.kl.length - 1, `epoch ${run.kl.length}`]]}),
      bars(run),
      chart({title: "ARI with the types, by beta", series: [{values: ari.map(a => a.kmeans), color: BLUE, name: "k-means"}, {values: ari.map(a => a.leiden), color: "#d55e00", dash: "5 3", name: "Leiden"}], at: i, low: 0, high: 1, ticks: betas}));
    const from = now.map(c => c.slice()), to = run.xy, began = performance.now();
    cancelAnimationFrame(frame);
    const step = t => {
      const f = still ? 1 : Math.min(1, Math.max(0, (t - began) / 450)), ease = f * f * (3 - 2 * f);
      for (const a of [0, 1]) for (let k = 0; k < to[a].length; k++) now[a][k] = from[a][k] + (to[a][k] - from[a][k]) * ease;
      points();
      if (f < 1) frame = requestAnimationFrame(step); else box.dataset.shown = i;
    };
    frame = requestAnimationFrame(step);
  }
  input.addEventListener("input", () => show(+input.value));
  new ResizeObserver(points).observe(canvas);
  show(start);
}

// --- the walk ---
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
function halves(text) {  // 16-bit floats
  return Float32Array.from(new Uint16Array(bytes(text)), h => {
    const s = h >> 15 ? -1 : 1, e = (h >> 10) & 31, f = h & 1023;
    return s * (e ? 2 ** (e - 15) * (1 + f / 1024) : 2 ** -14 * f / 1024);
  });
}
async function walk(box) {
  const page = await data("walk"), n = page.n, D = page.n_latent, G = page.genes.length, DRAWS = 20, STEPS = 24;
  const type = new Uint8Array(bytes(page.type)), subtype = new Uint8Array(bytes(page.subtype)), xy = new Uint16Array(bytes(page.xy));
  const mu = Float32Array.from(new Int16Array(bytes(page.mu)), v => v / 200), sd = Float32Array.from(new Uint16Array(bytes(page.sd)), v => v / 200), cells = Float32Array.from(new Int8Array(bytes(page.cells)), v => v / 20);
  const layers = page.widths.map(([out, into], i) => ({out, into, w: halves(page.decoder[2 * i]), b: halves(page.decoder[2 * i + 1])}));
  const decode = z => layers.reduce((x, l, i) => Float32Array.from({length: l.out}, (_, o) => {
    let s = l.b[o];
    for (let k = 0; k < l.into; k++) s += l.w[o * l.into + k] * x[k];
    return i < layers.length - 1 ? Math.max(s, 0) : s;
  }), z);
  box.dataset.error = Math.max(...decode(page.check.z).map((v, i) => Math.abs(v - page.check.out[i])));  // how far this decoder is from the one that was trained
  const latents = i => mu.subarray(i * D, i * D + D), spreads = i => sd.subarray(i * D, i * D + D);
  const nearest = (z, but = -1) => { let best = 0, least = Infinity; for (let i = 0; i < n; i++) { if (i === but) continue; let d = 0; for (let k = 0; k < D && d < least; k++) d += (mu[i * D + k] - z[k]) ** 2; if (d < least) [least, best] = [d, i]; } return best; };
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const says = i => `cell ${i}: ${page.types[type[i]]}, ${page.subtypes[subtype[i]]}`;

  let first = 7, second = null, hover = null, like = [], path = [], mode = "like", step = 0;
  const canvas = make("canvas", {tabindex: "0", role: "application", "aria-label": "Map of the cells. Arrow keys move to a neighbouring cell, Enter generates cells like it, W walks to it."});
  const tip = make("p", {class: "tip", "aria-live": "polite"}), said = make("p", {class: "said", "aria-live": "polite"}), panel = make("div");
  const buttons = ["like", "walk"].map(m => make("button", {type: "button", "data-mode": m}, m === "like" ? "Generate like a cell" : "Walk to another cell"));
  const again = make("button", {type: "button"}, "Draw again"), any = make("button", {type: "button"}, "Any cell");
  const knob = make("input", {type: "range", min: "0", max: String(STEPS), value: "0", "aria-label": "how far along the walk"});
  const wide = make("input", {type: "range", min: "0", max: "4", value: "0", id: "walk-wide"}), widths = [1, 2, 4, 8, 16], width = make("label", {for: "walk-wide"});
  box.replaceChildren(make("div", {}, ...buttons, again, any), make("div", {class: "row"}, make("div", {}, canvas, tip, legend(page.types, page.colors)), make("div", {}, said, width, wide, knob, panel)));
  box.classList.add("play");

  const highest = xy.reduce((m, v, k) => k % 2 ? Math.max(m, v) : m, 0), tall = .06 + .94 * highest / 999;  // the map ends where the cells end
  canvas.style.aspectRatio = String(1 / tall);
  const at = (i, s) => [(.03 + .94 * xy[2 * i] / 999) * s, (tall - .03 - .94 * xy[2 * i + 1] / 999) * s];
  const base = document.createElement("canvas");
  const ink = () => "#111";
  function paint() {
    const g = fit(canvas, tall), s = canvas.width, r = Math.max(1.2, s / 330);
    if (!s) return;  // not laid out yet
    if (base.width !== s || base.height !== canvas.height) {  // the cells themselves are drawn once
      base.width = s; base.height = canvas.height;
      const b = base.getContext("2d");
      for (let i = 0; i < n; i++) { b.fillStyle = page.colors[type[i]]; b.beginPath(); b.arc(...at(i, s), r, 0, 7); b.fill(); }
    }
    g.clearRect(0, 0, s, canvas.height);
    g.globalAlpha = .55; g.drawImage(base, 0, 0); g.globalAlpha = 1;
    g.strokeStyle = ink(); g.lineWidth = Math.max(1.5, s / 300);
    const ring = (i, size) => { g.beginPath(); g.arc(...at(i, s), size * r, 0, 7); g.stroke(); };
    const dot = (i, size) => { g.fillStyle = page.colors[type[i]]; g.beginPath(); g.arc(...at(i, s), size * r, 0, 7); g.fill(); g.stroke(); };
    if (mode === "like") like.forEach(d => dot(d.near, 2.6));
    else path.forEach((d, k) => { if (k === step) dot(d.near, 5); else { g.fillStyle = ink(); g.beginPath(); g.arc(...at(d.near, s), 1.4 * r, 0, 7); g.fill(); } });
    for (const i of [first, mode === "walk" ? second : null]) if (i !== null) { g.lineWidth = Math.max(2, s / 200); ring(i, 6); }
    if (hover !== null) { g.lineWidth = 1.5; ring(hover, 3.5); }
  }
  function profile(a, b, names) {  // two rows of bars a gene: left is below the average of all cells, right above
    const starts = page.highest.map((t, j) => t !== page.highest[j - 1]), heads = starts.filter(Boolean).length;
    const W = 340, row = 15, left = 84, top = 30, H = top + row * (G + heads) + 16, mid = left + (W - left) * .3, unit = (W - left) * .7 / 4, svg = drawn("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Sixteen genes: ${names.join(" and ")}`});
    svg.append(drawn("rect", {x: left, y: 4, width: 10, height: 10, fill: BLUE}), drawn("text", {x: left + 14, y: 13}, names[0]), drawn("rect", {x: left, y: 17, width: 10, height: 6, fill: ORANGE}), drawn("text", {x: left + 14, y: 25}, names[1]));
    svg.append(drawn("path", {d: `M${mid} ${top}V${H - 14}`, class: "axis"}));
    let line = 0;  // a line for each type, then one for each of its genes
    page.genes.forEach((g, j) => {
      const color = page.colors[page.highest[j]];
      if (starts[j]) { const y = top + row * line++; svg.append(drawn("rect", {x: 0, y: y + 3, width: 9, height: 9, fill: color}), drawn("text", {x: 13, y: y + 12, style: "font-size:10.5px"}, `highest in ${page.types[page.highest[j]]}`)); }
      const y = top + row * line++;
      svg.append(drawn("text", {x: left - 7, y: y + 11, "text-anchor": "end", class: "soft", style: "font-size:10px"}, g), drawn("rect", {x: left - 3, y: y + 1, width: 3, height: row, fill: color}));
      [[a[j], BLUE, 2, 6], [b[j], ORANGE, 8, 5]].forEach(([v, color, dy, h]) => { const w = Math.min(Math.abs(v), v < 0 ? 1.5 : 4) * unit; svg.append(drawn("rect", {x: v < 0 ? mid - w : mid, y: y + dy, width: w, height: h, fill: color})); });
    });
    svg.append(drawn("text", {x: W, y: H - 3, "text-anchor": "end", class: "soft"}, "standard deviations from the average cell"));
    return svg;
  }
  function generate() {
    const times = widths[wide.value];
    width.textContent = times === 1 ? "as wide as the posterior, as generate_like draws" : `${times} times as wide as the posterior`;
    like = Array.from({length: DRAWS}, () => { const m = latents(first), s = spreads(first), z = Float32Array.from(m, (v, k) => v + widths[wide.value] * s[k] * normal()); return {near: nearest(z, first), out: decode(z)}; });
    const mean = Float32Array.from({length: G}, (_, j) => like.reduce((t, d) => t + d.out[j], 0) / DRAWS), around = {};
    like.forEach(d => { const t = page.types[type[d.near]]; around[t] = (around[t] || 0) + 1; });
    const where = new Set(like.map(d => d.near)).size;
    said.textContent = `${DRAWS} cells generated like ${says(first)}. The nearest other real cells, by draw: ${Object.entries(around).sort((a, b) => b[1] - a[1]).map(([t, k]) => `${k} × ${t}`).join(", ")} (${where} different ${where === 1 ? "cell" : "cells"}).`;
    panel.replaceChildren(profile(cells.subarray(first * G, first * G + G), mean, ["this cell, as measured", "mean of the generated cells"]));
    box.dataset.shown = first;
    paint();
  }
  function go() {
    const a = latents(first), b = latents(second);
    path = Array.from({length: STEPS + 1}, (_, k) => { const z = Float32Array.from(a, (v, d) => v + (b[d] - v) * k / STEPS); return {near: nearest(z), out: decode(z)}; });
    along();
  }
  function along() {
    if (!path.length) return;
    step = +knob.value;
    said.textContent = `${Math.round(100 * step / STEPS)} % of the way from ${says(first)} to ${says(second)}. Nearest real cell: ${page.types[type[path[step].near]]}.`;
    panel.replaceChildren(profile(path[0].out, path[step].out, ["decoded at the start", "decoded here"]));
    box.dataset.walked = step;
    paint();
  }
  function choose(i) {
    if (mode === "like") { first = i; generate(); }
    else { second = i; knob.value = String(STEPS / 2); go(); }
  }
  const another = () => {  // a cell of another type, so that there is a walk to begin with
    const counts = page.types.map((_, t) => t === type[first] ? 0 : type.reduce((k, v) => k + (v === t), 0));
    return type.indexOf(counts.indexOf(Math.max(...counts)));
  };
  function become(m) {
    mode = m; second = another(); knob.value = String(STEPS / 2); path = []; step = 0;
    buttons.forEach(b => b.setAttribute("aria-pressed", String(b.dataset.mode === m)));
    knob.hidden = m !== "walk"; [again, wide, width].forEach(e => e.hidden = m === "walk");
    m === "like" ? generate() : go();
  }
  const under = e => {
    const b = canvas.getBoundingClientRect(), x = (e.clientX - b.left) / b.width, y = (e.clientY - b.top) / b.width;
    let best = 0, least = Infinity;
    for (let i = 0; i < n; i++) { const [u, v] = at(i, 1), d = (u - x) ** 2 + (v - y) ** 2; if (d < least) [least, best] = [d, i]; }
    return best;
  };
  const point = i => { hover = i; tip.textContent = says(i); paint(); };
  const towards = (dx, dy) => {  // the nearest cell in a direction
    const from = hover ?? first, [x, y] = at(from, 1);
    let best = from, least = Infinity;
    for (let i = 0; i < n; i++) { const [u, v] = at(i, 1), along = (u - x) * dx + (v - y) * dy, off = Math.abs((u - x) * dy) + Math.abs((v - y) * dx); if (along > .012 && along + 2 * off < least) [least, best] = [along + 2 * off, i]; }
    point(best);
  };
  canvas.addEventListener("pointermove", e => point(under(e)));
  canvas.addEventListener("click", e => { const i = under(e); point(i); choose(i); });
  canvas.addEventListener("keydown", e => {
    const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    if (arrows[e.key]) towards(...arrows[e.key]);
    else if (e.key === "Enter" || e.key === " ") choose(hover ?? first);
    else if (e.key.toLowerCase() === "w") { const i = hover; become("walk"); if (i !== null) choose(i); }
    else return;
    e.preventDefault();
  });
  buttons.forEach(b => b.addEventListener("click", () => become(b.dataset.mode)));
  again.addEventListener("click", generate);
  wide.addEventListener("input", generate);
  any.addEventListener("click", () => { const i = Math.floor(Math.random() * n); point(i); choose(i); });
  knob.addEventListener("input", along);
  new ResizeObserver(paint).observe(canvas);
  tip.textContent = "Hover or touch a cell; or press Tab and use the arrow keys, Enter and W.";
  become("like");
}

for (const [name, run] of [["slider", slider], ["walk", walk]])
  for (const box of document.querySelectorAll(`.scvae-${name}`)) run(box).catch(e => { console.error(e); box.append(" It could not be loaded."); });
}

// --- the switch that opens all code; remembered where the browser allows it ---
{
  const scrolls = () => { for (const pre of document.querySelectorAll("article pre")) if (pre.scrollWidth > pre.clientWidth) pre.tabIndex = 0; };
  scrolls();  // by keyboard too
  const box = document.getElementById("all-code"), place = "scvae-all-code";
  const remembered = () => { try { return localStorage.getItem(place) === "1"; } catch { return false; } };
  function open(all) {
    document.body.classList.toggle("all-code", all);
    for (const cell of document.querySelectorAll("div.cell details.hide")) cell.open = all;
    try { localStorage.setItem(place, all ? "1" : "0"); } catch { /* a private window */ }
  }
  if (box) {
    box.checked = remembered();
    if (box.checked) open(true);
    box.addEventListener("change", () => open(box.checked));
  }
}
