// SPDX-License-Identifier: GPL-3.0-or-later
// The score map of an MRO measurement: unpacking, painting, the threshold, and the autocorrelation of a cell.

async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
// Two planes, the low bytes and then the high ones.
function words(bytes) {
  const n = bytes.length / 2, out = new Uint16Array(n);
  for (let i = 0; i < n; i++) out[i] = bytes[i] | (bytes[n + i] << 8);
  return out;
}
const UNMEASURED = 65535;

class ScoreMap {
  static async from(packed) {
    const m = new ScoreMap();
    Object.assign(m, packed);
    m.code = words(await unpack(packed.score));
    m.spacing = packed.spacing ? await unpack(packed.spacing.codes) : null;
    m.spacing_nm = packed.spacing ? packed.spacing.range_nm : null;
    m.field = packed.field ? { ...packed.field, codes: new Int8Array((await unpack(packed.field.codes)).buffer) } : null;
    m.patches = packed.patches ? { ...packed.patches, codes: new Int8Array((await unpack(packed.patches.codes)).buffer) } : null;
    m.sorted = m.code.filter((c) => c !== UNMEASURED).sort();
    m.most = m.sorted.length ? (m.sorted[m.sorted.length - 1] + 1) / m.unit : 1;
    return m;
  }
  get cells() { return this.sorted.length; }
  // Cells at or above a threshold; codes are scores times `unit`, rounded down, so multiples of 1 / unit are exact.
  above(t) {
    const least = Math.ceil(t * this.unit - 1e-6);
    let lo = 0, hi = this.sorted.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.sorted[mid] < least) lo = mid + 1; else hi = mid;
    }
    return this.sorted.length - lo;
  }
  isAbove(i, t) { return this.code[i] !== UNMEASURED && this.code[i] >= Math.ceil(t * this.unit - 1e-6); }
  scoreAt(i) { return this.code[i] === UNMEASURED ? null : (this.code[i] + 0.5) / this.unit; }
  spacingAt(i) {
    if (!this.spacing || this.spacing[i] === 0) return null;
    const [lo, hi] = this.spacing_nm;
    return lo + ((this.spacing[i] - 1) / 254) * (hi - lo);
  }
  // What a glass shows above the same threshold: { share, below }, or null where that is not known.
  glass(t) {
    const v = this.survival;
    if (!v || v.length < 2) return null;
    for (let i = 1; i < v.length; i++) {
      if (t > v[i][0]) continue;
      const [a, pa] = v[i - 1], [b, pb] = v[i];
      const f = b > a ? Math.max(0, (t - a) / (b - a)) : 1;
      return { share: Math.exp(Math.log(pa) + f * (Math.log(pb) - Math.log(pa))), below: false };
    }
    return { share: v[v.length - 1][1], below: true };
  }
  curve(points = 160) {
    const out = [];
    for (let k = 0; k <= points; k++) {
      const t = (k / points) * this.most;
      out.push([t, this.above(t) / Math.max(this.cells, 1)]);
    }
    return out;
  }
  // Cell (ix, iy) under a place in nm, or null.
  cellAt(x, y) {
    const ix = Math.round((x - this.origin_nm[1]) / this.step_nm[1]), iy = Math.round((y - this.origin_nm[0]) / this.step_nm[0]);
    return ix >= 0 && iy >= 0 && ix < this.nx && iy < this.ny ? { ix, iy, i: iy * this.nx + ix } : null;
  }
  centre(ix, iy) { return { x: this.origin_nm[1] + ix * this.step_nm[1], y: this.origin_nm[0] + iy * this.step_nm[0] }; }
}

/* -- autocorrelation ------------------------------------------------------------------------------ */

// The same sums as the program's own: a round Hann window, zero padding to twice its width, the power's transform at
// any lag, over that of the window itself.
class Correlator {
  constructor(field, acf) {
    const [sy, sx] = field.step_nm, width = acf.window_nm;
    const hy = Math.floor((0.5 * width) / sy), hx = Math.floor((0.5 * width) / sx);
    Object.assign(this, { hy, hx, rows: 2 * hy + 1, columns: 2 * hx + 1, acf });
    this.ny = Math.floor((2 * this.rows + 7) / 8) * 8;
    this.nx = Math.floor((2 * this.columns + 7) / 8) * 8;
    this.half = this.nx / 2 + 1;
    this.w = new Float64Array(this.rows * this.columns);
    this.sum = 0;
    for (let j = -hy; j <= hy; j++)
      for (let i = -hx; i <= hx; i++) {
        const r = Math.hypot(j * sy, i * sx) / width, w = r < 0.5 ? 0.5 + 0.5 * Math.cos(2 * Math.PI * r) : 0;
        this.w[(j + hy) * this.columns + i + hx] = w;
        this.sum += w;
      }
    const table = (n, size, angle) => {
      const c = new Float64Array(n * size), sine = new Float64Array(n * size);
      for (let a = 0; a < n; a++) for (let b = 0; b < size; b++) {
        c[a * size + b] = Math.cos(angle(a, b));
        sine[a * size + b] = Math.sin(angle(a, b));
      }
      return { c, s: sine };
    };
    const n = acf.lags, signed = (k, size) => (2 * k <= size ? k : k - size);
    this.fx = table(this.half, this.columns, (k, i) => (2 * Math.PI * k * (i - hx)) / this.nx);
    this.fy = table(this.ny, this.rows, (k, j) => (2 * Math.PI * k * (j - hy)) / this.ny);
    this.ly = table(n, this.ny, (i, k) => (2 * Math.PI * (i - Math.floor(n / 2)) * acf.step_nm * signed(k, this.ny)) / (this.ny * sy));
    this.lx = table(n, this.half, (i, k) => (2 * Math.PI * (i - Math.floor(n / 2)) * acf.step_nm * k) / (this.nx * sx));
    this.own = this.lags(this.power(this.w));
  }
  power(patch) {
    const { rows, columns, half, ny } = this, re = new Float64Array(rows * half), im = new Float64Array(rows * half), out = new Float64Array(ny * half);
    for (let j = 0; j < rows; j++)
      for (let k = 0; k < half; k++) {
        let a = 0, b = 0;
        for (let i = 0; i < columns; i++) {
          const v = patch[j * columns + i];
          a += v * this.fx.c[k * columns + i];
          b -= v * this.fx.s[k * columns + i];
        }
        re[j * half + k] = a;
        im[j * half + k] = b;
      }
    for (let q = 0; q < ny; q++)
      for (let k = 0; k < half; k++) {
        let a = 0, b = 0;
        for (let j = 0; j < rows; j++) {
          const c = this.fy.c[q * rows + j], d = this.fy.s[q * rows + j], x = re[j * half + k], y = im[j * half + k];
          a += x * c + y * d;
          b += y * c - x * d;
        }
        out[q * half + k] = (a * a + b * b) * (k > 0 && 2 * k !== this.nx ? 2 : 1);
      }
    return out;
  }
  lags(power) {
    const n = this.acf.lags, { ny, half } = this, out = new Float64Array(n * n), re = new Float64Array(half), im = new Float64Array(half);
    for (let i = 0; i < n; i++) {
      re.fill(0);
      im.fill(0);
      for (let q = 0; q < ny; q++) {
        const c = this.ly.c[i * ny + q], d = this.ly.s[i * ny + q];
        for (let k = 0; k < half; k++) {
          re[k] += c * power[q * half + k];
          im[k] += d * power[q * half + k];
        }
      }
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < half; k++) sum += re[k] * this.lx.c[j * half + k] - im[k] * this.lx.s[j * half + k];
        out[i * n + j] = sum;
      }
    }
    return out;
  }
  // value(j, i): the field at a place in the window, j and i from -hy, -hx on.
  of(value) {
    const { hy, hx, rows, columns } = this, patch = new Float64Array(rows * columns);
    let mean = 0;
    for (let k = 0; k < patch.length; k++) mean += this.w[k] * value(Math.floor(k / columns) - hy, (k % columns) - hx);
    mean /= this.sum;
    for (let k = 0; k < patch.length; k++) patch[k] = this.w[k] * (value(Math.floor(k / columns) - hy, (k % columns) - hx) - mean);
    const seen = this.lags(this.power(patch)), n = this.acf.lags, middle = Math.floor(n / 2) * (n + 1);
    return seen.map((v, i) => {
      const overlap = this.own[i] / this.own[middle];
      return overlap > 0.01 && seen[middle] > 0 ? v / seen[middle] / overlap : NaN;
    });
  }
}

// The autocorrelation of a cell: { values, ix, iy } of the cell itself or, where only the strongest were kept, of the
// nearest of them.
function autocorrelation(map, ix, iy) {
  const source = map.field || map.patches;
  if (!source) return null;
  map.correlator = map.correlator || new Correlator(source, map.acf);
  const c = map.correlator, mod = (a, n) => ((a % n) + n) % n;
  if (map.field) {
    const f = map.field, y0 = Math.round((iy * map.step_nm[0]) / f.step_nm[0]), x0 = Math.round((ix * map.step_nm[1]) / f.step_nm[1]);
    return { ix, iy, values: c.of((j, i) => f.codes[mod(y0 + j, f.ny) * f.nx + mod(x0 + i, f.nx)]) };
  }
  let best = -1, near = Infinity;
  map.patches.cells.forEach(([x, y], k) => {
    const d = Math.hypot((x - ix) * map.step_nm[1], (y - iy) * map.step_nm[0]);
    if (d < near) { near = d; best = k; }
  });
  if (best < 0) return null;
  const size = c.rows * c.columns, [x, y] = map.patches.cells[best];
  return { ix: x, iy: y, values: c.of((j, i) => map.patches.codes[best * size + (j + c.hy) * c.columns + i + c.hx]) };
}

/* -- painting -------------------------------------------------------------------------------------- */

function colourAt(t, points = report.colours) {
  const u = Math.min(Math.max(t, 0), 1) * (points.length - 1), i = Math.min(Math.floor(u), points.length - 2), f = u - i;
  return points[i].map((v, k) => Math.round(v + f * (points[i + 1][k] - v)));
}
const DIVERGING = [[24, 56, 120], [72, 120, 184], [158, 192, 222], [246, 246, 246], [240, 178, 142], [208, 92, 72], [128, 16, 36]];

// Scores are painted up to six thresholds, or the strongest cell where that is less.
const topOf = (map) => Math.max(1.5, Math.min(6, map.most));

function pixels(width, height, paint) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d'), image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) paint(i, image.data, 4 * i);
  context.putImageData(image, 0, 0);
  return canvas;
}

// Draws onto the canvas: what = 'score' or 'image'; cells at or above t are outlined. cursor: {ix, iy} or null.
function paintMap(canvas, map, { what, t, objects, cursor }) {
  const [ly, lx] = map.field_nm, width = Math.max(1, canvas.clientWidth || 480), scale = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.max(1, Math.round((canvas.width * ly) / lx));
  const c = canvas.getContext('2d'), k = canvas.width / lx, style = getComputedStyle(document.documentElement);
  const [sy, sx] = map.step_nm, cellX = (ix) => (map.origin_nm[1] + (ix - 0.5) * sx) * k, cellY = (iy) => (map.origin_nm[0] + (iy - 0.5) * sy) * k;
  c.fillStyle = style.getPropertyValue('--sunk');
  c.fillRect(0, 0, canvas.width, canvas.height);
  const ground = [1, 3, 5].map((at) => parseInt(c.fillStyle.slice(at, at + 2), 16)); // read back it is #rrggbb
  const stripe = 9 * scale; // nothing was measured where these lines show
  c.strokeStyle = style.getPropertyValue('--line-strong');
  c.globalAlpha = 0.45;
  c.lineWidth = scale;
  c.beginPath();
  for (let a = -canvas.height; a < canvas.width; a += stripe) { c.moveTo(a, canvas.height); c.lineTo(a + canvas.height, 0); }
  c.stroke();
  c.globalAlpha = 1;
  const image = what === 'image' && map.field;
  if (image) {
    map.grey = map.grey || pixels(map.field.nx, map.field.ny, (i, p, o) => {
      p[o] = p[o + 1] = p[o + 2] = Math.max(0, Math.min(255, 128 + 3.3 * map.field.codes[i]));
      p[o + 3] = 255;
    });
    c.imageSmoothingEnabled = true;
    c.imageSmoothingQuality = 'high';
    c.drawImage(map.grey, 0, 0, canvas.width, canvas.height);
  }
  const top = topOf(map), cells = pixels(map.nx, map.ny, (i, p, o) => {
    if (map.code[i] === UNMEASURED) return;
    const over = map.isAbove(i, t);
    if (image && !over) return;
    const [r, g, b] = colourAt(map.scoreAt(i) / top);
    const part = image || over ? 1 : 0.8; // paler below, but opaque: the lines of what was not measured stay behind
    p[o] = part * r + (1 - part) * ground[0]; p[o + 1] = part * g + (1 - part) * ground[1]; p[o + 2] = part * b + (1 - part) * ground[2];
    p[o + 3] = image ? 90 : 255;
  });
  c.imageSmoothingEnabled = false;
  c.drawImage(cells, cellX(0), cellY(0), map.nx * sx * k, map.ny * sy * k);
  // Borders between cells on either side of the threshold.
  const edges = new Path2D();
  const over = (ix, iy) => ix >= 0 && iy >= 0 && ix < map.nx && iy < map.ny && map.isAbove(iy * map.nx + ix, t);
  for (let iy = 0; iy <= map.ny; iy++)
    for (let ix = 0; ix <= map.nx; ix++) {
      const here = over(ix, iy);
      if (here !== over(ix - 1, iy)) { edges.moveTo(cellX(ix), cellY(iy)); edges.lineTo(cellX(ix), cellY(iy + 1)); }
      if (here !== over(ix, iy - 1)) { edges.moveTo(cellX(ix), cellY(iy)); edges.lineTo(cellX(ix + 1), cellY(iy)); }
    }
  c.lineCap = 'square';
  c.strokeStyle = 'rgb(0 0 0 / 65%)';
  c.lineWidth = 2.6 * scale;
  c.stroke(edges);
  c.strokeStyle = '#fff';
  c.lineWidth = 1.3 * scale;
  c.stroke(edges);
  for (const o of objects || []) {
    c.beginPath();
    c.arc(o[0] * k, o[1] * k, Math.max((o[2] / 2) * k, 2 * scale), 0, 2 * Math.PI);
    c.strokeStyle = '#000';
    c.lineWidth = 3 * scale;
    c.stroke();
    c.strokeStyle = { A: '#7fd3ff', B: '#ffb454', C: '#ff6d8d' }[o[6]] || '#fff';
    c.lineWidth = 1.6 * scale;
    c.stroke();
  }
  if (map.patches)
    for (const [ix, iy] of map.patches.cells) {
      const p = map.centre(ix, iy);
      c.fillStyle = '#000';
      c.fillRect(p.x * k - 2.5 * scale, p.y * k - 2.5 * scale, 5 * scale, 5 * scale);
      c.fillStyle = '#fff';
      c.fillRect(p.x * k - 1.5 * scale, p.y * k - 1.5 * scale, 3 * scale, 3 * scale);
    }
  if (cursor) {
    const x = cellX(cursor.ix), y = cellY(cursor.iy), w = sx * k, height = sy * k;
    c.strokeStyle = '#000';
    c.lineWidth = 4 * scale;
    c.strokeRect(x, y, w, height);
    c.strokeStyle = '#ff3b6b';
    c.lineWidth = 2 * scale;
    c.strokeRect(x, y, w, height);
  }
  // Scale bar.
  const length = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2].find((v) => v <= 0.28 * lx) || 0.1, bar = length * k, m = 8 * scale;
  c.font = `600 ${12 * scale}px ${style.getPropertyValue('--sans')}`;
  const text = `${length} nm`, room = Math.max(bar, c.measureText(text).width);
  c.fillStyle = 'rgb(0 0 0 / 62%)';
  c.fillRect(m, canvas.height - m - 27 * scale, room + 2 * m, 27 * scale);
  c.fillStyle = '#fff';
  c.fillRect(2 * m, canvas.height - m - 8 * scale, bar, 3 * scale);
  c.textBaseline = 'alphabetic';
  c.fillText(text, 2 * m, canvas.height - m - 12 * scale);
}

function paintAcf(canvas, map, result) {
  const n = map.acf.lags, size = 324, c = canvas.getContext('2d');
  canvas.width = canvas.height = size;
  c.clearRect(0, 0, size, size);
  if (!result) return;
  const tile = pixels(n, n, (i, p, o) => {
    const v = result.values[i];
    if (!Number.isFinite(v)) return;
    const [r, g, b] = colourAt(0.5 + v / 1.4, DIVERGING);
    p[o] = r; p[o + 1] = g; p[o + 2] = b; p[o + 3] = 255;
  });
  c.imageSmoothingEnabled = true;
  c.imageSmoothingQuality = 'high';
  c.drawImage(tile, 0, 0, size, size);
  const length = 0.5, bar = (length / (n * map.acf.step_nm)) * size;
  c.fillStyle = 'rgb(0 0 0 / 62%)';
  c.fillRect(8, size - 40, bar + 16, 32);
  c.fillStyle = '#fff';
  c.fillRect(16, size - 18, bar, 4);
  c.font = '600 15px sans-serif';
  c.fillText(`${length} nm`, 16, size - 23);
}
function paintBar(canvas, map) {
  canvas.width = 256;
  canvas.height = 1;
  canvas.getContext('2d').drawImage(pixels(256, 1, (i, p, o) => { [p[o], p[o + 1], p[o + 2]] = colourAt(i / 255); p[o + 3] = 255; }), 0, 0);
}
