// SPDX-License-Identifier: GPL-3.0-or-later
// The report's data, elements made without markup, numbers with their units.
'use strict';

const report = JSON.parse(document.getElementById('report-data').textContent);

// Text of others only ever becomes a text node or an attribute's value, never markup.
function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function s(tag, attributes, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}
// A name from a file, or a sentence that may hold one, keeps its writing direction to itself; options stay in one piece.
const named = (text) => h('bdi', {}, typeof text === 'string' ? text.split(/(?<![\w-])(--[a-z][a-z-]*)/).map((part, i) => (i % 2 ? h('span', { class: 'option' }, part) : part)) : text);
const say = (text) => { document.getElementById('said').textContent = text; };
const plural = (n, one, many) => `${n} ${n === 1 ? one : many || one + 's'}`;
// Only paths into the folder of results, as this program writes them.
const safeLink = (href) => (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(href) ? null : href);

/* -- numbers ------------------------------------------------------------------------------------ */

const THIN = '\u202f', MINUS = '\u2212', DASH = '\u2013';
const isNumber = (v) => typeof v === 'number' && Number.isFinite(v);

// About `digits` significant digits, without an exponent between 1e-3 and 1e6.
function plain(v, digits = 4) {
  if (!isNumber(v)) return DASH;
  if (v === 0) return '0';
  const size = Math.abs(v);
  let text;
  if (Number.isInteger(v) && size < 1e15) text = String(size);
  else if (size >= 1e-3 && size < 1e6) {
    text = size.toFixed(Math.max(0, Math.min(6, digits - 1 - Math.floor(Math.log10(size)))));
    if (text.includes('.')) text = text.replace(/\.?0+$/, '');
  } else {
    const [mantissa, power] = size.toExponential(digits - 1).split('e');
    text = `${mantissa.replace(/\.?0+$/, '')}${THIN}×${THIN}10${superscript(Number(power))}`;
  }
  return (v < 0 ? MINUS : '') + text;
}
function superscript(n) {
  return String(n).replace(/[-0-9]/g, (c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[c]));
}
function percent(v) {
  if (!isNumber(v)) return DASH;
  const p = 100 * v, size = Math.abs(p);
  return (p < 0 ? MINUS : '') + size.toFixed(size < 0.995 && size > 0 ? 2 : 1) + `${THIN}%`;
}
function chance(p, less = false) {
  if (!isNumber(p)) return DASH;
  if (p < 1e-6) return `< 10${superscript(-6)}`; // no distribution is known further out
  return (less ? '< ' : '') + (p < 0.001 ? plain(p, 2) : p.toFixed(p < 0.0995 ? 3 : 2));
}

const UNITS = [
  ['_per_nm2', 'nm⁻²'], ['_per_nm3', 'nm⁻³'], ['_per_nm', 'nm⁻¹'], ['_per_um', 'µm⁻¹'], ['_nm2', 'nm²'], ['_um', 'µm'], ['_inv_nm', 'nm⁻¹'], ['_fwhm_inv_A', 'Å⁻¹'], ['_inv_A', 'Å⁻¹'], ['_nm', 'nm'],
  ['_A', 'Å'], ['_deg', '°'], ['_mm', 'mm'], ['_kv', 'kV'], ['_at', 'at.%'], ['_px', 'px'], ['_bytes', 'bytes'], ['_ms', 'ms'],
];
// Unit and bare name of a key, from how it ends; "_ci95" says interval.
function unitOf(key, beside) {
  const bare = key.replace(/_ci95$/, '');
  for (const [end, unit] of UNITS)
    if (bare.endsWith(end) && bare.length > end.length) return { unit, name: bare.slice(0, -end.length) };
  if (beside && typeof beside.unit === 'string' && /^(mean|sd|fwhm|fwhm_kernel|noise_sd|sd_true|fwhm_true|minimum|maximum)$/.test(bare)) return { unit: beside.unit, name: bare };
  if (/(^|_)(fraction|fractions|coverage)(_|$)/.test(bare) || bare === 'contrast_sd' || bare === 'depth' || bare === 'noise_sd' || bare === 'line_noise_sd')
    return { unit: '%', name: bare };
  if (/^p(_|$)|_p$|^p_value$/.test(bare)) return { unit: 'p', name: bare };
  return { unit: '', name: bare };
}
// The key of the interval (or, with "_se", of the standard error) of a number: named as it is, with its unit, without, or
// before it.
function besideOf(object, key, end = '_ci95') {
  if (object === null || typeof object !== 'object' || Array.isArray(object)) return undefined;
  const { name } = unitOf(key);
  return [`${name}${end}`, `${key}${end}`, `${name}${end}${key.slice(name.length)}`].find((k) => k !== key && Object.hasOwn(object, k));
}
// Interval and standard error of a number, as far as there are any.
const errorsOf = (object, key) => ({ ci: (object || {})[besideOf(object, key)] || null, se: (object || {})[besideOf(object, key, '_se')] || null });
// Decimals that show two figures of the width of an interval, or of a standard error; null where there is none to go by.
function decimalsOf(ci, se = null) {
  const known = Array.isArray(ci) && isNumber(ci[0]) && isNumber(ci[1]), width = known ? ci[1] - ci[0] : se;
  if (!isNumber(width) || !(width > 0)) return null;
  const decimals = 1 - Math.floor(Math.log10(width));
  return decimals > 6 ? null : Math.max(0, decimals);
}
const fixed = (v, decimals) => (v < 0 ? MINUS : '') + Math.abs(v).toFixed(decimals);
// Whether the number of a key is told to be that or less, by a key beside it.
const atMost = (beside, key) => Boolean(beside) && beside[`${key}_at_most`] === true;
// A number with its unit, in as many figures as its interval or standard error leaves a meaning, and in three where neither
// is known. The error stands beside it where there is no interval.
function quantity(v, unit, ci, less = false, se = null) {
  if (unit === '%') return percent(v);
  if (unit === 'p') return chance(v, less);
  if (!isNumber(v)) return DASH;
  const decimals = decimalsOf(ci, se), alone = !Array.isArray(ci) && isNumber(se) && decimals !== null;
  return (decimals === null ? plain(v, 3) : fixed(v, decimals)) + (alone ? `${THIN}±${THIN}${fixed(se, decimals)}` : '') + (unit === '' ? '' : unit === '°' ? '°' : `${'\u00a0'}${unit}`);
}
// An interval without an upper end is [lo, null].
function interval(v, unit) {
  if (!Array.isArray(v) || !isNumber(v[0])) return '';
  if (!isNumber(v[1])) return `[${unit === '%' ? percent(v[0]) : plain(v[0], 3)}, ∞)`;
  if (unit === '%') {
    const digits = Math.max(Math.abs(v[0]), Math.abs(v[1])) < 0.00995 ? 2 : 1, text = (x) => (x < 0 ? MINUS : '') + Math.abs(100 * x).toFixed(digits);
    return `[${text(v[0])}, ${text(v[1])}]${THIN}%`;
  }
  const decimals = decimalsOf(v), end = (x) => (decimals === null ? plain(x, 3) : fixed(x, decimals));
  return `[${end(v[0])}, ${end(v[1])}]`;
}
const at = (object, path) => path.split('.').reduce((o, k) => (o === null || o === undefined ? undefined : o[k]), object);

/* -- what keys are called ------------------------------------------------------------------------ */

// Those of what is compared come with the data: report.names, with * for an element, are also the axes of its figures.
const LABELS = {
  fraction_raw: 'Cells flagged', null_fraction: 'Cells flagged in a glass', p_image: 'p against a glass', fraction_at_most: 'Order that could hide, by the power of its fringes over that of bcc Fe', full: 'All of it', half: 'Half of it', quarter: 'A quarter of it',
  fraction_acf: 'Fraction by autocorrelation', density_per_nm2: 'Regions per area',
  size_limit_nm: 'Size limit (50 % found)', coverage: 'Coverage', blemished_fraction: 'No specimen (left out)', interference_fraction: 'Interference (share of the band)', cells: 'Cells measured', d_nm: 'Spacing d', g_inv_nm: 'g',
  band_inv_nm: 'Pass band (1/d)', false_positive_rate: 'False-positive rate of a cell', pixel_nm: 'Pixel size (y, x)', region_nm: 'Measured rectangle (x0, y0, x1, y1)',
  distinguishable: 'More than a glass', calibration: 'Pixel size from', shape: 'Pixels (y, x)', grade_fractions: 'Share of regions by grade',
  ctf: 'Transfer function', defocus_nm: 'Defocus', astigmatism_nm: 'Astigmatism', delocalisation_nm: 'Delocalisation R', azimuth_deg: 'Azimuth',
  normalised_variance: 'Normalised variance', noise_sd: 'Noise (standard deviation)', line_noise_sd: 'Noise of scan lines',
  wavelength_nm: 'Wavelength', wavelength_p: 'p of the wavelength', heterogeneous: 'Heterogeneous',
  p_value: 'p', area_fraction: 'Area', diameter_nm: 'Diameter', count: 'Number', threshold_sd: 'Threshold (standard deviations)',
  mean_at: 'Mean', sd_at: 'Scatter', sd_counting_at: 'Scatter of counting', sd_true_at: 'True scatter', p_heterogeneous: 'p of heterogeneity', p_periodic: 'p of a period',
  step_nm: 'Step', length_nm: 'Length', points: 'Points', roughness: 'Roughness', dark: 'Dark regions', bright: 'Bright regions',
  elements: 'Elements', pairs: 'Pairs of elements', crystals: 'Crystals', bands: 'Bands', fsdp: 'First sharp diffraction peak', shells: 'Shells',
  strain: 'Strain', moran_i: "Moran's I", moran_p: "p of Moran's I", fwhm: 'Full width at half maximum', fwhm_kernel: 'The same by kernel estimate', fwhm_true: 'Full width without noise', sd_true: 'Standard deviation without noise', n_effective: 'Independent values', snr: 'SNR',
  normal_azimuth_deg: 'Azimuth of the normal', width_nm: 'Width', depth: 'Depth', position_nm: 'Position', skewness: 'Skewness', r: 'r', p: 'p',
  r_counting: 'r by counting alone', points_effective: 'Points that count', k_factors: 'k-factors', k_source: 'k-factors from', density_per_nm3: 'Density', n: 'n',
  Q_inv_A: 'Q', fwhm_inv_A: 'Full width at half maximum', s_max_inv_nm: 's max', s_min_inv_nm: 's min', s_end_inv_nm: 's end',
};
function label(key) {
  if (Object.hasOwn(LABELS, key)) return LABELS[key];
  if (Object.hasOwn(report.names, key)) return report.names[key];
  if (key.length < 3) return key;
  const { name } = unitOf(key);
  const words = name.replace(/_/g, ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
const KINDS = {
  mro: 'Medium-range order', haadf: 'Heterogeneity (HAADF)', eds: 'Composition (EDS)', pdf: 'Pair distribution', lattice: 'Lattice strain',
  shearband: 'Shear bands', indent: 'Hardness maps', bandpass: 'Band-pass',
};
const kindName = (verb) => (Object.hasOwn(KINDS, verb) ? KINDS[verb] : verb);

// What a table of many images shows of each kind. An interval stands beside its number; of a list[] there is every one.
const COLUMNS = {
  mro: ['fraction', 'p_image', 'fraction_raw', 'diameter_median_nm', 'size_limit_nm', 'coverage'],
  haadf: ['contrast_sd', 'p_value', 'dark.area_fraction', 'dark.diameter_nm', 'wavelength_nm', 'correlation_length_nm'],
  pdf: ['fsdp.Q_inv_A', 'fsdp.fwhm_inv_A', 'shells.0.r_A', 'ellipse_ratio', 's_max_inv_nm'],
  shearband: ['normal_azimuth_deg', 'bands[].width_nm', 'bands[].depth', 'bands'],
  lattice: ['crystals', 'crystals.0.d_nm', 'crystals.0.diameter_nm', 'sides'],
  indent: ['mean', 'sd', 'fwhm', 'moran_i', 'moran_p'],
};
const BOOKKEEPING = new Set(['schema', 'file', 'image', 'frame', 'shape', 'pixel_nm', 'calibration', 'warnings', 'provenance', 'verdict', 'objects', 'unit', 'inputs']);

function columnsOf(verb, results) {
  if (Object.hasOwn(COLUMNS, verb)) return COLUMNS[verb];
  const found = [];
  if (verb === 'eds')
    for (const r of results)
      for (const el of Object.keys(r.elements || {})) {
        const path = `elements.${el}.sd_true_at`;
        if (!found.includes(path)) found.push(path);
      }
  for (const r of results)
    for (const [key, v] of Object.entries(r))
      if (found.length < 6 && isNumber(v) && !BOOKKEEPING.has(key) && !found.includes(key)) found.push(key);
  return found.slice(0, 7);
}
const FIRST = { crystals: 'Largest crystal', shells: 'First shell' }; // of a list
function columnTitle(path) {
  const parts = path.replace('[]', '').split('.'), key = parts[parts.length - 1], compared = path.replace(/^elements\.[^.]+\./, 'elements.*.');
  if (Object.hasOwn(report.names, compared)) return report.names[compared] + (compared === path ? '' : parts[1]);
  if (/\.0\./.test(path) && Object.hasOwn(FIRST, parts[0])) return `${FIRST[parts[0]]}: ${label(key).toLowerCase()}`;
  const name = label(key), within = /^[A-Z][a-z]/.test(name) ? name.charAt(0).toLowerCase() + name.slice(1) : name; // Q stays Q
  if (path.startsWith('elements.')) return `${parts[1]}: ${within}`;
  const of = parts.slice(1, -1).find((part) => /^(mean|median|deepest)$/.test(part)); // of a list
  return parts.length > 1 ? `${label(parts[0])}${of ? `, ${of}` : ''}: ${within}` : label(key);
}
// Text and sortable value of a cell of such a table; of a list[] also its parts.
function columnValue(result, path) {
  if (path.includes('[].')) {
    const [list, inner] = path.split('[].'), found = (at(result, list) || []).map((x) => columnValue(x, inner));
    if (found.length < 2) return found[0] || { text: DASH, ci: '', value: null };
    return { parts: found, text: found.map((v) => v.text).join('; '), ci: '', value: Math.max(...found.map((v) => v.value)) };
  }
  const key = path.split('.').pop(), v = at(result, path), parent = path.includes('.') ? at(result, path.slice(0, path.lastIndexOf('.'))) : result;
  if (Array.isArray(v)) return { text: String(v.length), value: v.length };
  const { unit } = unitOf(key, parent || {});
  const { ci, se } = errorsOf(parent, key);
  return { text: quantity(v, unit, ci, atMost(parent, key), se), ci: interval(ci, unit), value: isNumber(v) ? v : null };
}
