"use strict";
// Decoding and geometry of the viewer. Axes as in the Python package: x right, y down, z away.

// What went wrong and what was fetched stand in the document itself, so that a test (or a user who reports
// a problem) can read them there. Nothing is sent anywhere.
const page = document.documentElement;
function fault(text) {
  page.dataset.errors = (page.dataset.errors ? page.dataset.errors + " | " : "") + text;
}
addEventListener("error", (e) => fault(e.message || "a resource failed"), true);
addEventListener("unhandledrejection", (e) => fault(String(e.reason)));
document.addEventListener("securitypolicyviolation", (e) => fault("policy: " + e.violatedDirective));

function bytes(base64) {
  const text = atob(base64), out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}
const floats = (base64) => new Float32Array(bytes(base64).buffer);

// (frame, point, axis) from int16 codes; -32768 stands for "no value"
function unpack(packed, points, axes) {
  const q = new Int16Array(bytes(packed.q).buffer), centre = floats(packed.centre), step = floats(packed.step);
  const out = new Float32Array(q.length);
  for (let i = 0; i < q.length; i++) {
    const f = Math.floor(i / (points * axes));
    out[i] = q[i] === -32768 ? NaN : centre[f * axes + (i % axes)] + q[i] * step[f];
  }
  return out;
}
function turns(base64) {
  const q = new Int16Array(bytes(base64).buffer);
  return Float32Array.from(q, (v) => v / 32767);
}

function decode(d) {
  const p = d.points, data = Object.assign({}, d);
  data.state = bytes(d.state);
  data.shape = unpack(d.shape, p, 3);
  data.observed = unpack(d.observed, p, 2);
  data.reprojected = unpack(d.reprojected, p, 2);
  data.reference = d.reference && unpack(d.reference, p, 3);
  data.steady = turns(d.steady);
  data.world = turns(d.world);
  data.score = d.score && bytes(d.score);
  data.error2d = floats(d.error2d);
  data.error3d = d.error3d && floats(d.error3d);
  data.margin = d.margin && floats(d.margin);
  data.side = new Int8Array(p); // 1 left, 2 right, 0 neither
  for (const [l, r] of d.pairs) { data.side[l] = 1; data.side[r] = 2; }
  return data;
}

const IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1];
// The rotation of one view mode at one frame, from camera orientation to what is shown. `data.over` turns it
// upside down (half a turn about the line of sight), for "up" may have been guessed wrong.
function frameTurn(data, mode, f) {
  const m = mode === "camera" ? IDENTITY : (mode === "world" ? data.world : data.steady).subarray(9 * f, 9 * f + 9);
  return data.over ? m.map((v, k) => (k < 6 ? -v : v)) : m;
}
function apply(m, x, y, z) {
  return [m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z, m[6] * x + m[7] * y + m[8] * z];
}
// Points of one frame in a view mode; `mirror` gives the depth twin, which from the front looks the same.
function posed(data, source, mode, f, mirror) {
  const p = data.points, m = frameTurn(data, mode, f), out = new Float32Array(3 * p);
  for (let i = 0; i < p; i++) {
    const at = 3 * (f * p + i), v = apply(m, source[at], source[at + 1], source[at + 2]);
    out[3 * i] = v[0]; out[3 * i + 1] = v[1]; out[3 * i + 2] = mirror ? -v[2] : v[2];
  }
  return out;
}

// A lens that looks at the origin: yaw about the vertical, then pitch (positive looks down from above).
function lens(view, centreX, centreY, scale, radius) {
  const ca = Math.cos(view.yaw), sa = Math.sin(view.yaw), cp = Math.cos(view.pitch), sp = Math.sin(view.pitch);
  const away = 5 * radius;
  return (x, y, z) => {
    const xr = x * ca + z * sa, zr = -x * sa + z * ca;
    const yr = y * cp - zr * sp, depth = y * sp + zr * cp;
    const s = view.perspective ? away / Math.max(away + depth, 0.2 * away) : 1;
    return [centreX + scale * s * xr, centreY + scale * s * yr, depth, s];
  };
}

function quantile(values, share) {
  const ok = Array.from(values).filter(Number.isFinite).sort((a, b) => a - b);
  return ok.length ? ok[Math.min(ok.length - 1, Math.floor(share * ok.length))] : NaN;
}

// Where the floor lies in a view mode: below nearly all frames' lowest points.
function floorHeight(data, mode) {
  const lows = [];
  for (let f = 0; f < data.frames; f++) {
    const x = posed(data, data.shape, mode, f, false);
    let low = -Infinity;
    for (let i = 0; i < data.points; i++) if (data.state[f * data.points + i]) low = Math.max(low, x[3 * i + 1]);
    lows.push(low);
  }
  const height = quantile(lows, 0.95);
  return Number.isFinite(height) ? height : data.radius;
}

// Extent of one frame's 2D points: [left, top, right, bottom], or null without any.
function box2d(data, f) {
  const p = data.points, b = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < p; i++) {
    const at = f * p + i;
    for (const from of data.state[at] === 2 ? [data.observed, data.reprojected] : [data.reprojected]) {
      const x = from[2 * at], y = from[2 * at + 1];
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      b[0] = Math.min(b[0], x); b[1] = Math.min(b[1], y); b[2] = Math.max(b[2], x); b[3] = Math.max(b[3], y);
    }
  }
  return b[0] <= b[2] ? b : null;
}
