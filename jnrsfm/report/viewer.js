// The page's state, and everything that changes it.

(() => {
  const $ = (id) => document.getElementById(id);
  const data = decode(JSON.parse($("data").textContent));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const space = $("space"), plane = $("plane"), strip = $("strip"), viewer = document.querySelector(".viewer");
  const START = { yaw: -0.5, pitch: 0.2, zoom: 1, perspective: true };
  const ui = {
    mode: data.view, view: { ...START }, reference: "over", at: 0, list: [], playing: false, turning: false,
    links: true, names: false, score: false, error: true, twin: false, camera: data.ordered && data.calm && data.view !== "camera",
    floor: true, observed: true, reprojected: true, follow: false, hover: -1, held: 0,
    // many points need finer marks
    thin: Math.min(1.1, Math.max(0.3, Math.sqrt(30 / data.points))),
  };
  // photographs: each is looked at for a while, its figure turning beside it
  const photos = data.photos;
  if (photos) {
    for (const photo of photos) {
      photo.image = new Image();
      photo.image.onload = () => ask();
      photo.image.src = photo.src;
    }
    if (!data.ordered) ui.mode = "camera";
  }
  const floors = {};
  ui.floorAt = () => (floors[ui.mode + Boolean(data.over)] ??= floorHeight(data, ui.mode));
  const rate = data.ordered ? Math.max((data.fps || 30) / data.stride, 1) : photos ? 0.5 : 3;
  let colours = readColours(), asked = false, drawn = 0, inSpace = [], inPlane = [];
  const frame = () => ui.list[ui.at];

  function choose(clip) {
    ui.list = [];
    for (let f = 0; f < data.frames; f++) if (clip === "all" || data.clip[f] === Number(clip)) ui.list.push(f);
    ui.at = 0;
    const sides = [], bounds = [Infinity, Infinity, -Infinity, -Infinity];
    for (const f of ui.list) {
      const b = box2d(data, f);
      if (!b) continue;
      sides.push([b[2] - b[0], b[3] - b[1]]);
      for (const k of [0, 1]) { bounds[k] = Math.min(bounds[k], b[k]); bounds[k + 2] = Math.max(bounds[k + 2], b[k + 2]); }
    }
    ui.bounds = bounds;
    ui.usual = [0, 1].map((k) => quantile(sides.map((s) => s[k]), 0.97));
    const whole = Math.max(bounds[2] - bounds[0], bounds[3] - bounds[1]);
    // an object that is small in the whole field is better followed
    ui.follow = Math.max(...[0, 1].map((k) => quantile(sides.map((s) => s[k]), 0.5))) < 0.45 * whole;
    if (photos) ui.follow = true;
    $("follow").checked = ui.follow;
    $("frame").max = ui.list.length - 1;
    ask();
  }

  const percent = (v) => (Number.isFinite(v) ? `${share(v)} %` : "–");
  // numbers of the input, which warnings and buttons name
  const range = () => `of ${data.frameNumber[ui.list[0]]} to ${data.frameNumber[ui.list.at(-1)]}`;
  function readout() {
    const f = frame(), p = data.points, bits = [];
    let hidden = 0;
    for (let i = 0; i < p; i++) hidden += data.state[f * p + i] === 1;
    bits.push(`Frame <b>${data.frameNumber[f]}</b> ${range()}`);
    if (data.clips.length > 1) bits.push(`clip ${data.clip[f]}`);
    if (data.category) bits.push(safe(data.categoryNames[data.category[f]]));
    bits.push(`2D error <b>${percent(data.error2d[f])}</b> of size`);
    if (data.error3d) bits.push(`3D error <b>${percent(data.error3d[f])}</b> of size`);
    bits.push(hidden ? `<b>${hidden}</b> of ${p} points hidden` : "no point hidden");
    if (data.margin) bits.push(`reflection certainty ${Number.isFinite(data.margin[f]) ? data.margin[f].toFixed(2) : "–"}`);
    if (ui.hover >= 0) bits.push(`<b>${safe(data.names[ui.hover])}</b>${data.score ? `: uncertainty ${((data.score[f * p + ui.hover] / 255) * data.scoreTop).toPrecision(2)}` : ""}`);
    $("readout").innerHTML = bits.join(" · ");
  }
  function safe(text) {
    const holder = document.createElement("i");
    holder.textContent = text;
    return holder.innerHTML;
  }

  function draw() {
    asked = false;
    const f = frame();
    inSpace = drawSpace(space, data, ui, colours, f);
    inPlane = drawPlane(plane, data, ui, colours, f);
    if (data.frames > 1) drawStrip(strip, data, ui, colours);
    readout();
    $("frame").value = ui.at;
    $("frame").setAttribute("aria-valuetext", `frame ${data.frameNumber[f]} ${range()}`);
    page.dataset.framesDrawn = ++drawn;
    page.dataset.frame = f;
    page.dataset.requests = performance.getEntriesByType("resource").length;
  }
  function ask() {
    if (!asked) { asked = true; requestAnimationFrame(draw); }
  }

  let last = 0, debt = 0;
  function tick(now) {
    // a frame's time stamp may lie before the call that asked for it
    const passed = Math.min(Math.max(now - last, 0) / 1000, 0.25);
    last = now;
    if (ui.turning && !ui.held) { ui.view.yaw += 0.6 * passed; ask(); }
    if (ui.playing) {
      debt += passed * rate * Number($("speed").value);
      const steps = Math.floor(debt);
      debt -= steps;
      if (steps) { ui.at = (ui.at + steps) % ui.list.length; ask(); }
    }
    if (ui.playing || ui.turning) requestAnimationFrame(tick); else last = 0;
  }
  function run() {
    if (!last) { last = performance.now(); requestAnimationFrame(tick); }
  }
  function play(on) {
    ui.playing = on && ui.list.length > 1;
    $("play").setAttribute("aria-label", ui.playing ? "Pause" : "Play");
    $("play-shape").setAttribute("d", ui.playing ? "M6 4h4v16H6zM14 4h4v16h-4z" : "M7 4l13 8-13 8z");
    if (ui.playing) run();
    ask();
  }
  function turn(on) {
    ui.turning = on;
    if (on) run();
    marks();
  }
  function seek(at) {
    ui.at = Math.min(Math.max(Math.round(at), 0), ui.list.length - 1);
    ask();
  }
  function marks() {
    for (const b of document.querySelectorAll("[data-mode]")) b.setAttribute("aria-pressed", b.dataset.mode === ui.mode);
    for (const b of document.querySelectorAll("[data-look]"))
      b.setAttribute("aria-pressed", b.dataset.look === "turn" ? ui.turning : !ui.turning && LOOKS[b.dataset.look].every((v, k) => Math.abs(v - [ui.view.yaw, ui.view.pitch][k]) < 1e-6));
    const words = { steady: "steadied: every frame turned onto the average shape", camera: "as the camera faces it", world: "in the axes of the method" };
    $("space-caption").textContent = words[ui.mode] + (data.pairs.length && !ui.score ? "; left orange, right blue" : "");
    $("ramp").hidden = !(ui.score && data.score);
    ask();
  }
  const LOOKS = { front: [0, 0], side: [Math.PI / 2, 0], top: [0, Math.PI / 2] };
  function lookFrom(name) {
    if (name === "turn") return turn(!ui.turning);
    [ui.view.yaw, ui.view.pitch] = LOOKS[name];
    turn(false);
  }
  function zoom(factor) {
    ui.view.zoom = Math.min(Math.max(ui.view.zoom * factor, 0.2), 12);
    ask();
  }
  function orbit(dx, dy) {
    ui.view.yaw -= dx;
    ui.view.pitch = Math.min(Math.max(ui.view.pitch + dy, -Math.PI / 2), Math.PI / 2);
    marks();
  }
  function reset() {
    Object.assign(ui.view, START, { perspective: ui.view.perspective });
    ui.mode = data.view;
    turn(false);
  }

  // pointers: one turns, two pinch
  const pointers = new Map();
  let gap = 0;
  space.addEventListener("pointerdown", (e) => {
    space.setPointerCapture(e.pointerId);
    pointers.set(e.pointerId, [e.clientX, e.clientY]);
    ui.held = pointers.size;
    gap = 0;
    space.classList.add("held");
  });
  space.addEventListener("pointermove", (e) => {
    const before = pointers.get(e.pointerId);
    if (!before) return hover(e, space, inSpace);
    const move = [e.clientX - before[0], e.clientY - before[1]];
    pointers.set(e.pointerId, [e.clientX, e.clientY]);
    if (pointers.size === 1) { if (ui.turning) turn(false); return orbit(move[0] * 0.009, move[1] * 0.009); }
    const [a, b] = [...pointers.values()], now = Math.hypot(a[0] - b[0], a[1] - b[1]);
    if (gap) zoom(now / gap);
    gap = now;
  });
  for (const end of ["pointerup", "pointercancel"])
    space.addEventListener(end, (e) => {
      pointers.delete(e.pointerId);
      ui.held = pointers.size;
      gap = 0;
      if (!ui.held) space.classList.remove("held");
    });
  // the wheel belongs to the page until the picture was clicked, or the fingers pinch on a touch pad
  space.addEventListener("wheel", (e) => {
    if (document.activeElement !== space && !e.ctrlKey) return;
    e.preventDefault();
    zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0015)));
  }, { passive: false });
  function hover(e, canvas, places) {
    const box = canvas.getBoundingClientRect(), x = e.clientX - box.left, y = e.clientY - box.top;
    let best = -1, near = 14;
    places.forEach((at, i) => {
      const d = at ? Math.hypot(at[0] - x, at[1] - y) : Infinity;
      if (d < near) { near = d; best = i; }
    });
    if (best !== ui.hover) { ui.hover = best; ask(); }
  }
  plane.addEventListener("pointermove", (e) => hover(e, plane, inPlane));
  for (const c of [space, plane]) c.addEventListener("pointerleave", () => { if (ui.hover >= 0) { ui.hover = -1; ask(); } });
  const stripTo = (e) => {
    const box = strip.getBoundingClientRect();
    seek(((e.clientX - box.left - 8) / (box.width - 16)) * (ui.list.length - 1));
  };
  strip.addEventListener("pointerdown", (e) => { strip.setPointerCapture(e.pointerId); play(false); stripTo(e); });
  strip.addEventListener("pointermove", (e) => { if (e.buttons) stripTo(e); });

  $("play").addEventListener("click", () => play(!ui.playing));
  $("frame").addEventListener("input", (e) => { play(false); seek(Number(e.target.value)); });
  $("clip").addEventListener("change", (e) => choose(e.target.value));
  for (const b of document.querySelectorAll("[data-go]"))
    b.addEventListener("click", () => {
      if (!ui.list.includes(Number(b.dataset.go))) { $("clip").value = "all"; choose("all"); }
      play(false);
      seek(ui.list.indexOf(Number(b.dataset.go)));
      document.querySelector(".viewer").scrollIntoView({ block: "nearest" });
    });
  $("reference").addEventListener("change", (e) => { ui.reference = e.target.value; ask(); });
  for (const b of document.querySelectorAll("[data-mode]"))
    b.addEventListener("click", () => {
      ui.mode = b.dataset.mode;
      if (ui.mode === "camera") lookFrom("front"); // exactly what the camera sees
      marks();
    });
  for (const b of document.querySelectorAll("[data-look]")) b.addEventListener("click", () => lookFrom(b.dataset.look));
  const boxes = { "show-links": "links", "show-names": "names", "show-score": "score", "show-error": "error", "show-twin": "twin", "show-camera": "camera", "show-floor": "floor", "show-observed": "observed", "show-reprojected": "reprojected", follow: "follow" };
  for (const [id, key] of Object.entries(boxes)) {
    $(id).checked = ui[key];
    $(id).addEventListener("change", (e) => { ui[key] = e.target.checked; marks(); });
  }
  $("over").addEventListener("change", (e) => { data.over = e.target.checked; ask(); });
  $("perspective").addEventListener("change", (e) => { ui.view.perspective = e.target.checked; ask(); });

  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const kind = e.target.tagName;
    if (kind === "SELECT" || kind === "TEXTAREA" || (kind === "INPUT" && e.target.type !== "checkbox" && e.target.id !== "frame")) return;
    if (e.key === " " && ["BUTTON", "INPUT", "SUMMARY", "A"].includes(kind) && e.target.id !== "frame") return; // they use it themselves
    const step = 0.12, turns = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const here = document.activeElement === space || document.activeElement === $("frame");
    // keys belong to the viewer while the focus is in it; play and frames also while nothing else has it
    const inside = viewer.contains(document.activeElement);
    if (!inside && (document.activeElement !== document.body || viewer.getBoundingClientRect().bottom < 100)) return;
    if (e.shiftKey && turns[e.key]) orbit(...turns[e.key]);
    else if (e.key === " ") play(!ui.playing);
    else if (e.key === "ArrowLeft") { play(false); seek(ui.at - 1); }
    else if (e.key === "ArrowRight") { play(false); seek(ui.at + 1); }
    else if (e.key === "Home" && here) seek(0);
    else if (e.key === "End" && here) seek(ui.list.length - 1);
    else if (!inside) return;
    else if (e.key === "+" || e.key === "=") zoom(1.15);
    else if (e.key === "-") zoom(1 / 1.15);
    else if (["1", "2", "3", "4"].includes(e.key)) lookFrom(["front", "side", "top", "turn"][e.key - 1]);
    else if (e.key === "r" || e.key === "R") reset();
    else return;
    e.preventDefault();
  });

  // what this result has, and has not
  $("reference-pick").hidden = $("error-toggle").hidden = !data.reference;
  $("score-toggle").hidden = !data.score;
  if (data.score) $("ramp-top").textContent = `(${share(data.scoreShare)} % of the shape's radius)`;
  $("hidden-key").hidden = !data.state.includes(1);
  if (data.guessed) $("links-word").textContent = "guessed links";
  if (!data.edges.length) $("show-links").parentElement.hidden = true;
  if (data.clips.length > 1) {
    $("clip-pick").hidden = false;
    const count = new Map();
    for (const c of data.clip) count.set(c, (count.get(c) || 0) + 1);
    $("clip").append(new Option("all", "all"), ...data.clips.map((c) => new Option(`${c} (${count.get(c)} frames)`, c)));
  }
  if (data.frames < 2) document.querySelector(".time").hidden = true;
  const recolour = () => { colours = readColours(); ask(); };
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", recolour);
  new ResizeObserver(ask).observe(space);
  new ResizeObserver(ask).observe(plane);
  choose("all");
  marks();
  if (!still && data.frames > 1) play(true);
  if (!still && (data.frames < 2 || (photos && !data.ordered))) turn(true);
})();
