"""The page in a real browser: it runs, asks the network for nothing, and every control does something."""

from pathlib import Path

import pytest

from jnrsfm.report import Contents, write_report

pytestmark = pytest.mark.browser

OWNED = "</script><script>document.documentElement.dataset.owned=1</script>"
MOVED = "new Promise(r => setTimeout(() => r({...document.documentElement.dataset}), 500))"
# the count of pictures drawn, once it has passed a number, or after ten seconds
DRAWN = """new Promise(r => {
  const end = performance.now() + 10000, count = () => Number(document.documentElement.dataset.framesDrawn);
  const look = () => count() > %d || performance.now() > end ? r(count()) : setTimeout(look, 20);
  look();
})"""
COLOURS = """(() => {
  const c = document.getElementById("space"), seen = new Set();
  const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 250) seen.add(d[i] + "," + d[i + 1] + "," + d[i + 2]);
  return {colours: seen.size, overflow: document.documentElement.scrollWidth - innerWidth,
          panel: getComputedStyle(document.querySelector(".panel")).backgroundColor};
})()"""


@pytest.mark.parametrize(
    "case", ["everything, hostile names", "one frame", "no skeleton, no order, no record"]
)
def test_it_runs_without_error_and_without_network(walker, tab, tmp_path, case):
    path = tmp_path / "report.html"
    if case == "one frame":
        landmarks, result, _ = walker.example(1)
        write_report(path, Contents(input=landmarks, result=result))
    elif case.startswith("no skeleton"):
        landmarks, result, _ = walker.example(30, cameras="random", edges=False, fps=None)
        bare = result.replace(score=None, mirror_margin=None, visible=None)
        write_report(path, Contents(input=landmarks.replace(names=None), result=bare))
    else:
        landmarks, result, truth = walker.example(24, clips=2)
        names = (OWNED, '<img src="//x.test/a" onerror="boom()">', "$x$", "漢字", *walker.NAMES[4:])
        write_report(
            path, Contents(input=landmarks.replace(names=names), result=result, reference=truth,
            history=walker.history(), quality=walker.QUALITY, settings=walker.SETTINGS, scores=walker.SCORES,
            title=OWNED,))  # fmt: skip
    tab.open(path)
    state = tab.run(MOVED)
    assert (tab.console, tab.faults) == ([], [])
    assert [url for url in tab.requests if not url.startswith("data:")] == [path.as_uri()]
    assert "errors" not in state
    assert "owned" not in state
    assert state["requests"] == "0"
    # it moves: by itself in time, or round and round for one frame
    drawn = max(int(state["framesDrawn"]), 2)
    assert tab.run(DRAWN % drawn) > drawn
    assert tab.run(COLOURS)["colours"] > 5


def test_every_control_does_something(walker, tab, tmp_path):
    landmarks, result, truth = walker.example(24, clips=2)
    tab.open(write_report(tmp_path / "r.html", Contents(input=landmarks, result=result, reference=truth)))
    did = tab.run(Path(__file__).with_name("probe.js").read_text())
    assert [name for name, changed in did.items() if not changed] == []
    assert len(did) > 38
    assert (tab.console, tab.faults) == ([], [])


def test_buttons_jump_to_the_frames_that_the_verdict_doubts(walker, tab, tmp_path):
    """Also to a frame of another clip than the one that is shown; its number is that of the warnings."""
    landmarks, result, _ = walker.example(24, clips=2)
    quality = walker.QUALITY | {"verdict": {"word": "fair", "text": "fair: look", "frames": [17, 3]}}
    tab.open(write_report(tmp_path / "r.html", Contents(input=landmarks, result=result, quality=quality)))
    seen = tab.run("""(async () => {
      const press = async (act) => {
        act();
        await new Promise(r => setTimeout(r, 300));
        return [document.documentElement.dataset.frame, document.getElementById("readout").textContent.split(" · ")[0]];
      };
      const clip = document.getElementById("clip"), [late, early] = document.querySelectorAll("[data-go]");
      const other = () => { clip.value = "0"; clip.dispatchEvent(new Event("change")); };
      return [await press(() => early.click()), await press(other), await press(() => late.click())];
    })()""")
    assert seen == [["3", "Frame 3 of 0 to 23"], ["0", "Frame 0 of 0 to 11"], ["17", "Frame 17 of 0 to 23"]]
    assert (tab.console, tab.faults) == ([], [])


def test_phone_dark_and_reduced_motion(walker, tab, tmp_path):
    landmarks, result, truth = walker.example(24)
    path = write_report(
        tmp_path / "r.html", Contents(input=landmarks, result=result, reference=truth, quality=walker.QUALITY,
        settings=walker.SETTINGS, scores=walker.SCORES, history=walker.history(),))  # fmt: skip
    tab.call("Emulation.setDeviceMetricsOverride", width=375, height=740, deviceScaleFactor=2, mobile=True)
    features = {"prefers-color-scheme": "dark", "prefers-reduced-motion": "reduce"}
    tab.call("Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in features.items()])
    tab.open(path)
    before = tab.run(MOVED)
    assert tab.run(MOVED)["frame"] == before["frame"] == "0"  # nothing moves unasked
    seen = tab.run(COLOURS)
    assert seen["overflow"] <= 0  # no sideways scrolling
    assert seen["panel"] == "rgb(23, 30, 39)"
    assert (tab.console, tab.faults) == ([], [])


def test_a_fault_would_be_seen(walker, tab, tmp_path):
    """The checks above can fail: a foreign script and a foreign picture are refused, and recorded."""
    landmarks, result, _ = walker.example(4)
    path = write_report(tmp_path / "r.html", Contents(input=landmarks, result=result))
    foreign = '<script>boom()</script><img src="http://x.test/a.png"></body>'
    path.write_text(path.read_text("utf-8").replace("</body>", foreign), "utf-8")
    tab.open(path)
    state = tab.run(MOVED)
    assert "policy: script-src" in state["errors"]
    assert "policy: img-src" in state["errors"]
    assert tab.console


STRIP = """((error) => {
  const canvas = document.createElement("canvas"), frames = [...Array(20).keys()];
  canvas.style.cssText = "display:block;width:300px;height:60px";
  document.body.append(canvas);
  const colours = { accent: "#f00", truth: "#0f0", muted: "#000", ink: "#00f" };
  const data = { error2d: frames.map(() => error), error3d: frames.map(() => error), clips: [], clip: [] };
  drawStrip(canvas, data, { list: frames, at: 0 }, colours);
  const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, drawn = [0, 0];
  for (let i = 0; i < d.length; i += 4)  // the bars red, the curve green
    for (const c of [0, 1]) drawn[c] += d[i + 3] > 60 && d[i + c] > 200 && d[i + 1 - c] < 60;
  canvas.remove();
  return { drawn, words: highest("2D error", error) };
})"""


def test_an_error_that_is_rounding_is_said_and_not_drawn(walker, tab, tmp_path):
    """The strip below the picture: bars and curve of 2 %; of 0.0003 % only the words that it is below all notice."""
    landmarks, result, _ = walker.example(4)
    write_report(tmp_path / "report.html", Contents(input=landmarks, result=result))
    tab.open(tmp_path / "report.html")
    some, none = (tab.run(f"{STRIP}({error})") for error in (0.02, 3e-6))
    assert some["words"] == "2D error in each frame (highest 2.0 %)"
    assert min(some["drawn"]) > 50
    assert none["words"] == "2D error below 0.05 % in every frame"
    assert none["drawn"] == [0, 0]
