// Drawing on plain 2D canvases: no WebGL, so it works on every machine and prints.

const COLOURS = ["panel", "ink", "muted", "line", "accent", "space", "grid", "bone", "left", "right", "truth", "error", "twin", "r0", "r1", "r2"];
function readColours() {
  const style = getComputedStyle(page), out = {};
  for (const name of COLOURS) out[name] = style.getPropertyValue("--" + name).trim();
  return out;
}

// A canvas in CSS pixels, sharp on dense screens. Returns null while it has no size.
function surface(canvas) {
  const w = canvas.clientWidth, h = canvas.clientHeight, ratio = Math.min(devicePixelRatio || 1, 3);
  if (!w || !h) return null;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, w, h);
  g.lineCap = "round";
  g.lineJoin = "round";
  return { g, w, h };
}

function line(g, a, b, colour, width, alpha, dash) {
  g.globalAlpha = alpha;
  g.strokeStyle = colour;
  g.lineWidth = width;
  g.setLineDash(dash || []);
  g.beginPath();
  g.moveTo(a[0], a[1]);
  g.lineTo(b[0], b[1]);
  g.stroke();
  g.setLineDash([]);
  g.globalAlpha = 1;
}
function dot(g, a, radius, fill, stroke, width, alpha, dash) {
  g.globalAlpha = alpha;
  g.beginPath();
  g.arc(a[0], a[1], Math.max(radius, 0.1), 0, 2 * Math.PI);
  if (fill) { g.fillStyle = fill; g.fill(); }
  if (stroke) { g.strokeStyle = stroke; g.lineWidth = width; g.setLineDash(dash || []); g.stroke(); g.setLineDash([]); }
  g.globalAlpha = 1;
}
function label(g, text, x, y, colours, size, colour) {
  g.font = `${size || 12}px system-ui, "DejaVu Sans", sans-serif`;
  g.lineWidth = 3;
  g.strokeStyle = colours.space;
  g.strokeText(text, x, y);
  g.fillStyle = colour || colours.ink;
  g.fillText(text, x, y);
}

function mix(a, b, t) {
  const hex = (c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
  const x = hex(a), y = hex(b);
  return `rgb(${x.map((v, i) => Math.round(v + (y[i] - v) * t)).join(",")})`;
}
const ramp = (colours, t) => (t < 0.5 ? mix(colours.r0, colours.r1, 2 * t) : mix(colours.r1, colours.r2, 2 * t - 1));

function pointColour(data, ui, colours, f, i) {
  if (ui.score && data.score) return ramp(colours, data.score[f * data.points + i] / 255);
  return [colours.bone, colours.left, colours.right][data.side[i]];
}
function linkColour(data, ui, colours, f, a, b) {
  if (ui.score && data.score) {
    const s = data.score, p = f * data.points;
    return ramp(colours, (s[p + a] + s[p + b]) / 510);
  }
  const side = data.side[a] && data.side[b] && data.side[a] !== data.side[b] ? 0 : data.side[b] || data.side[a];
  return [colours.bone, colours.left, colours.right][side];
}

function drawFloor(g, look, data, ui, colours, height, figure) {
  if (ui.view.pitch < -0.02) return;
  const r = data.radius, reach = 1.35 * r, lines = 9;
  for (let k = 0; k < lines; k++) {
    const u = -reach + (2 * reach * k) / (lines - 1), alpha = 0.9 - 0.5 * Math.abs(u / reach);
    line(g, look(u, height, -reach), look(u, height, reach), colours.grid, 1, alpha);
    line(g, look(-reach, height, u), look(reach, height, u), colours.grid, 1, alpha);
  }
  const x = figure.points;
  for (const [a, b] of ui.links ? data.edges : []) {
    if (!figure.has(a) || !figure.has(b)) continue;
    line(g, look(x[3 * a], height, x[3 * a + 2]), look(x[3 * b], height, x[3 * b + 2]), colours.muted, ui.width * 0.9, 0.16);
  }
  if (!ui.links || !data.edges.length)
    for (let i = 0; i < data.points; i++)
      if (figure.has(i)) dot(g, look(x[3 * i], height, x[3 * i + 2]), ui.width * 0.7, colours.muted, null, 0, 0.18);
}

function drawCamera(g, look, data, colours, m) {
  const r = data.radius, place = (x, y, z) => look(...apply(m, x * r, y * r, z * r));
  const eye = place(0, 0, -1.36), base = [[-0.17, -0.12], [0.17, -0.12], [0.17, 0.12], [-0.17, 0.12]].map(([x, y]) => place(x, y, -1.12));
  for (let k = 0; k < 4; k++) {
    line(g, eye, base[k], colours.accent, 1.3, 0.9);
    line(g, base[k], base[(k + 1) % 4], colours.accent, 1.3, 0.9);
  }
  const top = place(0, -0.2, -1.12);
  line(g, base[0], top, colours.accent, 1.3, 0.9);
  line(g, base[1], top, colours.accent, 1.3, 0.9);
  line(g, place(0, 0, -1.12), place(0, 0, -0.85), colours.accent, 1, 0.5, [3, 4]);
  label(g, "camera", eye[0] + 6, eye[1] - 6, colours, 11, colours.accent);
}

// One figure: links and points in order of depth, each link with a rim in the colour of the background, so
// that the nearer limb is seen to pass in front. Returns the places of the points on the canvas.
function drawFigure(g, look, data, ui, colours, f, figure) {
  const x = figure.points, p = data.points, places = new Array(p), todo = [];
  const faint = figure.kind === "main" ? 1 : 0.85, only = { truth: colours.truth, twin: colours.twin }[figure.kind];
  for (let i = 0; i < p; i++) {
    if (!figure.has(i)) continue;
    const at = (places[i] = look(x[3 * i], x[3 * i + 1], x[3 * i + 2]));
    todo.push([at[2], i, -1]);
  }
  if (ui.links)
    for (const [a, b] of data.edges) if (places[a] && places[b]) todo.push([(places[a][2] + places[b][2]) / 2 + 1e-4 * data.radius, a, b]);
  todo.sort((u, v) => v[0] - u[0]);
  const dash = data.guessed ? [2, 5] : null;
  for (const [depth, a, b] of todo) {
    const fog = faint * (1 - 0.5 * Math.min(Math.max(depth / data.radius + 0.1, 0), 1));
    const s = places[a][3], w = ui.width * s * (figure.kind === "main" ? 1 : 0.7);
    if (b >= 0) {
      if (!dash) line(g, places[a], places[b], colours.space, w + 3, 0.75);
      line(g, places[a], places[b], only || linkColour(data, ui, colours, f, a, b), dash ? w * 0.6 : w, dash ? fog * 0.7 : fog, dash);
      continue;
    }
    const colour = only || pointColour(data, ui, colours, f, a), size = ui.dot * s * (figure.kind === "main" ? 1 : 0.8);
    if (figure.kind === "main" && ui.score && data.score) {
      const spread = (data.score[f * p + a] / 255) * data.scoreTop * ui.scale * s;
      dot(g, places[a], Math.max(spread, size), colour, null, 0, 0.16);
    }
    if (figure.kind === "main" && data.state[f * p + a] === 1) dot(g, places[a], size, colours.space, colour, Math.max(1.4, size * 0.4), Math.max(fog, 0.75));
    else dot(g, places[a], size, colour, colours.space, 1, fog);
  }
  return places;
}

// The 3D canvas: one column, or several side by side. Returns the main figure's points on the canvas.
function drawSpace(canvas, data, ui, colours, f) {
  const on = surface(canvas);
  if (!on) return [];
  const { g, w, h } = on, p = data.points, m = frameTurn(data, ui.mode, f);
  const main = { kind: "main", points: posed(data, data.shape, ui.mode, f, false), has: (i) => data.state[f * p + i] > 0 };
  const truth = data.reference && ui.reference !== "off" && {
    kind: "truth", points: posed(data, data.reference, ui.mode, f, false), has: (i) => Number.isFinite(data.reference[3 * (f * p + i)]),
  };
  const twin = ui.twin && { kind: "twin", points: posed(data, data.shape, ui.mode, f, true), has: main.has };
  const columns = [{ name: truth && ui.reference === "over" ? "result, with ground truth" : "result", figures: truth && ui.reference === "over" ? [truth, main] : [main] }];
  if (truth && ui.reference === "beside") columns.push({ name: "ground truth", figures: [truth] });
  if (twin) columns.push({ name: "depth-reflected twin", figures: [twin] });
  const wide = w / columns.length, scale = (ui.view.zoom * 0.43 * Math.min(h, wide * 1.5)) / data.radius;
  ui.scale = scale;
  ui.width = Math.min(Math.max(scale * data.radius * 0.021, 1.6), 9) * ui.thin;
  ui.dot = ui.width * (data.edges.length && ui.links ? 0.95 : 1.25) + 0.6;
  let places = [];
  columns.forEach((column, c) => {
    g.save();
    g.beginPath();
    g.rect(c * wide, 0, wide, h);
    g.clip();
    const look = lens(ui.view, (c + 0.5) * wide, h * 0.5, scale, data.radius);
    if (ui.floor) drawFloor(g, look, data, ui, colours, ui.floorAt(), column.figures[column.figures.length - 1]);
    if (ui.camera) drawCamera(g, look, data, colours, m);
    let before = null;
    for (const figure of column.figures) {
      const at = drawFigure(g, look, data, ui, colours, f, figure);
      if (figure.kind === "main") {
        places = at;
        if (before && ui.error) for (let i = 0; i < p; i++) if (at[i] && before[i]) line(g, before[i], at[i], colours.error, 1.6, 0.9);
      }
      before = at;
    }
    if (columns.length > 1 || truth) {
      g.textAlign = "center";
      label(g, column.name, (c + 0.5) * wide, h - 12, colours, 13, { truth: colours.truth, twin: colours.twin }[column.figures[column.figures.length - 1].kind] || colours.ink);
      g.textAlign = "left";
    }
    g.restore();
    if (c) line(g, [c * wide, 10], [c * wide, h - 10], colours.line, 1, 1);
  });
  tags(g, data, ui, colours, places);
  return places;
}

// Names beside their points, where there is room for them; the one under the pointer always.
function tags(g, data, ui, colours, places) {
  const taken = [], order = [...places.keys()].filter((i) => places[i] && (ui.names || ui.hover === i));
  order.sort((i, j) => (j === ui.hover) - (i === ui.hover));
  for (const i of order) {
    const here = ui.hover === i, [x, y] = places[i], size = here ? 13 : 11;
    g.font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
    const wide = g.measureText(data.names[i]).width;
    const spots = [[x + 8, y - 7], [x - 8 - wide, y - 7], [x + 8, y + 15], [x - 8 - wide, y + 15]];
    const free = spots.find((s) => !taken.some((t) => s[0] < t[0] + t[2] && t[0] < s[0] + wide && Math.abs(s[1] - t[1]) < 13));
    if (!free) continue;
    taken.push([...free, wide]);
    label(g, data.names[i], ...free, colours, size, here ? colours.ink : colours.muted);
    if (here) dot(g, places[i], (ui.dot || 4) + 4, null, colours.accent, 2, 1);
  }
}

// The 2D canvas: what went in, and the reprojection. Returns the points on the canvas.
function drawPlane(canvas, data, ui, colours, f) {
  const on = surface(canvas);
  if (!on) return [];
  const { g, w, h } = on, p = data.points, frame = box2d(data, f);
  if (!frame) {
    label(g, "no point in this frame", 14, 24, colours, 13, colours.muted);
    return [];
  }
  let [cx, cy] = [(frame[0] + frame[2]) / 2, (frame[1] + frame[3]) / 2], span = [frame[2] - frame[0], frame[3] - frame[1]];
  const photo = data.photos && data.photos[f];
  if (photo && ui.follow && !data.ordered) {
    const [x, y, side] = photo.at;
    [cx, cy, span] = [x + side / 2, y + side / 2, [1.17 * side, 1.17 * side]];
  } else if (!ui.follow) {
    const b = ui.bounds;
    [cx, cy] = [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2];
    span = [b[2] - b[0], b[3] - b[1]];
  } else if (data.ordered) span = ui.usual; // a steady zoom, so that only the object moves
  const scale = Math.min((0.84 * w) / (span[0] || 1e-9), (0.84 * h) / (span[1] || 1e-9));
  const to = (x, y) => [w / 2 + (x - cx) * scale, h / 2 + (y - cy) * scale];
  const small = Math.min(Math.max(Math.min(w, h) * 0.011, 2), 5) * ui.thin + 0.4, places = new Array(p);
  const seen = new Array(p), back = new Array(p);
  for (let i = 0; i < p; i++) {
    const at = 2 * (f * p + i), state = data.state[f * p + i];
    if (Number.isFinite(data.observed[at])) seen[i] = to(data.observed[at], data.observed[at + 1]);
    if (state && Number.isFinite(data.reprojected[at])) back[i] = to(data.reprojected[at], data.reprojected[at + 1]);
    places[i] = back[i] || seen[i];
  }
  if (photo && photo.image.complete && photo.image.naturalWidth) {
    const [x, y, side] = photo.at, corner = to(x, y);
    g.drawImage(photo.image, corner[0], corner[1], side * scale, side * scale);
  }
  if (photo && ui.score && data.score)
    for (let i = 0; i < p; i++) {
      const spread = (data.score[f * p + i] / 255) * data.scoreTop * data.pixels[f] * scale;
      if (back[i]) dot(g, back[i], Math.max(spread, small), pointColour(data, ui, colours, f, i), null, 0, 0.35);
    }
  if (ui.links) for (const [a, b] of data.edges) if (places[a] && places[b]) line(g, places[a], places[b], linkColour(data, { score: false }, colours, f, a, b), 1.6 * ui.thin + 0.4, photo ? 0.9 : data.guessed ? 0.35 : 0.5, data.guessed ? [2, 4] : null);
  for (let i = 0; i < p; i++) {
    const hidden = data.state[f * p + i] === 1;
    if (ui.observed && ui.reprojected && seen[i] && back[i]) line(g, seen[i], back[i], colours.error, 1.6, 0.9);
    if (ui.observed && seen[i]) dot(g, seen[i], small, colours.ink, null, 0, 0.95);
    if (ui.reprojected && back[i] && hidden) dot(g, back[i], small + 2.4, null, colours.muted, 1.5, 1, [3, 3]);
    else if (ui.reprojected && back[i]) dot(g, back[i], small + 2.2, null, colours.accent, 1.5, 0.95);
  }
  tags(g, data, { names: ui.names, hover: ui.hover, dot: small + 3 }, colours, places);
  return places;
}

// Below it an error is rounding, and a strip of it would show noise as if it were news.
const NIL = 5e-4;
// Two digits, and no exponent where an error is as large as the shape.
const share = (v) => (v < 0.995 ? (100 * v).toPrecision(2) : (100 * v).toFixed(0));
const highest = (what, worst) => (worst < NIL ? `${what} below ${100 * NIL} % in every frame` : `${what} in each frame (highest ${share(worst)} %)`);

// The strip above the slider: error of each frame, borders of clips, the frame that is shown.
function drawStrip(canvas, data, ui, colours) {
  const on = surface(canvas);
  if (!on) return;
  const { g, w, h } = on, n = ui.list.length, pad = 8, top = 15;
  const x = (k) => pad + ((w - 2 * pad) * k) / Math.max(n - 1, 1);
  const bar = Math.max((w - 2 * pad) / n - 0.6, 0.8);
  const worst = quantile(ui.list.map((f) => data.error2d[f]), 1);
  ui.list.forEach((f, k) => {
    const e = data.error2d[f];
    if (!(worst >= NIL) || !Number.isFinite(e)) return;
    g.globalAlpha = 0.45;
    g.fillStyle = colours.accent;
    const tall = ((h - top) * e) / worst;
    g.fillRect(x(k) - bar / 2, h - tall, bar, tall);
  });
  g.globalAlpha = 1;
  const words = Number.isFinite(worst) ? highest("2D error", worst) : "";
  g.font = '11px system-ui, "DejaVu Sans", sans-serif';
  g.fillStyle = colours.muted;
  g.fillText(words, pad, 10);
  if (data.error3d) {
    const high = quantile(ui.list.map((f) => data.error3d[f]), 1);
    if (high >= NIL) {
      g.beginPath();
      let pen = false;
      ui.list.forEach((f, k) => {
        const e = data.error3d[f];
        if (!Number.isFinite(e)) { pen = false; return; }
        const y = h - 1 - ((h - top - 1) * e) / high;
        if (pen) g.lineTo(x(k), y); else g.moveTo(x(k), y);
        pen = true;
      });
      g.strokeStyle = colours.truth;
      g.lineWidth = 1.4;
      g.stroke();
      g.fillStyle = colours.truth;
      g.fillText(`3D error (highest ${share(high)} %)`, pad + g.measureText(words).width + 16, 10);
    }
  }
  if (data.clips.length <= 80)
    ui.list.forEach((f, k) => { if (k && data.clip[f] !== data.clip[ui.list[k - 1]]) line(g, [x(k - 0.5), top - 2], [x(k - 0.5), h], colours.muted, 1, 0.8, [2, 3]); });
  line(g, [x(ui.at), top - 4], [x(ui.at), h], colours.ink, 2, 1);
}
