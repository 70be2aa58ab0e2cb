// Drives the page as a reader would. For each control: did the picture change? Pictures are compared with the
// animation stopped, and the controls begin at frame 0 in the view of the start: where the animation happens to stop
// depends on the machine, and in later frames the camera sign has left the picture. What needs time is waited for, up
// to ten seconds, so that a slow machine gives the same answers.
(async () => {
  const $ = (id) => document.getElementById(id), page = document.documentElement, did = {};
  const wait = (ms) => new Promise((r) => setTimeout(r, ms));
  // the page draws in the animation frame after a change
  const rest = async () => { for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame); };
  const until = async (happened) => {
    for (const end = performance.now() + 10000; performance.now() < end && !happened(); ) await wait(20);
    return happened();
  };
  const look = () => ["space", "plane", "strip"].map((id) => $(id).toDataURL()).join();
  let seen;
  const attempt = async (name, act) => {
    const before = seen;
    act();
    await rest();
    did[name] = before !== (seen = look());
  };
  const fire = (id, type, value) => {
    if (value !== undefined) $(id).value = value;
    $(id).dispatchEvent(new Event(type));
  };
  const key = (k, more) =>
    $("space").dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true, cancelable: true, ...more }));
  const pointer = (id, type, number, x, y) => {
    const box = $(id).getBoundingClientRect();
    const at = { pointerId: number, clientX: box.left + x, clientY: box.top + y, bubbles: true };
    $(id).dispatchEvent(new PointerEvent(type, at));
  };
  for (const id of ["space", "strip"]) $(id).setPointerCapture = () => {}; // made-up pointers cannot be captured

  await rest();
  const start = page.dataset.frame;
  did.autoplay = await until(() => page.dataset.frame !== start);
  $("play").click();
  $("space").focus();
  key("Home");
  await until(() => page.dataset.frame === "0");
  await rest();
  seen = look();
  for (const box of document.querySelectorAll(".viewer input[type=checkbox]")) {
    await attempt(box.id, () => box.click());
    await attempt(box.id + " again", () => box.click());
  }
  for (const value of ["beside", "off", "over"]) await attempt("reference " + value, () => fire("reference", "change", value));
  for (const mode of ["world", "camera", "steady"])
    await attempt(mode, () => document.querySelector(`[data-mode=${mode}]`).click());
  for (const k of ["2", "3", "1", "+", "-", "ArrowRight", "End", "Home"]) await attempt("key " + k, () => key(k));
  await attempt("shift arrow", () => key("ArrowUp", { shiftKey: true }));
  await attempt("reset", () => key("r"));
  await attempt("drag", () => {
    pointer("space", "pointerdown", 1, 90, 90);
    pointer("space", "pointermove", 1, 150, 110);
    pointer("space", "pointerup", 1, 150, 110);
  });
  await attempt("pinch", () => {
    pointer("space", "pointerdown", 1, 90, 90);
    pointer("space", "pointerdown", 2, 120, 90);
    pointer("space", "pointermove", 2, 130, 90);
    pointer("space", "pointermove", 2, 190, 90);
    pointer("space", "pointerup", 1, 90, 90);
    pointer("space", "pointerup", 2, 190, 90);
  });
  await attempt("wheel", () => $("space").dispatchEvent(new WheelEvent("wheel", { deltaY: -200, cancelable: true })));
  await attempt("slider", () => fire("frame", "input", 5));
  did["slider frame"] = page.dataset.frame === "5";
  await attempt("strip", () => pointer("strip", "pointerdown", 3, $("strip").clientWidth - 9, 20));
  await attempt("clip", () => fire("clip", "change", "1"));
  did["clip frames"] = $("frame").max === "11" && page.dataset.frame === "12";
  did.readout = /^Frame 12 of 12 to 23 · clip 1 .*3D error/.test($("readout").textContent);
  let before = look();
  await wait(250);
  did["stands still"] = before === look();
  key("4");
  did.turntable = await until(() => before !== look());
  key("4");
  await rest();
  before = page.dataset.frame;
  key(" ");
  did["space bar"] = await until(() => before !== page.dataset.frame);
  return did;
})();
