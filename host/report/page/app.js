// SPDX-License-Identifier: GPL-3.0-or-later
// The pages of the report: overview, one a result, provenance. The address after # says which is shown.

const rows = report.rows, items = report.items;
const states = [...new Set(rows.map((r) => r.state))];
const stateColour = (state) => colourOfState(Math.max(0, states.indexOf(state)));
const rowOf = (item) => rows[item.row] || {};
const linkTo = (i) => `#/image/${i}`;
const main = document.getElementById('main');

// What stands for its row: the result of all frames together, or the only one.
const chief = items.map((_, i) => i).filter((i) => items[i].chief);
const chosen = { metric: null };

const blobs = new Map();
function blobOf(i) {
  if (!blobs.has(i)) {
    const find = () => {
      const node = document.getElementById(`blob-${i}`);
      return node ? JSON.parse(node.textContent) : null;
    };
    blobs.set(i, document.readyState === 'loading' && !document.getElementById(`blob-${i + 1}`)
      ? new Promise((done) => { document.addEventListener('DOMContentLoaded', () => done(find()), { once: true }); })
      : Promise.resolve(find()));
  }
  return blobs.get(i);
}

/* -- parts ----------------------------------------------------------------------------------------- */

const card = (title, sub, ...children) => h('section', { class: 'card' }, title && h('header', {}, h('h2', {}, title), sub && h('span', { class: 'sub' }, sub)), children);
const stateChip = (state) => h('span', { class: 'chip' }, fillColour(h('i', {}), stateColour(state)), named(state || 'no state'));
function fillColour(node, colour) { node.style.color = colour; return node; }
const warningsOf = (item) => (Array.isArray(item.result.warnings) ? item.result.warnings : []).concat(item.left_out || []);

function verdictOf(item) {
  const r = item.result;
  if (r.verdict) return { text: r.verdict, good: r.distinguishable === true || r.heterogeneous === true };
  if (r.distinguishable === true || r.heterogeneous === true) return { text: 'More than chance', good: true };
  return null;
}
function outcome(item) {
  const r = item.result, flag = r.distinguishable !== undefined ? r.distinguishable : r.heterogeneous;
  if (flag === true) return h('span', { class: 'chip good' }, 'more than chance');
  if (flag === false) return h('span', { class: 'chip' }, 'not told from chance');
  return null;
}

// A table whose columns sort by their heads. columns: [{title, n, name, of(row) -> {node, text, value}}]
function sortable(caption, columns, list, keys = '') {
  const body = h('tbody', {}), order = { by: -1, down: false };
  const draw = () => {
    const sorted = list.slice();
    if (order.by >= 0) {
      const of = columns[order.by].of;
      sorted.sort((a, b) => {
        const x = of(a).value, y = of(b).value;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        const d = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), 'en', { numeric: true });
        return order.down ? -d : d;
      });
    }
    body.replaceChildren(...sorted.map((r) => h('tr', {}, columns.map((c) => {
      const v = c.of(r);
      return h('td', { class: c.n ? 'n' : c.name ? 'name' : null }, v.node || v.text);
    }))));
  };
  const heads = columns.map((c, i) => h('th', { scope: 'col', class: c.n ? 'n' : c.name ? 'name' : null },
    c.of({ probe: true }, true) === null ? c.title : h('button', {
      type: 'button',
      onclick: () => {
        order.down = order.by === i ? !order.down : Boolean(c.n);
        order.by = i;
        heads.forEach((head, k) => { if (k === i) head.setAttribute('aria-sort', order.down ? 'descending' : 'ascending'); else head.removeAttribute('aria-sort'); });
        draw();
        say(`Sorted by ${c.title}, ${order.down ? 'falling' : 'rising'}`);
      },
    }, c.title)));
  draw();
  return h('div', { class: `scroll ${keys}`, tabindex: 0, role: 'region', 'aria-label': caption }, h('table', {}, h('caption', { class: 'hidden' }, caption), h('thead', {}, h('tr', {}, heads)), body));
}

function keyTable(pairs) {
  return h('table', { class: 'keys' }, h('tbody', {}, pairs.map(([k, v]) => h('tr', {}, h('th', { scope: 'row' }, k), h('td', {}, v)))));
}

// Any value of a result, by the unit that its key ends in.
function valueNode(key, v, beside, under = '') {
  const unit = unitOf(key, beside).unit || under;
  if (v === null) return unit ? 'not measured' : DASH;
  if (typeof v === 'boolean') return v ? 'yes' : 'no';
  if (isNumber(v)) {
    const { ci, se } = errorsOf(beside, key), range = interval(ci, unit);
    return quantity(v, unit, ci, atMost(beside, key), se) + (range ? ` ${range}` : '');
  }
  if (typeof v === 'string') return named(v);
  if (Array.isArray(v) && v.every((x) => x === null || isNumber(x))) {
    const shown = v.slice(0, 12).map((x) => (unit === '%' ? percent(x) : plain(x))).join(', ') + (v.length > 12 ? ', …' : '');
    return v.length === 0 ? 'none' : shown + (unit && unit !== '%' && unit !== 'p' ? `\u00a0${unit}` : '');
  }
  return null;
}
// [the plain values as a table, then what has parts of its own]
function generic(object, skip = new Set(), under = '') {
  const simple = [], deep = [], errors = new Set(Object.keys(object).flatMap((k) => (isNumber(object[k]) || object[k] === null ? [besideOf(object, k), besideOf(object, k, '_se')] : [])));
  for (const [key, v] of Object.entries(object)) {
    if (skip.has(key) || errors.has(key) || (/_at_most$/.test(key) && (v === null || typeof v !== 'object'))) continue;
    const node = valueNode(key, v, object, under);
    if (node !== null) simple.push([label(key), node]);
    else deep.push([key, v]);
  }
  const out = simple.length ? [keyTable(simple)] : [];
  for (const [key, v] of deep) {
    const parts = Object.entries(v), alike = !Array.isArray(v) && parts.length > 1 && parts.every(([, x]) => x && typeof x === 'object' && !Array.isArray(x));
    const inner = Array.isArray(v) ? listTable(key, v) : alike ? listTable(key, parts.map(([k, x]) => ({ '': k, ...x })))
      : parts.length ? h('div', { class: 'inner' }, generic(v, new Set(), unitOf(key).unit)) : h('p', { class: 'soft' }, 'none');
    out.push(h('details', { open: parts.length <= 8 }, h('summary', {}, named(label(key)), Array.isArray(v) ? ` (${v.length})` : ''), inner));
  }
  return out;
}
function listTable(key, list) {
  if (list.length === 0) return h('p', { class: 'soft' }, 'none');
  if (!list.every((x) => x && typeof x === 'object' && !Array.isArray(x)))
    return h('ul', { class: 'plain' }, list.slice(0, 200).map((x) => h('li', {}, named(typeof x === 'string' ? x : JSON.stringify(x)))));
  const all = [...new Set(list.flatMap((x) => Object.keys(x)))], hasErrors = (x, k) => besideOf(x, k) || besideOf(x, k, '_se');
  const errors = new Set(list.flatMap((x) => Object.keys(x).filter((k) => isNumber(x[k]) || x[k] === null).flatMap((k) => [besideOf(x, k), besideOf(x, k, '_se')])));
  const keys = all.filter((k) => !errors.has(k)).filter((k) => list.every((x) => x[k] === undefined || x[k] === null || typeof x[k] !== 'object' || Array.isArray(x[k])));
  const columns = keys.map((k) => {
    const { unit } = unitOf(k);
    return { title: (k === '' ? '' : label(k)) + (/_ci95$/.test(k) ? ', 95 %' : '') + (unit && unit !== '%' && unit !== 'p' ? ` (${unit})` : ''), n: list.some((x) => isNumber(x[k])), of: (x, probe) => {
      if (probe && x.probe) return {};
      const v = x[k];
      if (Array.isArray(v) && /_ci95$/.test(k)) return { text: interval(v, unit), value: v[0] };
      if (Array.isArray(v) && v.some((part) => part && typeof part === 'object')) return { text: String(v.length), value: v.length };
      if (isNumber(v) && hasErrors(x, k)) {
        const { ci, se } = errorsOf(x, k);
        return { text: `${quantity(v, unit === 'p' || unit === '%' ? unit : '', ci, false, se)} ${interval(ci, unit)}`.trim(), value: v };
      }
      return { text: isNumber(v) ? (unit === '%' ? percent(v) : unit === 'p' ? chance(v) : plain(v)) : v === null || v === undefined ? DASH : String(valueNode(k, v, x) instanceof Node ? v : valueNode(k, v, x)), value: isNumber(v) || typeof v === 'string' ? v : null };
    } };
  });
  const shown = list.slice(0, 300);
  return [sortable(label(key), columns, shown), list.length > shown.length && h('p', { class: 'soft small' }, `The first ${shown.length} of ${list.length}; all are in the result file.`)];
}

/* -- overview -------------------------------------------------------------------------------------- */

function overview() {
  const failed = rows.filter((r) => r.status === 'failed'), pending = rows.filter((r) => r.status === 'pending');
  const warned = chief.filter((i) => warningsOf(items[i]).length);
  const out = [h('div', { class: 'head' }, h('h1', {}, named(report.title)),
    h('p', { class: 'lead' }, `${plural(chief.length, 'result')} of ${plural(rows.length, 'row')} of the session, ${plural(states.length, 'state')}. Intervals are 95 %. Each dot is one image${unitOfComparisons()}.`))];
  out.push(h('dl', { class: 'tiles' },
    tile('Measured', `${chief.length}`, `from ${rows.filter((r) => r.status === 'done').length} of ${plural(rows.length, 'row')}`),
    tile('States', `${states.length}`, states.slice(0, 6).join(', ') + (states.length > 6 ? ', …' : '')),
    tile('Failed', `${failed.length}`, failed.length ? 'listed below' : pending.length ? `${pending.length} not measured yet` : 'none'),
    tile('With warnings', `${warned.length}`, warned.length ? 'read them before quoting' : 'none')));
  if (report.problems.length)
    out.push(card('Left out', `${plural(report.problems.length, 'thing')} that could not be read`, h('ul', { class: 'notes' }, report.problems.map((p) => h('li', { class: 'note bad' }, named(p))))));
  out.push(...comparison());
  for (const verb of [...new Set(chief.map((i) => items[i].verb))]) out.push(resultTable(verb));
  if (failed.length || pending.length) out.push(trouble(failed, pending));
  if (chief.length === 0) out.push(h('p', { class: 'note warn' }, 'There is no result in this folder yet.'));
  out.push(exportsCard());
  return out;
}
const tile = (name, value, sub) => h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value, sub && h('small', {}, named(sub))));

// What counts as one piece of evidence: the image, or the specimen where specimens were imaged more than once.
function unitOfComparisons() {
  const units = [...new Set((report.compare || []).map((c) => c.unit))];
  if (units.length === 0) return '';
  if (units.length > 1) return '; the unit of a comparison is the specimen where several images show one, else the image';
  return units[0] === 'specimen' ? '; the unit of every comparison is the specimen, by the mean of its images' : '; the image is the unit of every comparison';
}

function resultTable(verb) {
  const list = chief.filter((i) => items[i].verb === verb);
  const paths = columnsOf(verb, list.map((i) => items[i].result));
  const columns = [
    { title: 'Image', name: true, of: (i, probe) => (probe ? {} : { node: h('a', { href: linkTo(i) }, named(items[i].name)), value: items[i].name }) },
    { title: 'State', of: (i, probe) => (probe ? {} : { node: stateChip(rowOf(items[i]).state), value: rowOf(items[i]).state }) },
    ...paths.map((path) => ({ title: columnTitle(path), n: true, of: (i, probe) => {
      if (probe) return {};
      const v = columnValue(items[i].result, path), cell = (part) => (part.ci ? h('span', {}, part.text, ' ', h('span', { class: 'soft' }, part.ci)) : part.text);
      return { node: v.parts ? v.parts.map((part) => h('div', {}, cell(part))) : cell(v), value: v.value };
    } })),
    { title: 'Outcome', of: (i, probe) => (probe ? {} : { node: outcome(items[i]) || '', value: outcome(items[i]) ? outcome(items[i]).textContent : null }) },
    { title: 'Warnings', n: true, of: (i, probe) => (probe ? {} : { text: String(warningsOf(items[i]).length || DASH), value: warningsOf(items[i]).length }) },
  ].filter((c) => c.title !== 'Outcome' || list.some((i) => outcome(items[i])));
  const node = card(kindName(verb), plural(list.length, 'image'), sortable(`${kindName(verb)}: one line an image`, columns, list));
  node.classList.add('long');
  return node;
}

function trouble(failed, pending) {
  return card('Not measured', `${failed.length + pending.length} of ${rows.length}`,
    sortable('Rows without a result', [
      { title: 'Row', n: true, of: (r, probe) => (probe ? {} : { text: String(r.row), value: r.row }) },
      { title: 'File', name: true, of: (r, probe) => (probe ? {} : { node: named(r.file), value: r.file }) },
      { title: 'State', of: (r, probe) => (probe ? {} : { node: stateChip(r.state), value: r.state }) },
      { title: 'Why', of: (r, probe) => (probe ? {} : { node: named(r.status === 'pending' ? 'not measured yet' : r.error || 'no reason was given'), value: r.error }) },
    ], [...failed, ...pending]));
}

/* -- comparison of states --------------------------------------------------------------------------- */

// { key, kind, verb, metric, compared }: what was tested first, then what else there is to look at.
function metrics() {
  const out = [];
  for (const c of report.compare || []) out.push({ key: `${c.kind}:${c.metric}`, kind: c.kind, metric: c.metric, compared: c });
  for (const verb of [...new Set(chief.map((i) => items[i].verb))]) {
    const mine = chief.filter((i) => items[i].verb === verb), kinds = new Set(mine.map((i) => rowOf(items[i]).kind));
    for (const path of columnsOf(verb, mine.map((i) => items[i].result))) {
      if (out.some((m) => m.metric === path && (m.verb === verb || kinds.has(m.kind)))) continue;
      if (mine.some((i) => isNumber(at(items[i].result, path)))) out.push({ key: `${verb}:${path}`, verb, metric: path, compared: null });
    }
  }
  return out;
}
const metricName = (m, all) => {
  const family = kindName(m.verb || { hrtem: 'mro', 'eds-line': 'eds', 'eds-map': 'eds', diffraction: 'pdf' }[m.kind] || m.kind);
  return columnTitle(m.metric) + (new Set(chief.map((i) => items[i].verb)).size > 1 ? ` · ${family}` : '') + (m.compared ? '' : ' (not tested)');
};

function comparison() {
  const all = metrics();
  if (all.length === 0 || chief.length < 2) return [];
  if (!all.some((m) => m.key === chosen.metric)) chosen.metric = all[0].key;
  const body = h('div', { class: 'inner', id: 'compared' });
  const select = h('select', { id: 'metric', onchange: (e) => { chosen.metric = e.target.value; draw(); } },
    all.map((m) => h('option', { value: m.key, selected: m.key === chosen.metric }, metricName(m, all))));
  const draw = () => body.replaceChildren(...comparisonOf(all.find((m) => m.key === chosen.metric)));
  draw();
  return [card('Comparison of states', null, h('div', { class: 'row noprint' }, h('label', {}, 'Quantity', select)), body)];
}

const UNIT_WORDS = { '1/nm^2': 'nm⁻²', '1/nm^3': 'nm⁻³', '1/nm': 'nm⁻¹', '1/A': 'Å⁻¹', A: 'Å', deg: '°' };
// What a series is over: the strain where a row has one, else the value, as the comparison does.
const over = rows.some((r) => isNumber(r.strain)) || !rows.some((r) => isNumber(r.value)) ? { key: 'strain', name: 'strain', unit: '%' } : { key: 'value', name: report.value_name, unit: report.value_unit };
const overText = () => `${over.name}${over.unit ? ` (${over.unit})` : ''}`;
// The images of a metric: { state, name, href, value, ci, x }.
function pointsOf(m) {
  if (m.compared) {
    const places = new Map(chief.map((i) => [rowOf(items[i]).file, i]));
    return (m.compared.images || []).map((p) => {
      const i = places.get(p.file);
      return { state: p.state, name: i === undefined ? p.file : items[i].name, href: i === undefined ? null : linkTo(i), value: p.value, ci: p.ci95, x: p.x };
    });
  }
  const key = m.metric.split('.').pop(), parent = m.metric.includes('.') ? m.metric.slice(0, m.metric.lastIndexOf('.')) : '';
  return chief.filter((i) => items[i].verb === m.verb && isNumber(at(items[i].result, m.metric))).map((i) => {
    const beside = parent ? at(items[i].result, parent) : items[i].result;
    return { state: rowOf(items[i]).state, name: items[i].name, href: linkTo(i), value: at(items[i].result, m.metric),
      ci: errorsOf(beside, key).ci, x: rowOf(items[i])[over.key], beside };
  });
}

function comparisonOf(m) {
  const c = m.compared, points = pointsOf(m), key = m.metric.split('.').pop(), title = columnTitle(m.metric);
  const unit = c && c.metric_unit ? (Object.hasOwn(UNIT_WORDS, c.metric_unit) ? UNIT_WORDS[c.metric_unit] : c.metric_unit) : unitOf(key, (points[0] || {}).beside).unit;
  const withUnit = `${title}${unit && unit !== 'p' && unit !== '%' ? ` (${unit})` : ''}`;
  const stated = new Map((c ? c.states || [] : []).map((x) => [x.state, x]));
  const groups = states.map((state) => {
    const x = stated.get(state);
    return { name: state || 'no state', state, colour: stateColour(state), points: points.filter((p) => p.state === state), mean: x ? x.mean : null, ci: x ? x.mean_ci95 : null };
  }).filter((g) => g.points.length);
  const summary = groups.map((g) => `${g.name}: ${isNumber(g.mean) ? quantity(g.mean, unit, g.ci) : g.points.map((p) => quantity(p.value, unit, p.ci)).join(', ')}`).join('; ');
  const slug = m.metric.replace(/[^A-Za-z0-9]+/g, '_');
  const dots = dotChart({ title: withUnit, unit, groups, summary });
  const charts = [h('figure', {}, dots, h('figcaption', {}, `Dots: single images with their own interval${groups.some((g) => isNumber(g.mean)) ? '; diamonds: mean of the state with its interval' : ''}. `, saveSvg(dots, `${slug}_states`)))];
  const out = [];
  if (c) {
    const lines = (c.states || []).filter((x) => x.state !== c.reference && isNumber(x.ratio)).map((x) => ({
      name: x.state, colour: stateColour(x.state), ratio: x.ratio, ci: x.ratio_ci95, text: ratioText(x) }));
    if (lines.length) {
      const chart = ratioChart({ title: `Ratio to ${c.reference}`, rows: lines, summary: lines.map((l) => `${l.name} ${l.text}`).join('; ') });
      charts.push(h('figure', {}, chart, h('figcaption', {}, 'Ratio of means with its 95 % interval. An interval that holds 1 leaves open whether there is a difference. ', saveSvg(chart, `${slug}_ratios`))));
    }
  }
  const strained = points.filter((p) => isNumber(p.x)).map((p) => ({ ...p, colour: stateColour(p.state) }));
  if (new Set(strained.map((p) => p.x)).size > 1) {
    const said = c && c.trend && c.trend.sentence;
    const chart = trendChart({ title: withUnit, xLabel: overText(), unit, points: strained, line: trendLine(c, strained), summary: said || `${strained.length} images` });
    charts.push(h('figure', {}, chart, h('figcaption', {}, said ? [named(sentence(said)), ' '] : `Single images over ${over.name}. `, saveSvg(chart, `${slug}_${over.key}`))));
  }
  const left = h('div', { class: 'inner' }, charts[0]);
  out.push(h('div', { class: 'cols' }, left, charts.length > 1 && h('div', { class: 'inner' }, charts.slice(1))));
  if (!c) {
    left.append(h('p', { class: 'soft small' }, 'No test was made for this quantity: the dots show the images as they are.'));
    return out;
  }
  const sentences = (c.states || []).filter((x) => x.sentence);
  if (sentences.length) {
    const tested = sentences.filter((x) => isNumber(x.p)), told = tested.filter((x) => x.p < 0.05).length;
    left.append(h('ul', { class: 'notes', 'aria-label': 'In words' }, sentences.map((x, i) => h('li', { class: 'verdict' }, named(x.sentence), x.remark && (i === 0 || x.remark !== sentences[i - 1].remark) && h('span', { class: 'soft small' }, ' ', named(sentence(x.remark))))),
      told === 0 && h('li', { class: 'soft small' }, tested.length ? 'None of these differences has p below 0.05; the intervals say how large they may be.' : 'So few images allow no test: measure several of each state.')));
  }
  out.push(sortable(`${title}: states against ${c.reference}`, [
    { title: 'State', of: (x, probe) => (probe ? {} : { node: stateChip(x.state), value: x.state }) },
    { title: `n (${c.unit === 'specimen' ? 'specimens' : 'images'})`, n: true, of: (x, probe) => (probe ? {} : { text: plain(x.n), value: x.n }) },
    { title: 'Mean', n: true, of: (x, probe) => (probe ? {} : { text: `${quantity(x.mean, unit, x.mean_ci95)} ${interval(x.mean_ci95, unit)}`, value: x.mean }) },
    { title: 'Ratio', n: true, of: (x, probe) => (probe ? {} : { text: x.state === c.reference ? 'reference' : isNumber(x.ratio) ? ratioText(x) : DASH, value: x.ratio }) },
    { title: 'p', n: true, of: (x, probe) => (probe ? {} : { text: chance(x.p), value: x.p }) },
    { title: 'smallest p possible', n: true, of: (x, probe) => (probe ? {} : { text: chance(x.p_smallest), value: x.p_smallest }) },
    { title: 'p (Holm)', n: true, of: (x, probe) => (probe ? {} : { text: chance(x.p_holm), value: x.p_holm }) },
  ], c.states || []));
  if ((c.warnings || []).length)
    out.push(h('details', { open: c.warnings.length < 3 }, h('summary', {}, `Warnings (${c.warnings.length})`), h('ul', { class: 'notes' }, c.warnings.map((w) => h('li', { class: 'note warn' }, named(sentence(w)))))));
  if (c.stem) {
    const file = (end) => `comparison/${encodeURIComponent(c.stem)}.compare.${end}`;
    out.push(h('p', { class: 'small soft noprint' }, 'As drawn for print, beside this file: ', ['svg', 'pdf', 'png', 'json'].map((end, k) => [k > 0 && ', ', h('a', { href: file(end) }, end.toUpperCase())]), '.'));
  }
  return out;
}
function ratioText(x) {
  // Two decimals, more where the interval is so narrow that they say nothing of it.
  const ci = x.ratio_ci95, decimals = Math.max(2, decimalsOf(ci) || 0), known = Array.isArray(ci) && isNumber(ci[0]);
  const two = (v) => (v < 0.1 && v > 0 ? plain(v, 2) : known ? v.toFixed(decimals) : plain(v, 3)), end = (v) => (isNumber(v) ? two(v) : '∞');
  return two(x.ratio) + (ci && isNumber(ci[0]) ? ` [${end(ci[0])}, ${end(ci[1])}${isNumber(ci[1]) ? ']' : ')'}` : '');
}
function trendLine(c, points) {
  const t = c && c.trend;
  if (!t || !isNumber(t.slope) || !Array.isArray(t.centre) || !isNumber(t.centre[1])) return null;
  const xs = points.map((p) => p.x), x0 = Math.min(...xs), x1 = Math.max(...xs), bend = t.onset && isNumber(t.onset.onset) ? t.onset : null;
  const at1 = (x) => (bend ? bend.level + bend.slopes[x > bend.onset ? 1 : 0] * (x - bend.onset) : t.centre[1] + t.slope * (x - t.centre[0]));
  const y = (x) => (t.scale === 'ln' ? Math.exp(at1(x)) : at1(x)), n = bend || t.scale === 'ln' ? 60 : 1;
  return Array.from({ length: n + 1 }, (_, k) => x0 + ((x1 - x0) * k) / n).map((x) => [x, y(x)]);
}

/* -- exports ---------------------------------------------------------------------------------------- */

// A field of RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe.
function field(v) {
  if (v === null || v === undefined) return '';
  if (typeof v === 'number') return String(v);
  const text = /^[=+\-@\t\r]/.test(v) && Number.isNaN(Number(v)) ? `'${v}` : String(v);
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
function csvText() {
  const flat = (o, prefix, out) => {
    for (const [k, v] of Object.entries(o)) {
      if (['schema', 'file', 'warnings', 'provenance', 'objects'].includes(k)) continue;
      const name = prefix ? `${prefix}.${k}` : k;
      if (v !== null && typeof v === 'object' && !Array.isArray(v)) flat(v, name, out);
      else if (/_ci95$/.test(k)) { out[`${name}_lo`] = v ? v[0] : null; out[`${name}_hi`] = v ? v[1] : null; } else if (!Array.isArray(v)) out[name] = typeof v === 'boolean' ? Number(v) : v;
    }
    return out;
  };
  const lines = chief.map((i) => {
    const r = rowOf(items[i]);
    return { row: r.row, file: r.file, state: r.state, strain: r.strain, value: r.value, kind: r.kind, specimen: r.specimen, thickness_nm: r.thickness_nm, verb: items[i].verb, ...flat(items[i].result, '', {}), warnings: warningsOf(items[i]).length };
  });
  const keys = [...new Set(lines.flatMap((l) => Object.keys(l)))];
  return [keys.map(field).join(','), ...lines.map((l) => keys.map((k) => field(l[k])).join(','))].join('\r\n') + '\r\n';
}
function exportsCard() {
  const node = card('Exports', null, h('div', { class: 'row noprint' },
    h('button', { type: 'button', id: 'csv', onclick: () => download('report.csv', 'text/csv', csvText()) }, 'All numbers as CSV'),
    h('button', { type: 'button', id: 'json', onclick: () => download('report.json', 'application/json', JSON.stringify({ ...report, colours: undefined }, null, 1)) }, 'Everything as JSON'),
    h('button', { type: 'button', id: 'print-all', onclick: printAll }, 'Print with a page for each image')),
  (report.tables || []).length > 0 && h('p', { class: 'small' }, 'In the folder of results: ', report.tables.map((f, k) => [k > 0 && ', ', safeLink(f.href) && h('a', { href: f.href }, f.label)]), '.'),
  h('p', { class: 'soft small' }, 'Each chart has a button for its SVG, and each image’s page has links to its figure as SVG and PDF in the folder of results.'));
  node.classList.add('noprint');
  return node;
}

/* -- one result -------------------------------------------------------------------------------------- */

function imagePage(i, print) {
  const item = items[i], r = item.result, row = rowOf(item), warnings = warningsOf(item), verdict = verdictOf(item);
  const place = chief.indexOf(i), out = [];
  const step = (k, text) => {
    const to = chief[place + k];
    return to === undefined || place < 0 ? h('button', { type: 'button', disabled: true }, text) : h('a', { class: 'button', href: linkTo(to), rel: k < 0 ? 'prev' : 'next' }, text);
  };
  out.push(h('div', { class: 'head' },
    h('div', { class: 'crumbs' }, h('a', { class: 'noprint', href: '#/' }, '← All images'), !print && h('span', { class: 'steps' }, step(-1, 'Previous'), step(1, 'Next'))),
    h('h1', {}, named(item.name)),
    h('div', { class: 'chips' }, stateChip(row.state), h('span', { class: 'chip' }, kindName(item.verb)), outcome(item),
      isNumber(row.strain) && h('span', { class: 'chip' }, `strain ${plain(row.strain)}`), isNumber(row.value) && h('span', { class: 'chip' }, named(`${report.value_name} ${plain(row.value)} ${report.value_unit}`.trim())), row.specimen && h('span', { class: 'chip' }, 'specimen ', named(row.specimen)),
      isNumber(row.thickness_nm) && h('span', { class: 'chip' }, `${plain(row.thickness_nm)} nm thick`), warnings.length > 0 && h('span', { class: 'chip warn' }, plural(warnings.length, 'warning')))));
  if (verdict) out.push(h('p', { class: `verdict ${verdict.good ? 'good' : 'none'}` }, named(sentence(verdict.text))));
  const heads = headline(item);
  if (heads.length) out.push(h('dl', { class: 'tiles' }, heads.map(([k, v, sub]) => tile(k, v, sub))));
  if (warnings.length) out.push(h('ul', { class: 'notes', 'aria-label': 'Warnings' }, warnings.map((w) => h('li', { class: 'note warn' }, named(sentence(w))))));
  const live = h('div', { class: 'inner' }, h('p', { class: 'soft' }, 'Unpacking …'));
  if (item.blob) out.push(live);
  const ready = item.blob ? blobOf(i).then((blob) => lively(i, blob, live)) : Promise.resolve();
  if (item.frames && item.frames.length) out.push(framesCard(item));
  // What has only a few plain values stays with the others, the rest gets the whole width.
  const small = ([, v]) => v !== null && typeof v === 'object' && !Array.isArray(v) && Object.values(v).every((x) => x === null || typeof x !== 'object');
  const wide = Object.entries(r).filter(([k, v]) => !BOOKKEEPING.has(k) && v !== null && typeof v === 'object' && !small([k, v]) && valueNode(k, v, r) === null);
  const numbers = card('Numbers', null, generic(r, new Set([...BOOKKEEPING, ...wide.map(([k]) => k)])));
  out.push(h('div', { class: 'cols' }, numbers, sourceCard(item, row)));
  if (wide.length) {
    const parts = card('In parts', null, generic(Object.fromEntries(wide)));
    parts.classList.add('long');
    out.push(parts);
  }
  return { nodes: out, ready };
}
const typeset = (t) => t.replaceAll(' <= ', ' ≤ ').replace(/([ (])(\d(?:\.\d+)?)e([+-]\d+)\b/g, (all, before, m, power) => `${before}${m}${THIN}×${THIN}10${superscript(Number(power))}`);
const sentence = (t) => (t ? typeset(t.charAt(0).toUpperCase() + t.slice(1)) + (/[.!?]$/.test(t) ? '' : '.') : '');

function headline(item) {
  const out = [];
  for (const path of columnsOf(item.verb, [item.result]).slice(0, 4)) {
    const v = columnValue(item.result, path);
    if (path.includes('[].') ? v.value !== null : at(item.result, path) !== undefined) out.push([columnTitle(path), v.text, v.ci || null]);
  }
  return out;
}

function framesCard(item) {
  const path = columnsOf(item.verb, item.frames.map((k) => items[k].result))[0];
  return card('Frames', plural(item.frames.length, 'frame'), sortable('Frames of this image', [
    { title: 'Frame', n: true, of: (k, probe) => (probe ? {} : { node: h('a', { href: linkTo(k) }, String(items[k].result.frame)), value: items[k].result.frame }) },
    ...(path ? [{ title: columnTitle(path), n: true, of: (k, probe) => {
      if (probe) return {};
      const v = columnValue(items[k].result, path);
      return { text: `${v.text} ${v.ci}`, value: v.value };
    } }] : []),
    { title: 'Warnings', n: true, of: (k, probe) => (probe ? {} : { text: String(warningsOf(items[k]).length || DASH), value: warningsOf(items[k]).length }) },
  ], item.frames));
}

// What an option was set to.
function optionText(o) {
  const v = o && typeof o === 'object' && 'value' in o ? o.value : o, word = (x) => (isNumber(x) && !Number.isInteger(x) ? plain(x, 6) : String(x));
  if (v === null) return 'not given';
  return (Array.isArray(v) ? v.map(word).join(', ') || 'none' : typeof v === 'object' ? JSON.stringify(v) : word(v)) + (o && o.unit ? `\u00a0${o.unit}` : '');
}
function sourceCard(item, row) {
  const p = item.result.provenance || {}, options = p.options || {}, r = item.result;
  const pairs = [['File', named(String(r.file || row.file || ''))], ['SHA-256', p.input_sha256 ? h('span', { class: 'mono' }, p.input_sha256) : 'not taken']];
  for (const key of ['shape', 'pixel_nm', 'calibration']) if (r[key] !== undefined) pairs.push([label(key), valueNode(key, r[key], r)]);
  pairs.push(['Program', named(`${p.program || ''} ${p.version || ''} (${p.commit || ''})`)], ['Method', named(String(p.algorithm || DASH))], ['Computed on', named(String(p.backend || DASH))]);
  if (isNumber(p.seed)) pairs.push(['Seed', String(p.seed)]);
  const set = Object.entries(options).map(([k, o]) => [`--${k}`, named(optionText(o))]);
  const node = card('Where it comes from', null, keyTable(pairs),
    p.microscope && h('details', {}, h('summary', {}, 'What the file says of the microscope'), h('div', { class: 'inner' }, generic(p.microscope))),
    set.length > 0 && h('details', {}, h('summary', {}, `Options (${set.length})`), keyTable(set)),
    item.files.length > 0 && h('div', { class: 'row noprint' }, h('span', { class: 'soft small' }, 'Files in the folder of results:'), item.files.map((f) => safeLink(f.href) && h('a', { class: 'small', href: f.href }, named(f.label)))));
  node.classList.add('long');
  return node;
}

async function lively(i, blob, place) {
  const item = items[i];
  place.replaceChildren();
  if (!blob) { place.append(h('p', { class: 'note bad' }, 'This part of the file is missing: it was cut short.')); return; }
  if (blob.map) {
    if (typeof DecompressionStream === 'undefined') place.append(h('p', { class: 'note warn' }, 'This browser is too old to unpack the score map (it needs Chrome 93, Firefox 113, Safari 16.4 or newer).'));
    else place.append(explorer(i, await ScoreMap.from(blob.map), blob.objects || []));
  }
  if (blob.figure) {
    const picture = h('img', { src: `data:image/jpeg;base64,${blob.figure.jpeg}`, width: blob.figure.nx, height: blob.figure.ny, alt: `Figure of ${item.name}: ${(verdictOf(item) || { text: kindName(item.verb) }).text}` });
    picture.style.maxWidth = `${Math.round(1.3 * blob.figure.nx)}px`; // larger would only be blurred
    const node = card('Figure', null, h('figure', {}, h('div', { class: 'paper' }, picture), h('figcaption', {}, 'As the program drew it, made smaller. In full: ',
      item.files.filter((f) => /\.(svg|pdf|png)$/.test(f.href) && safeLink(f.href)).map((f, k) => [k > 0 && ', ', h('a', { href: f.href }, f.href.split('.').pop().toUpperCase())]), '.')));
    place.append(node);
    await picture.decode().catch(() => {});
  }
}

/* -- score map, threshold and inspector ---------------------------------------------------------------- */

function explorer(i, map, objects) {
  const view = { what: 'score', t: 1, objects: false, cursor: null };
  const canvas = h('canvas', { tabindex: 0, role: 'application', id: `map-${i}`, 'aria-label': 'Score map. Arrow keys move from cell to cell; Home goes to the strongest cell.', 'aria-describedby': `read-${i}` });
  const acf = h('canvas', { role: 'img', width: 324, height: 324, 'aria-label': 'Autocorrelation of the chosen cell' });
  const place = h('dd', {}, DASH), score = h('dd', {}, DASH), spacing = h('dd', {}, DASH), acfNote = h('p', { class: 'small soft' });
  const share = h('p', { class: 'share', id: `share-${i}` }), detail = h('p', { class: 'small soft', id: `share-detail-${i}` });
  const value = h('output', { for: `t-${i}` });
  const slider = h('input', { type: 'range', id: `t-${i}`, min: 0.1, max: Math.max(1.5, Math.ceil(map.most * 10) / 10), step: 0.01, value: 1, 'aria-describedby': `share-${i}` });
  const bar = h('canvas', { 'aria-hidden': 'true' }), barLo = h('span', {}, '0'), barHi = h('span', {}, `${plain(topOf(map), 2)}${map.most > topOf(map) ? ' and more' : ''}`);
  const curves = [{ points: map.curve(), colour: 'var(--s1)' }];
  if (map.survival) curves.push({ points: map.survival, colour: 'var(--s0)', dashed: true });
  const survival = survivalChart(curves, Math.min(map.most, 6));
  const frame = { asked: false };
  const repaint = () => {
    if (frame.asked) return;
    frame.asked = true;
    requestAnimationFrame(() => { frame.asked = false; paintMap(canvas, map, { ...view, objects: view.objects ? objects : [] }); });
  };
  const cut = () => {
    const n = map.above(view.t), part = n / Math.max(map.cells, 1), glass = map.glass(view.t);
    const chanceShare = glass ? (glass.below ? `under ${plain(100 * glass.share, 2)}${THIN}%` : percentFine(glass.share)) : null;
    value.textContent = view.t.toFixed(2);
    share.textContent = `${percentFine(part)} of the measured cells`;
    share.dataset.share = String(part);
    detail.textContent = `${n} of ${map.cells} cells score ${view.t.toFixed(2)} or more.${chanceShare ? ` In a glass: ${chanceShare}.` : ' What a glass shows there is not in these results.'}`;
    if (glass) share.dataset.glass = String(glass.share); else delete share.dataset.glass;
    slider.setAttribute('aria-valuetext', `${view.t.toFixed(2)} times the threshold, ${percentFine(part)} of the cells`);
    survival.cut(view.t);
    repaint();
  };
  slider.addEventListener('input', () => { view.t = Number(slider.value); cut(); });
  const read = (cell, spoken) => {
    view.cursor = cell;
    const p = map.centre(cell.ix, cell.iy), v = map.scoreAt(cell.i), d = map.spacingAt(cell.i);
    place.textContent = `x ${p.x.toFixed(2)}, y ${p.y.toFixed(2)}\u00a0nm`;
    score.textContent = v === null ? 'not measured' : v.toFixed(2);
    spacing.textContent = d === null ? (map.spacing ? 'not measured' : 'not in these results') : `${d.toFixed(4)}\u00a0nm`;
    if (v !== null) score.dataset.value = String(v); else delete score.dataset.value;
    const result = v === null ? null : autocorrelation(map, cell.ix, cell.iy);
    paintAcf(acf, map, result);
    if (result && (result.ix !== cell.ix || result.iy !== cell.iy)) {
      const q = map.centre(result.ix, result.iy);
      acfNote.textContent = `Shown: the nearest cell that has one, at x ${q.x.toFixed(1)}, y ${q.y.toFixed(1)} nm. ${map.note || ''}`;
    } else acfNote.textContent = result ? `Of this cell, within ${plain(map.acf.window_nm)} nm. ${map.note || ''}` : map.note || 'No autocorrelation here.';
    if (spoken) say(`${place.textContent}, score ${score.textContent}, spacing ${spacing.textContent}`);
    repaint();
  };
  const from = (e) => {
    const box = canvas.getBoundingClientRect();
    return map.cellAt(((e.clientX - box.left) / box.width) * map.field_nm[1], ((e.clientY - box.top) / box.height) * map.field_nm[0]);
  };
  const point = (e) => {
    const cell = from(e);
    if (cell && (!view.cursor || view.cursor.i !== cell.i)) read(cell, false);
  };
  canvas.addEventListener('pointermove', point);
  canvas.addEventListener('pointerdown', point);
  const strongest = () => {
    let best = 0;
    for (let k = 0; k < map.code.length; k++) if (map.code[k] !== UNMEASURED && (map.code[best] === UNMEASURED || map.code[k] > map.code[best])) best = k;
    return { i: best, ix: best % map.nx, iy: Math.floor(best / map.nx) };
  };
  canvas.addEventListener('keydown', (e) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (e.key === 'Home') read(strongest(), true);
    else if (move) {
      const far = e.shiftKey ? 5 : 1, now = view.cursor || strongest();
      const ix = Math.min(map.nx - 1, Math.max(0, now.ix + far * move[0])), iy = Math.min(map.ny - 1, Math.max(0, now.iy + far * move[1]));
      read({ ix, iy, i: iy * map.nx + ix }, true);
    } else return;
    e.preventDefault();
  });
  const choice = (what, text) => h('label', {}, h('input', { type: 'radio', name: `what-${i}`, value: what, checked: view.what === what, onchange: () => { view.what = what; repaint(); } }), h('span', {}, text));
  const node = card('Score map', `${map.nx} × ${map.ny} cells, ${map.cells} measured`, h('div', { class: 'look' },
    h('div', {},
      h('div', { class: 'row noprint' },
        h('fieldset', {}, h('legend', { class: 'hidden' }, 'What the map shows'), h('span', { class: 'seg' }, map.field && [choice('score', 'Score'), choice('image', 'Image in the band')])),
        objects.length > 0 && h('label', {}, h('input', { type: 'checkbox', onchange: (e) => { view.objects = e.target.checked; repaint(); } }), `Ordered regions (${objects.length}${map.objects_left_out ? ` of ${objects.length + map.objects_left_out}` : ''})`)),
      h('div', { class: 'stage' }, canvas),
      h('div', { class: 'bars' }, barLo, bar, barHi, h('span', {}, 'score')),
      h('p', { class: 'small soft' }, 'White lines enclose the cells at or above the threshold. Hatched: not measured.', objects.length > 0 && ' Regions by grade: A blue, B orange, C red.'),
      h('div', { class: 'slide' }, h('label', { for: `t-${i}` }, 'Threshold (1 = that of the measurement)'), slider, value),
      share, detail),
    h('div', {},
      h('h3', {}, 'Cell under the pointer'),
      h('dl', { class: 'read', id: `read-${i}` }, h('dt', {}, 'Place'), place, h('dt', {}, 'Score'), score, h('dt', {}, 'Spacing'), spacing),
      h('figure', { class: 'acf' }, acf, h('figcaption', {}, h('strong', {}, 'Autocorrelation. '), acfNote)),
      h('h3', {}, 'Share of cells at or above a score'),
      h('figure', {}, survival.svg, h('figcaption', {}, 'Solid: this image. ', map.survival ? 'Dashed: a glass of the same spectrum. ' : '', saveSvg(survival.svg, 'survival'))))));
  paintBar(bar, map);
  read(strongest(), false);
  cut();
  painters.add(repaint);
  new ResizeObserver(repaint).observe(canvas);
  hooks.maps[i] = { map, view, autocorrelation: (ix, iy) => autocorrelation(map, ix, iy) };
  return node;
}
function percentFine(v) {
  if (v === 0) return `0${THIN}%`;
  const p = 100 * v;
  return (p >= 0.1 ? p.toFixed(p >= 10 ? 1 : 2) : plain(p, 2)) + `${THIN}%`;
}

/* -- provenance --------------------------------------------------------------------------------------- */

function provenancePage() {
  const same = (of) => [...new Set(chief.map((i) => of(items[i].result.provenance || {})))].filter(Boolean);
  const out = [h('div', { class: 'head' }, h('h1', {}, 'Provenance and warnings'), h('p', { class: 'lead' }, 'What the numbers were made with, and every warning that came with them.'))];
  out.push(card('Made with', null, keyTable([
    ['Report', named(`mroscope ${report.program.version} (${report.program.commit})`)], ['Results', named(report.results)], ['Manifest', named(report.manifest || 'not said')],
    ['Measured with', named(same((p) => `mroscope ${p.version} (${p.commit})`).join('; ') || DASH)], ['Methods', named(same((p) => p.algorithm).join(', ') || DASH)],
    ['Computed on', named(same((p) => p.backend).join(', ') || DASH)]])));
  const versions = same((p) => `${p.version} ${p.commit}`);
  if (versions.length > 1) out.push(h('p', { class: 'note warn' }, `The results come from ${versions.length} versions of the program. Measure all of them with one before comparing.`));
  for (const verb of [...new Set(chief.map((i) => items[i].verb))]) {
    const values = new Map();
    for (const i of chief.filter((k) => items[k].verb === verb))
      for (const [k, o] of Object.entries((items[i].result.provenance || {}).options || {})) {
        const text = optionText(o);
        if (!values.has(k)) values.set(k, new Map());
        values.get(k).set(text, (values.get(k).get(text) || 0) + 1);
      }
    if (values.size === 0) continue;
    out.push(card(`Options: ${kindName(verb)}`, null, keyTable([...values].map(([k, m]) => [`--${k}`, h('span', {}, [...m].map(([v, n], j) => [j > 0 && '; ', named(v), m.size > 1 && ` (${n})`]), m.size > 1 && [' ', h('span', { class: 'chip warn' }, 'differs')])]))));
  }
  const told = new Map();
  for (const i of items.keys()) for (const w of warningsOf(items[i])) { if (!told.has(w)) told.set(w, []); told.get(w).push(i); }
  out.push(card('Warnings', plural(told.size, 'sentence'), told.size === 0 ? h('p', { class: 'soft' }, 'None.') : h('ul', { class: 'notes' }, [...told].map(([w, list]) => h('li', { class: 'note warn' }, named(sentence(w)), h('span', { class: 'small' }, ' ', list.slice(0, 8).map((i, k) => [k > 0 && ', ', h('a', { href: linkTo(i) }, named(items[i].name))]), list.length > 8 && ` and ${list.length - 8} more`))))));
  const files = card('Inputs', plural(chief.length, 'file'), sortable('Inputs and their checksums', [
    { title: 'Image', name: true, of: (i, probe) => (probe ? {} : { node: h('a', { href: linkTo(i) }, named(items[i].name)), value: items[i].name }) },
    { title: 'SHA-256', of: (i, probe) => { if (probe) return {}; const v = (items[i].result.provenance || {}).input_sha256; return { node: h('span', { class: 'mono' }, v || DASH), value: v || null }; } },
  ], chief));
  files.classList.add('long');
  out.push(files);
  return out;
}

/* -- which page ----------------------------------------------------------------------------------------- */

const painters = new Set();
const hooks = { maps: {}, ready: null }; // for tests and the browser's console
window.mroscopeReport = hooks;

function nav(route) {
  const link = (href, text, here) => h('a', { href, 'aria-current': here ? 'page' : null }, text);
  document.getElementById('nav').replaceChildren(link('#/', 'Overview', route === 'overview'),
    chief.length ? link(linkTo(chief[0]), 'Images', route === 'image') : '', link('#/provenance', 'Provenance', route === 'provenance'));
}
function show(focus) {
  const match = /^#\/image\/(\d+)$/.exec(location.hash);
  painters.clear();
  hooks.maps = {};
  hooks.ready = Promise.resolve();
  if (match && items[Number(match[1])]) {
    const i = Number(match[1]), page = imagePage(i);
    nav('image');
    document.title = `${items[i].name} · mroscope report`;
    main.replaceChildren(...page.nodes);
    hooks.ready = page.ready;
  } else if (location.hash === '#/provenance') {
    nav('provenance');
    document.title = 'Provenance · mroscope report';
    main.replaceChildren(...provenancePage());
  } else {
    nav('overview');
    document.title = `${report.title} · mroscope report`;
    main.replaceChildren(...overview());
  }
  if (focus) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(document.title);
  }
}
async function printAll() {
  const everything = [...overview()], waits = [];
  for (const i of chief) {
    const page = imagePage(i, true);
    page.nodes[0].classList.add('printed');
    everything.push(...page.nodes);
    waits.push(page.ready);
  }
  main.replaceChildren(...everything, ...provenancePage());
  say('Preparing all pages for printing');
  await Promise.all(waits);
  await new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); });
  window.addEventListener('afterprint', () => show(false), { once: true });
  window.print();
}

function theme(value) {
  if (value === 'light' || value === 'dark') document.documentElement.dataset.theme = value;
  else delete document.documentElement.dataset.theme;
  for (const paint of painters) paint();
}
const themePick = document.getElementById('theme');
// A file opened by double click may have no storage.
const remembered = (() => { try { return localStorage.getItem('mroscope-theme'); } catch (e) { return null; } })();
if (remembered === 'light' || remembered === 'dark') themePick.value = remembered;
theme(themePick.value);
themePick.addEventListener('change', () => {
  theme(themePick.value);
  try { localStorage.setItem('mroscope-theme', themePick.value); } catch (e) { /* not kept, then */ }
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => theme(themePick.value));
window.addEventListener('beforeprint', () => { for (const paint of painters) paint(); });
document.getElementById('print').addEventListener('click', () => window.print());
window.addEventListener('hashchange', () => { if (location.hash.startsWith('#/') || location.hash === '') show(true); });
document.querySelector('.skip').addEventListener('click', (e) => { e.preventDefault(); main.focus(); });
document.getElementById('foot').append(`Made by mroscope ${report.program.version} (${report.program.commit}). This file holds all it shows and asks nothing of the network.`);
show(false);
