#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: report.py PROGRAM SAMPLES [FOLDER FOR SCREENSHOTS]

Makes a session of two samples, a frame of more than 1024 x 1024 pixels, a failed row, a damaged result, and a row whose
file, state and warnings are written to break out of the page. What the page shows is held against the files of the
results. Ends with 77 (skipped) where there is no Chromium with its driver.
"""
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import webdriver  # noqa: E402

HOSTILE = '</script><script>window.broken = 1</script><img src=x onerror="window.broken = 2">\u202egnp.\u2028\u0007\'"&amp;.tif'
failures, checks = [], 0


def check(what, ok, seen=''):
    global checks
    checks += 1
    if not ok:
        failures.append(what)
        print(f'FAILED: {what} {seen}')


def near(what, a, b, within):
    check(what, a is not None and b is not None and abs(a - b) <= within, f'({a} and {b})')


# -- files ------------------------------------------------------------------------------------------------------


def read_tiff(path):
    """(nx, ny, values) of an uncompressed float32 TIFF."""
    data = open(path, 'rb').read()
    order = {b'II': '<', b'MM': '>'}[data[:2]]
    at, = struct.unpack(order + 'I', data[4:8])
    tags = {}
    for i in range(struct.unpack(order + 'H', data[at:at + 2])[0]):
        tag, kind, n, value = struct.unpack(order + 'HHII', data[at + 2 + 12 * i:at + 14 + 12 * i])
        code, size = {1: ('B', 1), 3: ('H', 2), 4: ('I', 4)}.get(kind, ('', 0))
        if not code:
            continue
        where = value if n * size > 4 else at + 10 + 12 * i
        tags[tag] = struct.unpack(f'{order}{n}{code}', data[where:where + n * size])
    raw = b''.join(data[o:o + n] for o, n in zip(tags[273], tags[279]))
    nx, ny = tags[256][0], tags[257][0]
    return nx, ny, struct.unpack(f'{order}{nx * ny}f', raw[:4 * nx * ny])


def write_tiff(path, nx, ny, rows):
    """16-bit grey, rows of bytes."""
    entries = [(256, 4, 1, nx), (257, 4, 1, ny), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8 + 2 + 12 * 9 + 4),
               (277, 3, 1, 1), (278, 4, 1, ny), (279, 4, 1, 2 * nx * ny)]
    with open(path, 'wb') as out:
        out.write(struct.pack('<2sHIH', b'II', 42, 8, len(entries)))
        for tag, kind, n, value in entries:
            out.write(struct.pack('<HHII', tag, kind, n, value))
        out.write(struct.pack('<I', 0))
        for row in rows:
            out.write(row)


def tiled(sample, path, times):
    """A larger field: the sample, which is periodic, beside itself."""
    data = open(sample, 'rb').read()
    order = {b'II': '<', b'MM': '>'}[data[:2]]
    at, = struct.unpack(order + 'I', data[4:8])
    tags = {}
    for i in range(struct.unpack(order + 'H', data[at:at + 2])[0]):
        tag, kind, n, value = struct.unpack(order + 'HHII', data[at + 2 + 12 * i:at + 14 + 12 * i])
        tags[tag] = struct.unpack(order + 'H', data[at + 10 + 12 * i:at + 12 + 12 * i])[0] if kind == 3 and n == 1 else value
        if tag == 273 and n > 1:
            tags[tag], = struct.unpack(order + 'I', data[value:value + 4])
    nx, ny, start = tags[256], tags[257], tags[273]
    rows = [data[start + 2 * nx * y:start + 2 * nx * (y + 1)] for y in range(ny)]
    if order == '>':
        rows = [b''.join(r[i:i + 2][::-1] for i in range(0, len(r), 2)) for r in rows]
    write_tiff(path, nx * times, ny * times, [r * times for r in rows] * times)


def make_session(program, samples, folder):
    results = os.path.join(folder, 'results')
    large = os.path.join(folder, 'large.tif')
    tiled(os.path.join(samples, 'CTC30_e10_0_corr.tif'), large, 2)
    images = [('CTC30_e10_0_corr.tif', 'CTC30', 0.1), ('AQ_0_corr.tif', 'AQ', 0.0), (large, 'large', None), ('null_0_corr.tif', HOSTILE, None)]
    rows = []
    for n, (name, state, strain) in enumerate(images):
        path = os.path.join(samples, name)
        stem = os.path.splitext(os.path.basename(name))[0]
        item = f'items/{stem}.{n:016x}'
        options = ['--kv', '200', '--cs', '-0.01', '--surrogates', '8', '--quiet', '--pixel', '0.02']
        done = subprocess.run([program, 'mro', *options, '-o', os.path.join(results, item), path], stdout=subprocess.DEVNULL)
        check(f'mro of {name}', done.returncode == 0)
        rows.append({'row': n + 2, 'file': path if state != HOSTILE else HOSTILE, 'state': state, 'strain': strain, 'kind': 'hrtem',
                     'specimen': None, 'thickness_nm': None, 'value': None, 'group': None, 'element': None, 'key': f'{n:016x}',
                     'status': 'done', 'error': None, 'verb': 'mro', 'item': item, 'results': [f'{item}/{stem}.mro.json']})
    hostile = os.path.join(results, rows[3]['results'][0])
    value = json.load(open(hostile))
    value.update(file=HOSTILE, verdict=HOSTILE, warnings=[HOSTILE], invented={HOSTILE: HOSTILE, '__proto__': 1})
    json.dump(value, open(hostile, 'w'))
    os.makedirs(os.path.join(results, 'items/damaged'))
    open(os.path.join(results, 'items/damaged/x.mro.json'), 'w').write('{"schema": "mroscope.mro/1", "fra')
    rows.append({**rows[1], 'row': 6, 'file': 'damaged.tif', 'item': 'items/damaged', 'results': ['items/damaged/x.mro.json']})
    rows.append({**rows[1], 'row': 7, 'file': 'lost.tif', 'item': None, 'results': [], 'status': 'failed', 'error': f"cannot open 'lost.tif': {HOSTILE}"})
    json.dump({'schema': 'mroscope.batch/1', 'version': '0.1.0', 'manifest': 'session.csv', 'rows': rows}, open(os.path.join(results, 'index.json'), 'w'))
    return results, rows


# -- checks ------------------------------------------------------------------------------------------------------


def direct_acf(values, nx, ny, step, cy, cx, lag):
    """Autocorrelation at a whole lag (samples), by its definition: window 2.5 nm, mean out, over that of the window."""
    width, half = 2.5, [int(1.25 / step[0]), int(1.25 / step[1])]
    w, v, total, mean = {}, {}, 0.0, 0.0
    for j in range(-half[0], half[0] + 1):
        for i in range(-half[1], half[1] + 1):
            r = math.hypot(j * step[0], i * step[1]) / width
            w[j, i] = 0.5 + 0.5 * math.cos(2 * math.pi * r) if r < 0.5 else 0.0
            v[j, i] = values[(cy + j) % ny * nx + (cx + i) % nx]
            total += w[j, i]
            mean += w[j, i] * v[j, i]
    mean /= total
    seen = own = seen0 = own0 = 0.0
    for (j, i), a in w.items():
        f = a * (v[j, i] - mean)
        b = w.get((j + lag[0], i + lag[1]), 0.0)
        own0 += a * a
        seen0 += f * f
        own += a * b
        if b:
            seen += f * b * (v[j + lag[0], i + lag[1]] - mean)
    return seen / seen0 / (own / own0)


def share_of(score, t):
    measured = [v for v in score if not math.isnan(v)]
    return sum(v >= t for v in measured) / len(measured)


def open_page(b, url, part, anew=True):
    if anew:
        b.go('about:blank')
        b.go(url + part)
    else:
        b.js('location.hash = "#/x"; return new Promise((done) => { addEventListener("hashchange", () => done(), { once: true }); location.hash = arguments[0]; })', part)
        b.js('return new Promise((done) => setTimeout(done, 0))')
    b.js('return window.mroscopeReport.ready')
    b.js('return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))')


def share_shown(b, i):
    return b.js('const s = document.getElementById(arguments[0]); return [s.textContent, Number(s.dataset.share), Number(s.dataset.glass)]', f'share-{i}')


def test_overview(b, url):
    open_page(b, url, '#/')
    check('heading', b.js('return document.querySelector("h1").textContent') == 'A <b>title</b> & more')
    table = '[...document.querySelectorAll("section")].find((s) => s.querySelector("h2").textContent === "Medium-range order").querySelector("table")'
    check('one line an image', b.js(f'return {table}.tBodies[0].rows.length') == 4)
    text = b.js('return document.body.innerText')
    check('failed row and its sentence', "cannot open 'lost.tif': </script><script>" in text)
    check('damaged result is told', 'damaged.tif' in text and 'is left out' in text)
    check('nothing of others is markup', b.js('return window.broken === undefined && document.querySelectorAll("img").length === 0'))
    check('scripts are those of the page', b.js('return [...document.scripts].filter((s) => s.type !== "application/json").length') == 1)
    check('nothing was fetched', b.js('return performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).length') == 0)
    check('a dot for each image', b.js('return document.querySelectorAll("svg.chart")[0].querySelectorAll("circle").length') == 4)
    before = b.js(f'return [...{table}.tBodies[0].rows].map((r) => r.cells[2].textContent)')
    b.js(f'[...{table}.querySelectorAll("th button")].find((x) => x.textContent === "Ordered area").click()')
    after = b.js(f'return [...{table}.tBodies[0].rows].map((r) => parseFloat(r.cells[2].textContent))')
    check('columns sort', after == sorted(after, reverse=True), f'({before} to {after})')
    check('and say so', b.js('return document.querySelector("th[aria-sort]").getAttribute("aria-sort")') == 'descending')
    compared = {c['metric']: c for c in b.js('return report.compare')}
    check('states are compared', 'fraction' in compared and any(c['reference'] == 'CTC30' for c in compared.values()))
    ratio = next(x for x in compared['fraction']['states'] if x['state'] == 'AQ')
    check('and the ratio is shown', b.js('return ratioText(arguments[0])', ratio) in b.js('return document.getElementById("compared").textContent'))
    check('with its sentence', ratio['sentence'] in b.js('return document.getElementById("compared").textContent'))
    check('its unit is told', 'the image is the unit of every comparison' in b.js('return document.querySelector(".lead").textContent'))
    for unit, words in (('specimen', 'the unit of every comparison is the specimen'), (None, 'the specimen where several images show one')):
        said = b.js('const c = report.compare, was = c.map((x) => x.unit); c.forEach((x, i) => { x.unit = arguments[0] || ["image", "specimen"][i % 2]; });'
                    'const said = unitOfComparisons(); c.forEach((x, i) => { x.unit = was[i]; }); return said', unit)
        check('in all cases', words in said, said)
    metrics = b.js('return [...document.getElementById("metric").options].map((o) => o.value)')
    for metric in metrics:
        b.js('const s = document.getElementById("metric"); s.value = arguments[0]; s.dispatchEvent(new Event("change"))', metric)
        check(f'dots for {metric}', b.js('return document.querySelectorAll("#compared svg.chart circle").length') >= 2)
    bands = {'bands': [{'width_nm': 12.03, 'width_ci95': [11.7, 12.3], 'depth': 0.05, 'depth_ci95': [0.048, 0.052]},
                       {'width_nm': 25.3, 'width_ci95': [25.1, 25.5], 'depth': -0.039, 'depth_ci95': [-0.04, -0.038]}]}
    shown = b.js('return [arguments[0], { bands: arguments[0].bands.slice(0, 1) }].map((r) => columnsOf("shearband").slice(1, 3).map((p) => {'
                 'const v = columnValue(r, p); return [columnTitle(p), ...(v.parts || [v]).map((x) => `${x.text} ${x.ci}`)].join("; ") }))', bands)
    one, two = [['Bands: width; 12.03\u00a0nm [11.70, 12.30]', 'Bands: depth; 5.0\u202f% [4.8, 5.2]\u202f%'],
                ['; 25.30\u00a0nm [25.10, 25.50]', '; \u22123.9\u202f% [\u22124.0, \u22123.8]\u202f%']]
    check('width and depth of bands with their intervals', shown == [[a + z for a, z in zip(one, two)], one], f'({shown})')
    for path, result, text, ci in (
            ('fsdp.Q_inv_A', {'fsdp': {'Q_inv_A': 3.0702, 'Q_se': 0.0038, 'Q_ci95': [3.062, 3.078]}}, '3.070\u00a0\u212b\u207b\u00b9', '[3.062, 3.078]'),
            ('crystals.0.d_nm', {'crystals': [{'d_nm': 0.20429, 'd_se_nm': 0.00016}]}, '0.20429\u202f\u00b1\u202f0.00016\u00a0nm', ''),
            ('noise_sd', {'noise_sd': 0.2, 'unit': 'GPa'}, '0.2\u00a0GPa', '')):
        v = b.js('return columnValue(arguments[0], arguments[1])', result, path)
        check(f'{path} with its unit and error', (v['text'].replace('\u00c5', '\u212b'), v['ci']) == (text, ci), f'({v})')
    said = b.js('return [[0.991, [0.985, 0.997]], [1.7, [1.2, 2.5]], [3.449, null]].map(([ratio, ratio_ci95]) => ratioText({ ratio, ratio_ci95 }))')
    check('ratios in as many figures as their interval', said == ['0.991 [0.985, 0.997]', '1.70 [1.20, 2.50]', '3.45'], f'({said})')
    ends = b.js('return [rangeOf([3.1, 3.13, null]), rangeOf([0.05, 0.2]), rangeOf([-1, 1]), rangeOf([0, 0]), rangeOf([2])]')
    check('axes begin at 0 but for values that are alike', 3 < ends[0][0] < 3.1 and 3.13 < ends[0][1] < 3.2 and [e[0] for e in ends[1:]] == [0, -1, 0, 0]
          and all(e[1] > e[0] for e in ends), f'({ends})')
    titles = b.js('return ["bands.deepest.position_nm", "bands.deepest.width_nm", "elements.Fe.sd_true_at", "fraction"].map(columnTitle)')
    check('which of a list is said', titles[0] == 'Bands, deepest: position', f'({titles})')
    check('names are those of axes', titles[1:] == ['Width of the deepest band', 'True scatter of Fe', 'Ordered area'], f'({titles})')
    split = b.js('return named("give --black-level, not --x-").innerHTML')
    check('options stay in one piece', split == 'give <span class="option">--black-level</span>, not <span class="option">--x-</span>', split)
    check('three figures without an error', b.js('return [quantity(1.95312, "nm"), quantity(1.95312, "nm", [1.7, 2.2])]') == ['1.95\u00a0nm', '1.95\u00a0nm'])
    hides = b.js('return arguments[0].map((r) => h("div", {}, generic(r)).innerText)',
                 [{'fraction': 0.01, 'fraction_at_most': v, 'p_image': 5e-05, 'p_image_at_most': True} for v in (None, {'full': 0.05, 'half': 0.19})])
    check('what could hide is shown, and no flags', 'could hide' in hides[1] and '19.0\u202f%' in hides[1] and 'could hide' not in hides[0]
          and not any('yes' in text for text in hides), f'({hides})')
    csv = b.js('return csvText()')
    check('CSV has a line an image', csv.count('\r\n') >= 5 and 'fraction_ci95_lo' in csv.split('\r\n', 1)[0])
    svg = b.js('return standalone(document.querySelector("svg.chart"))')
    check('charts stand alone', svg.startswith('<?xml') and 'var(--' not in svg and '<script' not in svg)
    first_paint = b.js('const p = performance.getEntriesByName("first-contentful-paint")[0]; return p ? p.startTime : null')
    check('painted within two seconds', first_paint is not None and first_paint < 2000, f'({first_paint} ms)')


def test_threshold(b, results, row, i):
    stem = os.path.join(results, row['results'][0][:-len('.json')])
    numbers = json.load(open(stem + '.json'))
    _, _, score = read_tiff(stem + '.score.tif')
    text, share, glass = share_shown(b, i)
    near('share at 1 is fraction_raw', share, numbers['fraction_raw'], 1e-12)
    near("a glass's share at 1 is null_fraction", glass, numbers['null_fraction'], 1e-6)
    check('share in words', text.startswith(f'{100 * share:.1f}'), text)
    b.js('document.getElementById(arguments[0]).focus()', f't-{i}')
    painted = b.js('return document.getElementById(arguments[0]).toDataURL()', f'map-{i}')
    b.press(*['Right'] * 40)
    t = float(b.js('return document.getElementById(arguments[0]).value', f't-{i}'))
    near('the slider moves by keys', t, 1.4, 1e-9)
    near('share at 1.4 is that of the data', share_shown(b, i)[1], share_of(score, 1.4), 1e-12)
    check('the slider says what it means', '1.40 times the threshold' in b.js('return document.getElementById(arguments[0]).getAttribute("aria-valuetext")', f't-{i}'))
    b.js('return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))')
    check('the map is redrawn', b.js('return document.getElementById(arguments[0]).toDataURL()', f'map-{i}') != painted)
    for t in (0.37, 0.5, 2.13, 3.0):
        b.js('const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event("input"))', f't-{i}', t)
        near(f'share at {t} is that of the data', share_shown(b, i)[1], share_of(score, t), 1e-12)
    rates = [[float(x) for x in line.split(',')] for line in open(stem + '.survival.csv').read().split('\n')[1:] if line.strip()]
    t = rates[30][0]
    b.js('const s = document.getElementById(arguments[0]); s.step = "any"; s.value = arguments[1]; s.dispatchEvent(new Event("input"))', f't-{i}', t)
    near("a glass's share is that of the table", share_shown(b, i)[2], rates[30][3], 1e-4 * rates[30][3])


def hover_at(b, canvas, across, down):
    """The pointer to a part of a canvas, once the page stands still: on a busy machine it is still scrolled to while this asks."""
    def box():
        return b.js('const r = document.getElementById(arguments[0]).getBoundingClientRect(); return [r.left, r.top, r.width, r.height]', canvas)
    for _ in range(50):
        left, top, width, height = before = box()
        b.hover(left + across * width, top + down * height)
        b.js('return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))')
        if box() == before:
            return
    check(f'{canvas} stands still', False, before)


def test_hover(b, results, row, i):
    stem = os.path.join(results, row['results'][0][:-len('.json')])
    nx, ny, score = read_tiff(stem + '.score.tif')
    _, _, spacing = read_tiff(stem + '.spacing.tif')
    b.js('document.getElementById(arguments[0]).scrollIntoView({ block: "center", behavior: "instant" })', f'map-{i}')
    best = max((k for k in range(nx * ny) if not math.isnan(score[k])), key=lambda k: score[k])
    for cell in (best, (ny // 2) * nx + nx // 2, (ny // 3) * nx + 2 * nx // 3, 0):
        x, y = cell % nx, cell // nx
        hover_at(b, f'map-{i}', (x + 0.2) / nx, (y + 0.2) / ny)
        place, shown, d = b.js('return [...document.querySelectorAll("dl.read dd")].slice(0, 3).map((x) => x.textContent)')
        if math.isnan(score[cell]):
            check('a cell that was not measured says so', shown == 'not measured', shown)
            continue
        near(f'score under the pointer at {x}, {y}', float(shown), score[cell], 0.0051 + score[cell] / 1000)
        near(f'spacing under the pointer at {x}, {y}', float(d.split()[0]), spacing[cell], 0.00011)
        near('place under the pointer', float(place.split()[1].strip(',')), 0.01 + x * 0.02 * 800 / nx * (2 if 'large' in stem else 1), 0.006)
    return best % nx, best // nx


def test_acf(b, results, row, i, cell, large):
    stem = os.path.join(results, row['results'][0][:-len('.json')])
    nx, ny, field = read_tiff(stem + '.whitened.tif')
    cells_nx, cells_ny, _ = read_tiff(stem + '.score.tif')
    size = 16.0 * (2 if large else 1)
    step = size / ny, size / nx
    cy, cx = round(cell[1] * size / cells_ny / step[0]), round(cell[0] * size / cells_nx / step[1])
    # Lags that are whole samples are not on the page's grid: it is asked for them.
    for lag in ((0, 0), (3, 0), (2, 5), (7, 7)):
        shown = b.js('''const [i, ix, iy, y, x] = arguments, hook = window.mroscopeReport.maps[i], map = hook.map;
            const old = map.acf;
            map.correlator = null;
            map.acf = { ...old, lags: 3, step_nm: 1e-9 };
            hook.autocorrelation(ix, iy);
            const c = map.correlator, n = 3, table = (t, size, at) => { for (let k = 0; k < size; k++) { t.c[2 * size + k] = Math.cos(at(k)); t.s[2 * size + k] = Math.sin(at(k)); } };
            table(c.ly, c.ny, (k) => 2 * Math.PI * y * (2 * k <= c.ny ? k : k - c.ny) / c.ny);
            table(c.lx, c.half, (k) => 2 * Math.PI * x * k / c.nx);
            c.own = c.lags(c.power(c.w));
            const v = hook.autocorrelation(ix, iy).values[8];
            map.acf = old;
            map.correlator = null;
            return v;''', i, cell[0], cell[1], lag[0], lag[1])
        near(f'autocorrelation at lag {lag}', shown, direct_acf(field, nx, ny, step, cy, cx, lag), 0.02)


def test_image(b, url, results, rows):
    row = rows[0]
    open_page(b, url, '#/image/0')
    check('verdict is shown', 'ordered regions cover' in b.js('return document.querySelector(".verdict").textContent').lower())
    check('warnings are shown', b.js('return document.querySelectorAll(".note.warn").length') >= 1)
    check('figure is there', b.js('const f = document.querySelector("figure img"); return f.decode().then(() => f.naturalWidth > 500, () => false)'))
    test_threshold(b, results, row, 0)
    cell = test_hover(b, results, row, 0)
    test_acf(b, results, row, 0, cell, False)
    # Keys: from the top of the page to the map and the slider, and over the cells.
    b.js('document.querySelector(".brand").focus()')
    reached = []
    for _ in range(30):
        b.press('Tab')
        reached.append(b.js('const a = document.activeElement; return a.id || a.textContent.trim().slice(0, 20)'))
        if 't-0' in reached:
            break
    check('map and slider are reached by Tab', 'map-0' in reached and 't-0' in reached, f'({reached})')
    b.js('document.getElementById("map-0").focus()')
    b.press('Home')
    before = b.js('return document.querySelector("dl.read dd").textContent')
    b.press('Right', 'Down')
    after = b.js('return document.querySelector("dl.read dd").textContent')
    check('arrow keys move over the cells', before != after, f'({before} and {after})')
    check('and are spoken', after in b.js('return document.getElementById("said").textContent'))
    check('the map has a name', 'Score map' in b.js('return document.getElementById("map-0").getAttribute("aria-label")'))
    unnamed = b.js('return [...document.querySelectorAll("button, a, input, select, canvas, img, svg.chart")].filter((n) => '
                   '!(n.getAttribute("aria-label") || n.getAttribute("alt") || n.textContent.trim() || n.getAttribute("aria-hidden") || (n.labels && n.labels.length))).map((n) => n.outerHTML.slice(0, 120))')
    check('everything to use has a name', unnamed == [], f'({unnamed})')


def test_large(b, url, results, rows):
    open_page(b, url, '#/image/2')
    kept = b.js('return window.mroscopeReport.maps[2].map.patches.cells')
    check('of a large frame, 50 cells are kept', len(kept) == 50, f'({len(kept)})')
    note = b.js('return document.querySelector(".acf figcaption").textContent')
    check('and the page says so', '1024' in note and '50 strongest' in note, note)
    _, share, _ = share_shown(b, 2)
    near('share of a large frame', share, json.load(open(os.path.join(results, rows[2]['results'][0])))['fraction_raw'], 1e-12)
    test_hover(b, results, rows[2], 2)
    for cell in kept[0], kept[30]:
        test_acf(b, results, rows[2], 2, cell, True)


def test_hostile(b, url):
    open_page(b, url, '#/image/3')
    check('a hostile name is text', b.js('return window.broken === undefined && [...document.images].every((i) => i.src.startsWith("data:image/jpeg"))'))
    check('as it is', '<img src=x onerror=' in b.js('return document.querySelector("h1").textContent'))
    check('and keeps its direction to itself', b.js('return document.querySelector("h1 bdi") !== null'))
    open_page(b, url, '#/provenance')
    check('nor does provenance run it', b.js('return window.broken === undefined && document.images.length === 0'))


def test_looks(b, url, shots):
    b.size(1280, 900)
    open_page(b, url, '#/')
    for part in ('#/', '#/image/0', '#/image/3', '#/provenance'):
        seen = {}
        for width in (400, 1280):
            for scheme in ('light', 'dark'):
                b.size(width, 900)
                b.media(prefers_color_scheme=scheme)
                open_page(b, url, part, anew=False)
                wide = b.js('return [document.documentElement.scrollWidth, innerWidth]')
                check(f'no overflow at {width} on {part}', wide[0] <= wide[1] == width, f'({wide})')
                seen[width, scheme] = b.js('return getComputedStyle(document.body).backgroundColor')
                if part in ('#/', '#/image/0'):
                    name = f'report{"_image" if part != "#/" else ""}_{width}_{scheme}.png'
                    height = min(4000, b.js('return document.documentElement.scrollHeight'))
                    w, h, n = webdriver.colours(b.screenshot(width, height, 0.15))
                    check(f'{name} shows something', abs(w - 0.15 * width) < 2 and h >= 130 and n > 60, f'({w} x {h}, {n} colours)')
                    if shots:
                        with open(os.path.join(shots, name), 'wb') as out:
                            out.write(b.screenshot(width, height))
        check(f'dark is darker than light on {part}', seen[400, 'light'] != seen[400, 'dark'] and seen[400, 'light'] == seen[1280, 'light'])
    b.size(1280, 900)
    b.media(prefers_color_scheme='light')
    open_page(b, url, '#/')
    light = b.js('return getComputedStyle(document.body).backgroundColor')
    b.js('const t = document.getElementById("theme"); t.value = "dark"; t.dispatchEvent(new Event("change"))')
    check('the switch makes it dark', b.js('return getComputedStyle(document.body).backgroundColor') != light)
    b.js('const t = document.getElementById("theme"); t.value = "auto"; t.dispatchEvent(new Event("change"))')
    pdf = b.cdp('Page.printToPDF', printBackground=True)['data']
    check('it prints', len(pdf) > 20000)


def main():
    program, samples = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    if not webdriver.available():
        print('skipped: no Chromium with chromedriver here')
        return 77
    folder = tempfile.mkdtemp()
    shots = sys.argv[3] if len(sys.argv) > 3 else None
    if shots:
        os.makedirs(shots, exist_ok=True)
    b = None
    try:
        results, rows = make_session(program, samples, folder)
        out = os.path.join(folder, 'report')
        done = subprocess.run([program, 'report', '--title', 'A <b>title</b> & more', '-o', out, results], capture_output=True, text=True)
        check('report ends with 1, since a result is damaged', done.returncode == 1, done.stderr)
        url = 'file://' + os.path.join(out, 'report.html')
        b = webdriver.Browser(os.path.join(folder, 'browser'))
        b.size(1280, 900)
        for name, run in (('overview', lambda: test_overview(b, url)), ('image', lambda: test_image(b, url, results, rows)),
                          ('large', lambda: test_large(b, url, results, rows)), ('hostile', lambda: test_hostile(b, url)),
                          ('looks', lambda: test_looks(b, url, shots))):
            start = time.time()
            run()
            print(f'{name}: {time.time() - start:.1f} s')
        log = b.log()
        check('nothing on the console', log == [], log)
    finally:
        if b:
            b.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f'{checks} checks, {len(failures)} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
