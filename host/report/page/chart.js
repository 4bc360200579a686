// SPDX-License-Identifier: GPL-3.0-or-later
// Charts as SVG elements that follow the colours of the page.

const colourOfState = (i) => `var(--s${i % 8})`;

// Charts are drawn as wide as they are shown, so that their type keeps its size on a telephone.
const chartWidth = () => Math.round(Math.max(300, Math.min(560, document.getElementById('main').clientWidth - 72)));

// Names of states differ at their ends as often as at their beginnings.
const shortened = (text, n) => (text.length > n ? `${text.slice(0, Math.floor((n - 1) / 2))}…${text.slice(-Math.ceil((n - 1) / 2))}` : text);

function niceStep(range, ticks) {
  const rough = range / ticks, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((m) => m * power >= rough * 0.999999) * power;
}
function ticksOf(lo, hi, n) {
  const step = niceStep(hi - lo || 1, n), out = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * step; k++) out.push(Number((k * step).toPrecision(12)));
  return out;
}
const tip = document.getElementById('tip');
function tipped(node, text) {
  const show = (x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - box.width - 4))}px`;
    tip.style.top = `${y + 14 + box.height > innerHeight ? y - box.height - 8 : y + 14}px`;
  };
  node.addEventListener('pointermove', (e) => show(e.clientX, e.clientY));
  node.addEventListener('pointerleave', () => { tip.hidden = true; });
  node.addEventListener('focus', () => { const b = node.getBoundingClientRect(); show(b.right, b.top); });
  node.addEventListener('blur', () => { tip.hidden = true; });
  node.append(s('title', {}, text));
  return node;
}

// Ends of an axis: from 0, unless that would leave most of it empty below the values.
function rangeOf(values) {
  const known = values.filter(isNumber), lo = Math.min(...known), hi = Math.max(...known), part = 0.15 * (hi - lo);
  if (hi > lo && lo > 0.6 * hi) return [lo - part, hi + part];
  return [Math.min(0, lo), hi > 0 ? hi * 1.05 : lo < 0 ? 0 : 1];
}

// groups: [{name, colour, mean, ci, points: [{value, ci, name, href, x}]}] over named places on the x axis.
function dotChart({ title, unit, groups, summary }) {
  const w = chartWidth(), height = 330, left = 58, right = 14, top = 30, bottom = 46;
  const [lo, hi] = rangeOf(groups.flatMap((g) => [g.mean, ...(g.ci || []), ...g.points.flatMap((p) => [p.value, ...(p.ci || [])])]));
  const ticks = ticksOf(lo, hi, 5), y = (v) => height - bottom - ((v - lo) / (hi - lo)) * (height - top - bottom);
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${w} ${height}`, role: 'img', 'aria-label': `${title}. ${summary}` });
  svg.append(s('text', { class: 'title', x: 0, y: 14 }, title));
  for (const t of ticks) {
    svg.append(s('line', { class: 'grid', x1: left, x2: w - right, y1: y(t), y2: y(t) }));
    svg.append(s('text', { x: left - 8, y: y(t) + 4, 'text-anchor': 'end' }, unit === '%' ? `${plain(100 * t)} %` : plain(t)));
  }
  svg.append(s('line', { class: 'axis', x1: left, x2: w - right, y1: y(Math.max(lo, 0)), y2: y(Math.max(lo, 0)) }));
  const step = (w - left - right) / Math.max(groups.length, 1);
  groups.forEach((g, i) => {
    const middle = left + (i + 0.5) * step, spread = Math.min(step * 0.5, 90), n = g.points.length;
    const cut = Math.max(4, Math.floor((step - 4) / 8));
    svg.append(s('text', { class: 'strong', x: middle, y: height - bottom + 18, 'text-anchor': 'middle' }, shortened(g.name, cut), s('title', {}, g.name)));
    svg.append(s('text', { x: middle, y: height - bottom + 34, 'text-anchor': 'middle' }, `n = ${g.points.filter((p) => isNumber(p.value)).length}`));
    g.points.forEach((p, k) => {
      if (!isNumber(p.value)) return;
      const x = middle - (isNumber(g.mean) ? 0.18 * step : 0) + (n > 1 ? (k / (n - 1) - 0.5) * spread * 0.6 : 0);
      if (p.ci && isNumber(p.ci[0]) && isNumber(p.ci[1]))
        svg.append(s('line', { class: 'ci', x1: x, x2: x, y1: y(p.ci[0]), y2: y(p.ci[1]), stroke: g.colour }));
      const dot = s('a', { href: p.href, tabindex: -1, 'aria-label': p.name }, s('circle', { class: 'dot', cx: x, cy: y(p.value), r: 4.5, fill: g.colour }));
      svg.append(tipped(dot, `${p.name}: ${quantity(p.value, unit, p.ci)} ${interval(p.ci, unit)}`));
    });
    if (isNumber(g.mean)) {
      const x = middle + 0.24 * step, cap = Math.min(9, step * 0.1);
      const parts = [];
      if (g.ci && isNumber(g.ci[0])) {
        parts.push(s('line', { class: 'mean', x1: x, x2: x, y1: y(g.ci[0]), y2: y(g.ci[1]), stroke: g.colour }));
        for (const v of g.ci) parts.push(s('line', { class: 'mean', x1: x - cap * 0.6, x2: x + cap * 0.6, y1: y(v), y2: y(v), stroke: g.colour }));
      }
      parts.push(s('path', { d: `M${x - cap} ${y(g.mean)}L${x} ${y(g.mean) - cap * 0.8}L${x + cap} ${y(g.mean)}L${x} ${y(g.mean) + cap * 0.8}Z`, fill: g.colour, class: 'dot' }));
      svg.append(tipped(s('g', {}, parts), `${g.name}: mean ${quantity(g.mean, unit, g.ci)} ${interval(g.ci, unit)}`));
    }
  });
  return svg;
}

// rows: [{name, colour, ratio, ci, text}] on a logarithmic axis.
function ratioChart({ title, rows, summary }) {
  const w = chartWidth(), line = 34, left = w < 450 ? 84 : 120, right = w < 450 ? 118 : 150, top = 30, height = top + rows.length * line + 34;
  const all = rows.flatMap((r) => [r.ratio, ...(r.ci || [])]).filter((v) => isNumber(v) && v > 0);
  // What lies beyond a factor of ten or twenty is an arrow at the border: it would squeeze all others.
  const lo = Math.max(Math.min(0.8, ...all) / 1.08, 0.1), hi = Math.min(Math.max(1.25, ...all) * 1.08, 20);
  const x = (v) => left + (Math.log(Math.min(Math.max(v, lo), hi) / lo) / Math.log(hi / lo)) * (w - left - right);
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${w} ${height}`, role: 'img', 'aria-label': `${title}. ${summary}` });
  svg.append(s('text', { class: 'title', x: 0, y: 14 }, title));
  const marks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50, 100].filter((v) => v >= lo && v <= hi);
  let last = -99;
  for (const m of marks) {
    svg.append(s('line', { class: m === 1 ? 'zero' : 'grid', x1: x(m), x2: x(m), y1: top, y2: height - 34 }));
    if (x(m) - last < 30 && m !== 1) continue;
    last = x(m);
    svg.append(s('text', { x: x(m), y: height - 18, 'text-anchor': 'middle' }, plain(m)));
  }
  rows.forEach((r, i) => {
    const y = top + (i + 0.5) * line;
    svg.append(s('text', { class: 'strong', x: left - 10, y: y + 4, 'text-anchor': 'end' }, shortened(r.name, 15), s('title', {}, r.name)));
    if (r.ci && isNumber(r.ci[0])) svg.append(s('line', { class: 'mean', x1: x(r.ci[0]), x2: x(isNumber(r.ci[1]) ? r.ci[1] : hi), y1: y, y2: y, stroke: r.colour }));
    if (r.ratio < lo) svg.append(s('path', { class: 'dot', d: `M${left} ${y}l10 -6v12Z`, fill: r.colour }));
    else if (r.ratio > hi) svg.append(s('path', { class: 'dot', d: `M${w - right} ${y}l-10 -6v12Z`, fill: r.colour }));
    else if (isNumber(r.ratio)) svg.append(s('rect', { class: 'dot', x: x(r.ratio) - 5, y: y - 5, width: 10, height: 10, fill: r.colour }));
    svg.append(s('text', { class: 'strong', x: w - right + 12, y: y + 4 }, r.text));
  });
  return svg;
}

// Points over a numeric axis, with a line [[x, y], ...] when there is one.
function trendChart({ title, xLabel, unit, points, line, summary }) {
  const w = chartWidth(), height = 330, left = 58, right = 14, top = 30, bottom = 46;
  const xs = points.map((p) => p.x), ys = points.map((p) => p.value).concat((line || []).map((p) => p[1]));
  let x0 = Math.min(...xs), x1 = Math.max(...xs);
  const pad = (x1 - x0 || 1) * 0.06, [lo, hi] = rangeOf(ys);
  x0 -= pad; x1 += pad;
  const x = (v) => left + ((v - x0) / (x1 - x0)) * (w - left - right), y = (v) => height - bottom - ((v - lo) / (hi - lo)) * (height - top - bottom);
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${w} ${height}`, role: 'img', 'aria-label': `${title}. ${summary}` });
  svg.append(s('text', { class: 'title', x: 0, y: 14 }, title));
  for (const t of ticksOf(lo, hi, 5)) {
    svg.append(s('line', { class: 'grid', x1: left, x2: w - right, y1: y(t), y2: y(t) }));
    svg.append(s('text', { x: left - 8, y: y(t) + 4, 'text-anchor': 'end' }, unit === '%' ? `${plain(100 * t)} %` : plain(t)));
  }
  for (const t of ticksOf(x0, x1, 7)) svg.append(s('text', { x: x(t), y: height - bottom + 18, 'text-anchor': 'middle' }, plain(t)));
  svg.append(s('line', { class: 'axis', x1: left, x2: w - right, y1: height - bottom, y2: height - bottom }));
  svg.append(s('text', { x: (left + w - right) / 2, y: height - 8, 'text-anchor': 'middle' }, xLabel));
  if (line) svg.append(s('polyline', { class: 'curve', stroke: 'var(--soft)', points: line.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(' ') }));
  for (const p of points)
    svg.append(tipped(s('a', { href: p.href, tabindex: -1, 'aria-label': p.name }, s('circle', { class: 'dot', cx: x(p.x), cy: y(p.value), r: 4.5, fill: p.colour })), `${p.name}: ${quantity(p.value, unit, p.ci)}`));
  return svg;
}

// Share of cells above a score, on a logarithmic axis; returns { svg, cut(t) } that moves the threshold.
function survivalChart(curves, most) {
  const w = Math.min(420, chartWidth()), height = 220, left = 56, right = 10, top = 8, bottom = 40, decades = 5;
  const hi = Math.max(most, 1.2), x = (v) => left + (Math.min(v, hi) / hi) * (w - left - right);
  const y = (v) => top + (Math.min(decades, -Math.log10(Math.max(v, 1e-9))) / decades) * (height - top - bottom);
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${w} ${height}`, role: 'img', 'aria-label': 'Share of cells at or above a score, in this image and in a glass' });
  for (let k = 0; k <= decades; k++) {
    svg.append(s('line', { class: 'grid', x1: left, x2: w - right, y1: y(10 ** -k), y2: y(10 ** -k) }));
    svg.append(s('text', { x: left - 6, y: y(10 ** -k) + 4, 'text-anchor': 'end' }, `${plain(100 * 10 ** -k)} %`));
  }
  for (const t of ticksOf(0, hi, 6)) svg.append(s('text', { x: x(t), y: height - bottom + 17, 'text-anchor': 'middle' }, plain(t)));
  svg.append(s('text', { x: (left + w - right) / 2, y: height - 4, 'text-anchor': 'middle' }, 'score (1 = the measurement’s threshold)'));
  for (const c of curves) {
    const points = c.points.filter((p) => p[1] > 0).map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`);
    if (points.length > 1) svg.append(s('polyline', { class: 'curve', points: points.join(' '), stroke: c.colour, 'stroke-dasharray': c.dashed ? '5 3' : null }));
  }
  const cut = s('line', { class: 'cut', y1: top, y2: height - bottom });
  svg.append(cut);
  return { svg, cut: (t) => { cut.setAttribute('x1', x(t)); cut.setAttribute('x2', x(t)); } };
}

// A copy that keeps its looks outside of the page.
function standalone(svg) {
  const copy = svg.cloneNode(true), from = [svg, ...svg.querySelectorAll('*')], to = [copy, ...copy.querySelectorAll('*')];
  const keep = ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linecap', 'opacity', 'font-size', 'font-family'];
  const theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = 'light';
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const k of keep) to[i].setAttribute(k, style.getPropertyValue(k));
    to[i].removeAttribute('class');
    to[i].removeAttribute('tabindex');
  });
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  for (const a of copy.querySelectorAll('a')) a.replaceWith(...a.childNodes);
  const [, , w, height] = svg.getAttribute('viewBox').split(' ');
  copy.setAttribute('width', w);
  copy.setAttribute('height', height);
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  copy.prepend(s('rect', { width: w, height, fill: '#fff' }));
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
}
function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
const saveSvg = (svg, name) => h('button', { type: 'button', class: 'noprint', onclick: () => download(`${name}.svg`, 'image/svg+xml', standalone(svg)) }, 'Save as SVG');
